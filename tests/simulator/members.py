"""Which integrations the simulated workspace has, under which names, at any moment."""

import math
from collections.abc import Iterable, Iterator, Mapping

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.simulated_run import SECOND, SimulatedRun, micros
from cdi_exporter.simulator.spec import IntegrationSpec
from tests.simulator.changing import ChangingSpec
from tests.simulator.script import ScriptedIntegration


class ChangingMember(GeneratedIntegration):
    """An integration that may leave, return, or get another name. Times are Unix seconds.

    The runs of a `ChangingSpec` lie between its times; those of a script may lie anywhere.
    """

    def __init__(self, spec: IntegrationSpec, seed: int, at: float) -> None:
        super().__init__(spec, seed)
        self.present = [(at, math.inf)]
        """From when until when it is in the workspace; it may return."""
        self.names: list[tuple[float, str]] = []
        """From when on it has another name than in its spec, oldest first."""
        if isinstance(spec, ChangingSpec):
            self.present = [(max(at, spec.added_at), spec.removed_at)]
            self.names = [*spec.renames]

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        if isinstance(self.spec, ScriptedIntegration):
            return self.spec.history(until, since, skip)
        if isinstance(self.spec, ChangingSpec):
            until = min(until, _bounded_micros(self.spec.removed_at))
            since = max(since, _bounded_micros(self.spec.added_at) - 1)
        return super().history(until, since, skip)

    def next_scheduled(self, moment: int) -> int | None:
        if isinstance(self.spec, ScriptedIntegration):
            return self.spec.next_scheduled(moment)
        if isinstance(self.spec, ChangingSpec) and self.spec.unscheduled:
            since, until = self.spec.unscheduled
            if since * SECOND <= moment < until * SECOND:
                return None
        return super().next_scheduled(moment)

    def present_at(self, moment: float) -> bool:
        """Whether the workspace has the integration at this moment."""
        return any(since <= moment < until for since, until in self.present)

    def name_at(self, moment: float) -> str:
        """Its name at this moment."""
        name = self.spec.name
        for since, renamed in self.names:
            if since <= moment:
                name = renamed
        return name

    def next_change(self, moment: float) -> float:
        """When its name or its presence changes next, after this moment."""
        edges = [edge for span in self.present for edge in span]
        edges += [since for since, _ in self.names]
        return min((edge for edge in edges if edge > moment), default=math.inf)


def _bounded_micros(moment: float) -> int:
    """Microseconds; the moment may be infinite."""
    return micros(max(-1e12, min(1e12, moment)))


class Members:
    """All members in the order in which the API lists them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._members: dict[str, ChangingMember] = {}
        self._listed: tuple[float, float, dict[str, ChangingMember]] = (math.inf, -math.inf, {})

    def add(self, integrations: Iterable[IntegrationSpec], at: float) -> None:
        """Take in integrations, from the moment `at` on or when their spec says so."""
        for spec in integrations:
            if spec.id in self._members:
                self._return(spec, at)
            else:
                self._members[spec.id] = ChangingMember(spec, self._seed, at)
        self._forget()

    def _return(self, spec: IntegrationSpec, at: float) -> None:
        member = self._members[spec.id]
        if member.spec is not spec or member.present_at(at):
            msg = f"the workspace already has an integration {spec.id}"
            raise ValueError(msg)
        member.present.append((at, math.inf))

    def remove(self, integration_id: str, at: float) -> None:
        """Let an integration leave at this moment."""
        member = self._members[integration_id]
        member.present = [(since, min(until, at)) for since, until in member.present if since < at]
        self._forget()

    def rename(self, integration_id: str, name: str, at: float) -> None:
        """Give an integration another name from this moment on."""
        self._members[integration_id].names.append((at, name))
        self._forget()

    def _forget(self) -> None:
        self._listed = (math.inf, -math.inf, {})

    def known(self, integration_id: str) -> ChangingMember:
        """The integration, whenever it is present. Raises KeyError for one that never is."""
        return self._members[integration_id]

    def at(self, moment: float) -> Mapping[str, ChangingMember]:
        """The integrations that the workspace has at this moment, by ID."""
        since, until, listed = self._listed
        if not since <= moment < until:
            several = self._members.items()
            listed = {name: each for name, each in several if each.present_at(moment)}
            changes = (each.next_change(moment) for each in self._members.values())
            self._listed = (moment, min(changes, default=math.inf), listed)
        return listed
