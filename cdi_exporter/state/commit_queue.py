"""The queue of rows to write: committed soon after a change, at most once a second.

    workspace ──changed──► queue ──one transaction──► state
        ▲                    │
        └──── committed ◄────┘      only now may counters be shown

While commits fail, rows wait, and each newer row of an integration replaces the older one. Nothing
here blocks the event loop.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.clock import Clock
from cdi_exporter.state.store import Row, StateError, WorkspaceRow
from cdi_exporter.threads import Worker

COMMIT_EVERY = 1.0
"""Least seconds between two commits: each waits for the disk."""

LONGEST_PAUSE = 60.0
"""Most seconds between two tries while commits fail."""

SETTLE_PATIENCE = 1.5
"""Most seconds that a scrape waits for a commit: more would risk its timeout."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row to write. Without a `record` it says only that the integration was listed."""

    workspace: str
    id: str
    listed: bool
    left_at: float | None = None
    """Unix seconds."""
    record: Callable[[], str] | None = None
    """Makes the record's JSON; called in any thread."""
    committed: Callable[[], None] | None = None
    """Called when the row cannot be lost any more."""

    def row(self) -> Row:
        """The row as the file holds it."""
        record = self.record() if self.record else None
        return Row(self.workspace, self.id, self.listed, self.left_at, record)


class ChangeSource(Protocol):
    """A workspace that has something to write."""

    @property
    def name(self) -> str:
        """The workspace's name."""

    @property
    def workspace_row(self) -> WorkspaceRow:
        """The row of the workspace itself."""

    def changes(self) -> Sequence[PendingRow]:
        """The rows that changed since the last call."""


Offload = Callable[[Callable[[], None]], Awaitable[None]]

Prepare = Callable[[Sequence[PendingRow], Sequence[WorkspaceRow]], Callable[[], Collection[str]]]
"""Prepares a commit, and returns the function that makes it, to be called in another thread. That
returns the workspaces whose rows were refused because another exporter leads them."""


