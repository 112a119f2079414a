"""Which integrations the workspace has, under which names, at any moment."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from cdi_exporter.simulator.life import GeneratedIntegration
from cdi_exporter.simulator.run import SimulatedRun
from cdi_exporter.simulator.script import ScriptedIntegration
from cdi_exporter.simulator.spec import IntegrationSpec


class Life(Protocol):
    """The runs of one integration, all times in microseconds."""

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        """Runs that start after `since` and no later than `until`, newest start first."""
        ...

    def next_scheduled(self, moment: int) -> int | None:
        """When the next run is due; None without a schedule."""
        ...

    def next_event(self, moment: int) -> int:
        """Nothing starts, and no schedule passes, after `moment` and before this."""
        ...

    @property
    def longest(self) -> float:
        """No run takes longer than so many seconds."""
        ...


@dataclass(slots=True, eq=False)
class Member:
    """An integration's place in the workspace. Times are Unix seconds."""

    spec: IntegrationSpec | ScriptedIntegration
    life: Life
    present: list[tuple[float, float]]
    """From when until when it is in the workspace; it may return."""
    names: list[tuple[float, str]] = field(default_factory=list)
    """From when on it has another name than in its spec, oldest first."""
    item: tuple[float, float, bytes] = (math.inf, -math.inf, b"")
    """The list item that holds from one moment up to another one."""

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


class Roster:
    """All members in the order in which the API lists them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._members: dict[str, Member] = {}
        self._listed: tuple[float, float, list[Member]] = (math.inf, -math.inf, [])

    def add(self, integrations: Iterable[IntegrationSpec | ScriptedIntegration], at: float) -> None:
        """Take in integrations, from the moment `at` on or when their spec says so."""
        for spec in integrations:
            if spec.id in self._members:
                self._return(spec, at)
            elif isinstance(spec, IntegrationSpec):
                span = (max(at, spec.added_at), spec.removed_at)
                life = GeneratedIntegration(spec, self._seed)
                self._members[spec.id] = Member(spec, life, [span], list(spec.renames))
            else:
                self._members[spec.id] = Member(spec, spec, [(at, math.inf)])
        self._forget()

    def _return(self, spec: IntegrationSpec | ScriptedIntegration, at: float) -> None:
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
        self._listed = (math.inf, -math.inf, [])
        for member in self._members.values():
            member.item = (math.inf, -math.inf, b"")

    def known(self, integration_id: str) -> Member:
        """The integration, whenever it is present. Raises KeyError for one that never is."""
        return self._members[integration_id]

    def find(self, integration_id: str, moment: float) -> Member | None:
        """The integration if the workspace has it at this moment."""
        member = self._members.get(integration_id)
        return member if member is not None and member.present_at(moment) else None

    def at(self, moment: float) -> list[Member]:
        """The integrations that the workspace has at this moment."""
        since, until, listed = self._listed
        if not since <= moment < until:
            listed = [each for each in self._members.values() if each.present_at(moment)]
            changes = (each.next_change(moment) for each in self._members.values())
            self._listed = (moment, min(changes, default=math.inf), listed)
        return listed
