"""The journal: where workspaces store what must outlive the process. Here: none, or a file."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from cdi_exporter.braze.sharing import KeyBudgets
from cdi_exporter.clock import Clock
from cdi_exporter.state.commit_queue import ChangeSource, CommitQueue, Offload, PendingRow
from cdi_exporter.state.shared import Role
from cdi_exporter.state.store import Store, StoredWorkspace, WorkspaceRow


class SharedSource(ChangeSource, Protocol):
    """A workspace that other exporters may lead."""

    @property
    def budgets(self) -> KeyBudgets:
        """The budgets of the workspace's key."""

    @property
    def request_timeout(self) -> float:
        """Seconds that a request may be under way."""

    def read(self, stored: StoredWorkspace, *, whole: bool) -> Callable[[], None]:
        """Read what another exporter has committed, in any thread; raises UnreadableState.

        The result, called in the event loop, continues with it. Unless it is `whole`, it is what
        was committed since.
        """

    def receive(self, integrations: Collection[str]) -> None:
        """Note that scrapers have received counters at 0 from another exporter."""

    def pause(self) -> None:
        """Send no more requests until the next scrape."""

    def refresh_wanted(self) -> None:
        """Refresh soon, because another exporter was scraped."""


class Journal:
    """The journal of an exporter without a state: it stores nothing, and nothing waits for it.

    The others derive from it. Unless exporters share the state, each leads all its workspaces.
    """

    keeps = False
    """Whether anything is stored."""
    shared = False
    """Whether other exporters share it."""
    _queue: CommitQueue | None = None

    @property
    def failures(self) -> int:
        """Commits that failed since the start."""
        return self._queue.failures if self._queue else 0

    @property
    def database_up(self) -> bool | None:
        """Whether the shared database can be reached; None if there is none."""
        return None

    async def start(self) -> None:
        """Start; wait some seconds for what other exporters have committed."""

    async def idle(self) -> None:
        """Wait until no commit is in progress, so that `attach` does not block on one."""
        if self._queue:
            await self._queue.idle()

    def attach(self, source: SharedSource) -> StoredWorkspace:
        """Start to store a workspace; return what is stored of it or waits to be written.

        Raises StateError.
        """
        return StoredWorkspace()

    def changed(self, source: ChangeSource) -> None:
        """Note that `source` has changes; they are collected when they are written."""
        if self._queue:
            self._queue.changed(source)

    def hand_over(self, source: ChangeSource) -> None:
        """Take over what a workspace that ends has to write."""
        if self._queue:
            self._queue.hand_over(source)

    async def settle(self, until: float, needed: Callable[[], object]) -> None:
        """Wait, until then (loop seconds) at most, for the commits that are `needed`."""
        if self._queue:
            await self._queue.settle(until, needed)

    def retain(self, workspaces: Sequence[str], wall: float, remembered_for: float) -> None:
        """Forget workspaces that left the configuration `remembered_for` seconds ago."""

    def role(self, workspace: str) -> Role:
        """What this exporter does for a workspace now."""
        return Role.LEADS

    async def follow(self, source: SharedSource, until: float) -> None:
        """Have `source` take what the leader has committed; until then (loop seconds) at most."""

    def received(self, workspace: str, integrations: Collection[str]) -> None:
        """Report to the leader which counters a scraper has received at 0 from this exporter."""

    async def close(self) -> None:
        """Try once to write what waits, then close the state."""


class SqliteJournal(Journal):
    """The journal of an exporter with a state file."""

    keeps = True
    _queue: CommitQueue

    def __init__(self, store: Store, clock: Clock, *, offload: Offload | None = None) -> None:
        self._store = store
        self._queue = CommitQueue(store.path, self._prepare, clock, offload)

    def _prepare(
        self, rows: Sequence[PendingRow], workspaces: Sequence[WorkspaceRow]
    ) -> Callable[[], Collection[str]]:
        def commit() -> Collection[str]:
            self._store.commit([row.row() for row in rows], workspaces)
            return ()

        return commit

    def attach(self, source: ChangeSource) -> StoredWorkspace:
        """Start to store a workspace; return what is stored of it or waits to be written.

        Raises StateError.
        """
        stored = self._store.load(source.name)
        rows = {row.id: row for row in stored.rows}
        pending, newer = self._queue.waiting(source.name)
        waiting = {each.id: each.row() for each in pending}
        return StoredWorkspace(
            [*(rows | waiting).values()],
            complete=stored.complete or newer.complete,
            forgotten=stored.forgotten if newer.forgotten is None else newer.forgotten,
            committed={key: rows.get(key) for key in waiting},
        )

    def retain(self, workspaces: Sequence[str], wall: float, remembered_for: float) -> None:
        """Forget workspaces that left the configuration `remembered_for` seconds ago."""
        forget = partial(self._store.retain, workspaces, wall, remembered_for)
        self._queue.also(forget, workspaces)

    async def close(self) -> None:
        """Try once to write what waits, then close the file."""
        await self._queue.close()
        self._store.close()