class CommitQueue:
    """Rows that wait to be written, and their commits; `place` names the state in the log."""

    def __init__(
        self, place: str, prepare: Prepare, clock: Clock, offload: Offload | None = None
    ) -> None:
        self._place, self._prepare, self._clock = place, prepare, clock
        self._offload = offload or Worker("state").run
        self.failures = 0
        """Commits that failed since the start."""
        self._sources: dict[str, ChangeSource] = {}
        self._waiting: dict[tuple[str, str], PendingRow] = {}
        self._workspaces: dict[str, WorkspaceRow] = {}
        """Rows of workspaces that wait to be written."""
        self._workspaces_written: dict[str, WorkspaceRow] = {}
        self._also: Callable[[], None] | None = None
        """A function to call with the next commit."""
        self._failed_in_a_row = 0
        self._defects: set[str] = set()
        """Workspaces whose changes could not be collected, because of a defect."""
        self._not_before = -math.inf
        self._started = math.inf
        """When the commit in progress started; infinity if there is none."""
        self._task: asyncio.Task[None] | None = None
        self._committed = ChangeSignal()

    async def idle(self) -> None:
        """Wait until no commit is under way."""
        while math.isfinite(self._started):
            await self._committed.wait()

    def waiting(self, workspace: str) -> tuple[list[PendingRow], WorkspaceRow]:
        """What waits to be written of a workspace."""
        rows = [each for each in self._waiting.values() if each.workspace == workspace]
        return rows, self._workspaces.get(workspace, WorkspaceRow(workspace))

    def changed(self, source: ChangeSource) -> None:
        """Note that `source` has changes; they are asked for when they are written."""
        self._sources[source.name] = source
        self._wake()

    def hand_over(self, source: ChangeSource) -> None:
        """Take over what a workspace that ends has to write."""
        self._take(source)
        if self._sources.get(source.name) is source:
            del self._sources[source.name]
        self._wake()

    def drop(self, workspace: str) -> None:
        """Drop the waiting rows of a workspace that another exporter now leads."""
        self._sources.pop(workspace, None)
        self._workspaces.pop(workspace, None)
        self._workspaces_written.pop(workspace, None)
        for key in [key for key in self._waiting if key[0] == workspace]:
            del self._waiting[key]

    def also(self, work: Callable[[], None], workspaces: Collection[str]) -> None:
        """Call `work` with the next commit; forget what was written of other workspaces."""
        self._also = work
        for workspace in self._workspaces_written.keys() - set(workspaces):
            del self._workspaces_written[workspace]
        self._wake()

    def retry(self) -> None:
        """Commit at once, without the pause after a failure: it is likely to succeed now."""
        self._not_before = -math.inf
        if self._task is not None and math.isinf(self._started):
            self._task.cancel()
            self._task = None
        self._wake()

    async def settle(self, until: float, needed: Callable[[], object]) -> None:
        """Wait, until then (loop seconds) at most, for the commits that are `needed`.

        A state that cannot be written, or takes long, is not waited for.
        """
        now = self._clock.monotonic()
        if self._failed_in_a_row or now > self._started + SETTLE_PATIENCE:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, now + SETTLE_PATIENCE)):
                while needed() and not self._failed_in_a_row:
                    await self._committed.wait()

    async def close(self) -> None:
        """Write what waits, once."""
        await self.idle()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._collect()
        if self._to_write:
            await self._commit()

    def _wake(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._sources or self._to_write:
            pause = self._not_before - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)
            self._collect()
            if self._to_write:
                await self._commit()

    @property
    def _to_write(self) -> bool:
        return bool(self._waiting or self._workspaces or self._also)

    def _collect(self) -> None:
        sources, self._sources = self._sources, {}
        for source in sources.values():
            self._take(source)

    def _take(self, source: ChangeSource) -> None:
        """Collect the changes of a workspace; if that fails, they stay until its next change."""
        try:
            rows = source.changes()
        except Exception as error:  # noqa: BLE001 -- a defect of one workspace stops no other
            self._defect_met(source, error)
            return
        self._defects.discard(source.name)
        self._waiting |= {(row.workspace, row.id): row for row in rows}
        row = source.workspace_row
        if self._workspaces_written.get(source.name, WorkspaceRow(source.name)) != row:
            self._workspaces[source.name] = row

    def _defect_met(self, source: ChangeSource, error: Exception) -> None:
        """Count a defect of the exporter; log it once."""
        known = source.name in self._defects
        self._defects.add(source.name)
        self.failures += 1
        if not known:
            log.error("state write failed", path=self._place, problem=str(error), exc_info=error)

    async def _commit(self) -> None:
        rows, workspaces, also = dict(self._waiting), dict(self._workspaces), self._also
        commit = self._prepare([*rows.values()], [*workspaces.values()])
        refused: Collection[str] = ()

        def write() -> None:
            nonlocal refused
            if also is not None:
                also()
            if rows or workspaces:
                refused = commit()

        self._started = self._clock.monotonic()
        try:
            await self._offload(write)
        except Exception as error:  # noqa: BLE001 -- after any error the next try may succeed
            self._failed(error)
        else:
            if self._also is also:
                self._also = None
            for workspace in refused:
                self.drop(workspace)
            self._done(
                {key: row for key, row in rows.items() if row.workspace not in refused},
                {name: row for name, row in workspaces.items() if name not in refused},
            )
        finally:
            self._started = math.inf
            self._committed.notify()

    def _done(
        self, rows: dict[tuple[str, str], PendingRow], workspaces: dict[str, WorkspaceRow]
    ) -> None:
        again, self._failed_in_a_row = self._failed_in_a_row, 0
        self._not_before = self._clock.monotonic() + COMMIT_EVERY
        self._workspaces_written |= workspaces
        # What was replaced by something newer during the commit stays.
        self._workspaces = {
            name: row for name, row in self._workspaces.items() if row != workspaces.get(name)
        }
        self._waiting = {key: row for key, row in self._waiting.items() if row != rows.get(key)}
        defects = []
        for row in rows.values():
            try:
                if row.committed is not None:
                    row.committed()
            except Exception as error:  # noqa: BLE001 -- the other rows are committed all the same
                defects.append((row.workspace, error))
        if again:
            log.info("state write recovered", path=self._place)
        for workspace, defect in defects:
            log.error("internal error", workspace=workspace, exc_info=defect)

    def _failed(self, error: Exception) -> None:
        first = not self._failed_in_a_row
        pause = min(LONGEST_PAUSE, COMMIT_EVERY * 2 ** min(self._failed_in_a_row, 16))
        self.failures += 1
        self._failed_in_a_row += 1
        self._not_before = self._clock.monotonic() + pause
        if first:
            defect = None if isinstance(error, StateError) else error
            log.error("state write failed", path=self._place, problem=str(error), exc_info=defect)
