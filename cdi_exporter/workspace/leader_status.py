"""What the leader of a workspace shares with its followers, in addition to the records."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

from cdi_exporter.model import LATEST, Count, Time, Within
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.workspace.integration import IntegrationState


@dataclass(frozen=True, slots=True)
class IntegrationFreshness:
    """How fresh the facts of one integration are, and the problem with its history."""

    id: str
    refreshed: Time | None = None
    problem: str | None = None


_OF_THE_WORKSPACE = (
    *("up", "error", "problem", "list_readable"),
    *("last_refresh", "refresh_duration", "pending_reads"),
)
"""The fields of a snapshot that a follower takes from the leader; `LeaderStatus` has them, too."""


@dataclass(frozen=True, slots=True)
class LeaderStatus:
    """A leader's `WorkspaceSnapshot`, without what the records contain."""

    up: bool | None = None
    error: str | None = None
    problem: str | None = None
    list_readable: bool | None = None
    last_refresh: Time | None = None
    refresh_duration: Annotated[float, Within(0, LATEST)] | None = None
    pending_reads: Count = 0
    confirmed: Time | None = None
    """When the last complete refresh started, which confirmed the facts of most integrations."""
    others: tuple[IntegrationFreshness, ...] = ()
    """Integrations whose facts it did not confirm, or that have a problem."""

    @classmethod
    def of(cls, snapshot: WorkspaceSnapshot) -> "LeaderStatus":
        """The status that a leader's snapshot contains."""
        confirmed = None
        if snapshot.last_refresh is not None:
            confirmed = snapshot.last_refresh - (snapshot.refresh_duration or 0.0)
        return cls(
            **{name: getattr(snapshot, name) for name in _OF_THE_WORKSPACE},
            confirmed=confirmed,
            others=tuple(
                IntegrationFreshness(each.facts.id, each.refreshed, each.problem)
                for each in snapshot.integrations
                if each.problem
                or each.refreshed is None
                or confirmed is None
                or each.refreshed < confirmed
            ),
        )

    def show(self, integrations: Iterable[IntegrationState]) -> None:
        """Show the freshness that integrations have for the leader."""
        others = {each.id: each for each in self.others}
        for state in integrations:
            usual = IntegrationFreshness(state.id, self.confirmed)
            freshness = others.get(state.id, usual)
            state.follow(freshness.refreshed, freshness.problem)

    def applied_to(self, snapshot: WorkspaceSnapshot) -> WorkspaceSnapshot:
        """The snapshot of an exporter that follows, as the leader would show it."""
        return replace(snapshot, **{name: getattr(self, name) for name in _OF_THE_WORKSPACE})
