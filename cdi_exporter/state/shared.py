"""The database that several exporters share: leases of workspaces, and what leaders commit.

Each workspace has a lease in the database: which exporter leads it, until when, and its epoch,
which grows with each exporter that takes the lease. A commit checks the epoch in the same
transaction, so that an exporter that was replaced without knowing it commits nothing more. Each
commit gives the rows that it writes the workspace's next version: an exporter that has read up to
a version reads only newer rows.

Times are compared only on the database's clock. This module has the rules, `postgres` implements
them; tests compare it with an implementation in memory.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from cdi_exporter.state.store import Row, StateError, StoredWorkspace, WorkspaceRow

LEASE_SECONDS = 12.0
"""Seconds for which a lease is valid after its renewal. After the leader is gone, another exporter
leads within this time plus `BEAT_SECONDS`: less than the promised 30 s, even on a slow machine."""

BEAT_SECONDS = 2.0
"""Seconds between two renewals: short enough for a lease to survive several that fail."""

LISTED_SECONDS = 60.0
"""Seconds for which an exporter counts as running after its last beat: as long as Braze's limits
look back, so that the parts of the budget never add up to more than the whole."""


class Role(Enum):
    """What an exporter does for a workspace."""

    LEADS = "leads"
    """It sends the requests to Braze, and commits what they show."""
    FOLLOWS = "follows"
    """It shows what the leader has committed."""
    CUT_OFF = "cut off"
    """It cannot reach the database: its gauges are its own, its counters stay as they were."""


class SchemaTooNew(StateError):
    """The database was migrated by a newer version of the exporter."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a workspace: as a beat found it and, if `taken`, with the new epoch."""

    workspace: str
    epoch: int = 0
    holder: str | None = None
    """The exporter that leads or led last; None if there was none, or it gave the lease back."""
    seconds_left: float = field(default=0.0, compare=False)
    """Seconds until the lease expires; negative if it has."""
    wanted: bool = False
    """Whether another exporter was scraped since the last beat, and needs newer data."""
    spending: str | None = None
    """What was spent of the budget, as its holder last reported."""
    spending_age: float = field(default=0.0, compare=False)
    """Seconds since it reported that."""
    taken: bool = False
    """Whether this beat took the lease; False if it renewed it."""
    received: frozenset[str] = frozenset()
    """Integrations whose counters scrapers have received at 0 from other exporters."""


@dataclass(frozen=True, slots=True)
class Group:
    """Workspaces that are led together, because they share one budget."""

    workspaces: tuple[str, ...]
    spending: str | None = None
    """What was spent of the budget in the last minute, as JSON, for the next leader."""
    may_lead: bool = True
    """Whether leases may be taken; those that are held are renewed in any case."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """Of the leases that the exporter holds, by workspace. One in its name with another epoch was
    taken by a call whose answer was lost or came too late, or by an earlier process: it is taken
    again. The spending of the exporter before is still there, since only a renewal replaces it."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What the database answered to a beat."""

    leases: Mapping[str, Lease]
    """By workspace, those that this exporter holds now."""
    others: int
    """Other exporters that were running in the last `LISTED_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a leader commits of one workspace."""

    workspace: WorkspaceRow
    epoch: int
    rows: Sequence[Row] = field(default=())
    spending: str | None = None


class SharedStore(Protocol):
    """A connection to the shared database. Its methods block, and raise StateError."""

    def beat(self, groups: Iterable[Group]) -> Beat:
        """Record that this exporter runs, renew its leases, and take those that are free."""

    def read(self, workspace: str, since: int | None = None) -> StoredWorkspace:
        """What was committed of a workspace, of rows only those newer than version `since`.

        The rows are in the order in which the integrations were first seen. One that was forgotten
        has neither a record nor `listed`.
        """

    def commit(self, batches: Iterable[Batch]) -> Collection[str]:
        """Write each batch, all or nothing, if the exporter holds the lease of its epoch.

        Returns the workspaces whose batches were refused, since it does not.
        """

    def ask(self, workspace: str, received: Collection[str]) -> None:
        """Ask the leader for newer data, and report which counters were received at 0."""

    def release(self, groups: Iterable[Group]) -> None:
        """Give the leases back, with what was spent."""

    def retain(self, workspaces: Collection[str], remembered_for: float) -> None:
        """Forget workspaces that left the configuration `remembered_for` seconds ago."""

    def close(self) -> None:
        """Close the connection."""


def takes(me: str, group: Group, rows: Mapping[str, Lease]) -> list[str]:
    """The workspaces of a group whose leases an exporter takes; all that are not its own, or none.

    `rows` are the leases in the database, locked.
    """
    found = [rows.get(name, Lease(name)) for name in group.workspaces]
    foreign = [row for row in found if row.holder != me]
    free = all(row.holder is None or row.seconds_left <= 0 for row in foreign)
    return [row.workspace for row in foreign] if group.may_lead and free else []
