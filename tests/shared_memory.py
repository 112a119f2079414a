"""The shared database in memory: a simple implementation of `SharedStore`.

It has its own clock, no threads and no network, so that tests can run exporters in virtual
time. `tests/postgres/test_model.py` compares it with PostgreSQL, call by call.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

from cdi_exporter.state.shared import (
    LEASE_SECONDS,
    LISTED_SECONDS,
    Batch,
    Beat,
    Group,
    Lease,
    takes,
)
from cdi_exporter.state.store import Row, StoredWorkspace


@dataclass
class StoredLease:
    """A workspace as stored in the database, with its integrations."""

    epoch: int = 0
    holder: str | None = None
    expires_at: float = 0.0
    spending: str | None = None
    spending_at: float = 0.0
    wanted: bool = False
    received: set[str] = field(default_factory=set)
    version: int = 0
    complete: bool = False
    forgotten: float | None = None
    status: str | None = None
    left_at: float | None = None
    rows: dict[str, tuple[Row, int]] = field(default_factory=dict)
    """By ID, in the order of their first commit, each with the version that it was committed in."""


@dataclass(frozen=True)
class Commit:
    """A committed batch."""

    workspace: str
    epoch: int
    exporter: str
    version: int


class MemoryDatabase:
    """The database that exporters share. `now` is its own clock, in Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.exporters: dict[str, float] = {}
        """When each exporter was last seen."""
        self.workspaces: dict[str, StoredLease] = {}
        self.commits: list[Commit] = []

    def lease(self, name: str) -> Lease:
        """A workspace's lease as currently stored."""
        found, now = self.workspaces[name], self.now()
        return Lease(
            name,
            found.epoch,
            found.holder,
            found.expires_at - now,
            found.wanted,
            found.spending,
            0.0 if found.spending is None else now - found.spending_at,
        )

    def listed(self) -> set[str]:
        """The exporters that count as running."""
        return {
            name for name, seen in self.exporters.items() if self.now() - seen <= LISTED_SECONDS
        }


def no_fault(stage: str) -> None:
    """No call and no response is lost."""


class MemoryStore:
    """One exporter's connection to the database.

    `fault` is called with `request` before a call is executed and with `answer` after it. The
    caller gets the exception that it raises, which imitates a lost connection.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        exporter: str,
        *,
        fault: Callable[[str], None] = no_fault,
    ) -> None:
        self.database, self.exporter, self.fault = database, exporter, fault

    def beat(self, groups: Iterable[Group]) -> Beat:
        """See `SharedStore`."""
        self.fault("request")
        groups = tuple(groups)
        database, now = self.database, self.database.now()
        database.exporters[self.exporter] = now
        names = [name for group in groups for name in group.workspaces]
        for name in names:
            database.workspaces.setdefault(name, StoredLease())
        leases: dict[str, Lease] = {}
        for group in groups:
            leases |= self._lead(group)
        self.fault("answer")
        return Beat(leases, len(database.listed() - {self.exporter}))

    def _lead(self, group: Group) -> dict[str, Lease]:
        """Renew the group's leases, and take the free ones."""
        rows = {name: self._known(name, group) for name in group.workspaces}
        taken = takes(self.exporter, group, rows)
        return {
            name: self._hold(row, group.spending, taken=name in taken)
            for name, row in rows.items()
            if name in taken or row.holder == self.exporter
        }

    def _known(self, name: str, group: Group) -> Lease:
        """A lease, shown as free if this exporter holds it with an unknown epoch."""
        row = self.database.lease(name)
        unknown = row.holder == self.exporter and row.epoch != group.epochs.get(name)
        return replace(row, holder=None) if unknown else row

    def _hold(self, lease: Lease, spending: str | None, *, taken: bool) -> Lease:
        """Take or renew a lease; what the leader before had spent stays until the first renewal."""
        found = self.database.workspaces[lease.workspace]
        if taken:
            found.epoch += 1
            found.holder = self.exporter
            found.rows = {
                key: (row, version)
                for key, (row, version) in found.rows.items()
                if row.listed or row.record is not None
            }
        else:
            self._spent(found, spending)
        found.expires_at = self.database.now() + LEASE_SECONDS
        found.left_at = None
        received = frozenset(found.received)
        found.wanted, found.received = False, set()
        return replace(
            lease, epoch=found.epoch, holder=found.holder, taken=taken, received=received
        )

    def _spent(self, found: StoredLease, spending: str | None) -> None:
        if spending is not None:
            found.spending, found.spending_at = spending, self.database.now()

    def read(self, workspace: str, since: int | None = None) -> StoredWorkspace:
        """See `SharedStore`."""
        self.fault("request")
        found = self.database.workspaces.get(workspace, StoredLease())
        rows = [row for row, version in found.rows.values() if since is None or version > since]
        self.fault("answer")
        return StoredWorkspace(
            rows,
            found.complete,
            found.forgotten,
            status=found.status,
            version=found.version,
            epoch=found.epoch,
        )

    def commit(self, batches: Iterable[Batch]) -> Collection[str]:
        """See `SharedStore`."""
        self.fault("request")
        refused = [batch.workspace.name for batch in batches if not self._commit(batch)]
        self.fault("answer")
        return refused

    def _commit(self, batch: Batch) -> bool:
        new = batch.workspace
        found = self.database.workspaces.get(new.name)
        if found is None or (found.epoch, found.holder) != (batch.epoch, self.exporter):
            return False
        found.version += 1
        found.complete |= new.complete
        found.forgotten = found.forgotten if new.forgotten is None else new.forgotten
        found.status = found.status if new.status is None else new.status
        self._spent(found, batch.spending)
        for row in batch.rows:
            found.rows[row.id] = (row, found.version)
        self.database.commits.append(Commit(new.name, batch.epoch, self.exporter, found.version))
        return True

    def ask(self, workspace: str, received: Collection[str]) -> None:
        """See `SharedStore`. Unknown workspaces are ignored."""
        self.fault("request")
        if found := self.database.workspaces.get(workspace):
            found.wanted = True
            found.received |= set(received)
        self.fault("answer")

    def release(self, groups: Iterable[Group]) -> None:
        """See `SharedStore`.

        The exporter is still listed as long as after its last beat, because it may have used its
        part of the budget just before.
        """
        self.fault("request")
        groups = tuple(groups)
        for group in groups:
            for name in group.workspaces:
                found = self.database.workspaces.get(name)
                if found is not None and found.holder == self.exporter:
                    found.holder, found.expires_at = None, self.database.now()
                    self._spent(found, group.spending)
        self.fault("answer")

    def retain(self, workspaces: Collection[str], remembered_for: float) -> None:
        """See `SharedStore`. A workspace with a leader is configured there, and is kept."""
        self.fault("request")
        now = self.database.now()
        for name in workspaces:
            self.database.workspaces.setdefault(name, StoredLease())
        for name, found in list(self.database.workspaces.items()):
            left = now if found.left_at is None else min(found.left_at, now)
            found.left_at = None if name in workspaces else left
            led = found.holder is not None and found.expires_at > now
            if found.left_at is not None and found.left_at < now - remembered_for and not led:
                del self.database.workspaces[name]
        self.fault("answer")

    def close(self) -> None:
        """Nothing to close."""
