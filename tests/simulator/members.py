"""The integrations of the simulated workspace and their names at any moment."""

import math
from collections.abc import Iterable, Iterator, Mapping

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.simulated_run import SECOND, SimulatedRun, micros
from cdi_exporter.simulator.spec import IntegrationSpec
from tests.simulator.changing import ChangingSpec
from tests.simulator.script import ScriptedIntegration


class ChangingMember(GeneratedIntegration):
    """An integration that can be removed, return or be renamed. Times are Unix seconds.

    The runs of a `ChangingSpec` are between its times. Those of a script can be at any time.
    """

    def __init__(self, spec: IntegrationSpec, seed: int, at: float) -> None:
        super().__init__(spec, seed)
        self.present = [(at, math.inf)]
        """The periods in which it is in the workspace."""
        self.names: list[tuple[float, str]] = []
        """Names other than in its spec, each with the time from which it is used, oldest first."""
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
        """Whether the integration is in the workspace at this moment."""
        return any(since <= moment < until for since, until in self.present)

    def name_at(self, moment: float) -> str:
        """Its name at this moment."""
        name = self.spec.name
        for since, renamed in self.names:
            if since <= moment:
                name = renamed
        return name

    def next_change(self, moment: float) -> float:
        """The next moment at which its name changes, or it is added or removed."""
        edges = [edge for span in self.present for edge in span]
        edges += [since for since, _ in self.names]
        return min((edge for edge in edges if edge > moment), default=math.inf)


def _bounded_micros(moment: float) -> int:
    """Microseconds. The moment can be infinite."""
    return micros(max(-1e12, min(1e12, moment)))


class Members:
    """All integrations ever present, in the order in which the API lists them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._members: dict[str, ChangingMember] = {}
        self._listed: tuple[float, float, dict[str, ChangingMember]] = (math.inf, -math.inf, {})

    def add(self, integrations: Iterable[IntegrationSpec], at: float) -> None:
        """Add integrations at the moment `at`, or when their spec says."""
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
        """Remove an integration at this moment."""
        member = self._members[integration_id]
        member.present = [(since, min(until, at)) for since, until in member.present if since < at]
        self._forget()

    def rename(self, integration_id: str, name: str, at: float) -> None:
        """Rename an integration at this moment."""
        self._members[integration_id].names.append((at, name))
        self._forget()

    def _forget(self) -> None:
        self._listed = (math.inf, -math.inf, {})

    def known(self, integration_id: str) -> ChangingMember:
        """The integration, whether present or not. Raises KeyError if it was never present."""
        return self._members[integration_id]

    def at(self, moment: float) -> Mapping[str, ChangingMember]:
        """The integrations in the workspace at this moment, by ID."""
        since, until, listed = self._listed
        if not since <= moment < until:
            several = self._members.items()
            listed = {name: each for name, each in several if each.present_at(moment)}
            changes = (each.next_change(moment) for each in self._members.values())
            self._listed = (moment, min(changes, default=math.inf), listed)
        return listed
