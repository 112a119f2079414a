"""When the state is written: soon after a change, at most once a second, beside the event loop.

    workspace ──changed──► journal ──one transaction──► store
        ▲                     │
        └──── committed ◄─────┘      counters are shown from here on

While writes fail, what was to be written waits, and each new word replaces the older one.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.clock import Clock
from cdi_exporter.state.store import Row, StateError, Store, Stored
from cdi_exporter.threads import Worker

COMMIT_EVERY = 1.0
"""Seconds between two commits, at least."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries while writing fails, at most."""

SETTLE_PATIENCE = 1.5
"""Seconds that a scrape may wait for a commit."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """A row to be written, by its workspace and ID.

    `row` makes it, in any thread; `committed` is called when it cannot be lost any more.
    """

    key: tuple[str, str]
    row: Callable[[], Row]
    committed: Callable[[], None]


class Changing(Protocol):
    """Who has something to write."""

    @property
    def name(self) -> str:
        """The workspace's name."""

    def changes(self) -> Sequence[Change]:
        """What changed since the last call."""

    @property
    def list_read(self) -> bool:
        """Whether the whole list was ever read."""

    @property
    def forgotten(self) -> float | None:
        """When the last integration left that is forgotten, in Unix seconds."""


Offload = Callable[[Callable[[], None]], Awaitable[None]]


class Memory:
    """The journal of an exporter without a state file: nothing is kept, nothing is waited for."""

    keeps = False
    failures = 0

    async def idle(self) -> None:
        """Nothing is under way."""

    def load(self, workspace: str) -> Stored:
        """Nothing is known."""
        return Stored()

    def changed(self, source: Changing) -> None:
        """Nothing is to be written."""

    async def settle(self, until: float, needed: Callable[[], object]) -> None:
        """Nothing is to be waited for."""

    def leave(self, source: Changing) -> None:
        """Nothing is to be written."""

    def retain(self, workspaces: Sequence[str], wall: float) -> None:
        """Nothing is to be forgotten."""

    async def close(self) -> None:
        """Nothing is open."""


NOTHING_KEPT = Memory()


class Journal(Memory):
    """The journal of an exporter with a state file."""

    keeps = True

    def __init__(self, store: Store, clock: Clock, *, offload: Offload | None = None) -> None:
        self._store, self._clock = store, clock
        self._offload = offload or Worker("state").run
        self.failures = 0
        """Commits that failed since the start."""
        self._sources: dict[str, Changing] = {}
        self._waiting: dict[tuple[str, str], Change] = {}
        self._complete: set[str] = set()
        self._complete_written: set[str] = set()
        self._forgotten: dict[str, float] = {}
        self._forgotten_written: dict[str, float] = {}
        self._retained: tuple[Sequence[str], float] | None = None
        """The configured workspaces, and when they were told, while that is to be written."""
        self._failed_in_a_row = 0
        self._defects: set[str] = set()
        """Workspaces whose changes could not be taken over, by a defect."""
        self._not_before = -math.inf
        self._began = math.inf
        """When the commit that is under way began."""
        self._task: asyncio.Task[None] | None = None
        self._committed = ChangeSignal()

    async def idle(self) -> None:
        """Wait until no commit is under way, so that `load` need not."""
        while math.isfinite(self._began):
            await self._committed.wait()

    def load(self, workspace: str) -> Stored:
        """What is known of a workspace, with what waits to be written; raises StateError."""
        stored = self._store.load(workspace)
        rows = {row.id: row for row in stored.rows}
        changes = [each for each in self._waiting.values() if each.key[0] == workspace]
        waiting = {each.key[1]: each.row() for each in changes}
        return Stored(
            [*(rows | waiting).values()],
            complete=stored.complete or workspace in self._complete,
            forgotten=self._forgotten.get(workspace, stored.forgotten),
            durable={key: rows.get(key) for key in waiting},
        )

    def changed(self, source: Changing) -> None:
        """Note that `source` has changes; they are asked for when they are written."""
        self._sources[source.name] = source
        self._wake()

    def leave(self, source: Changing) -> None:
        """Take over what a workspace that ends has to write."""
        self._take(source)
        if self._sources.get(source.name) is source:
            del self._sources[source.name]
        self._wake()

    async def settle(self, until: float, needed: Callable[[], object]) -> None:
        """Wait, at most until then (loop seconds), for the commits that are `needed`.

        A file that cannot be written, or takes long, is not waited for.
        """
        now = self._clock.monotonic()
        if self._failed_in_a_row or now > self._began + SETTLE_PATIENCE:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, now + SETTLE_PATIENCE)):
                while needed() and not self._failed_in_a_row:
                    await self._committed.wait()

    def retain(self, workspaces: Sequence[str], wall: float) -> None:
        """Forget what left long ago; called at the start and when the configuration changes."""
        self._retained = (workspaces, wall)
        self._complete_written.intersection_update(workspaces)
        for workspace in self._forgotten_written.keys() - set(workspaces):
            del self._forgotten_written[workspace]
        self._wake()

    async def close(self) -> None:
        """Write what waits, once, and close the file."""
        await self.idle()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._collect()
        if self._to_write:
            await self._commit()
        self._store.close()

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
        return bool(self._waiting or self._complete or self._forgotten or self._retained)

    def _collect(self) -> None:
        sources, self._sources = self._sources, {}
        for source in sources.values():
            self._take(source)

    def _take(self, source: Changing) -> None:
        """Take over what a workspace has to write; if it fails, when it next has a change."""
        try:
            changes = source.changes()
        except Exception as error:  # noqa: BLE001 -- a defect of one workspace stops no other
            self._broken(source, error)
            return
        self._defects.discard(source.name)
        for change in changes:
            self._waiting[change.key] = change
        if source.list_read and source.name not in self._complete_written:
            self._complete.add(source.name)
        forgotten = source.forgotten
        if forgotten is not None and self._forgotten_written.get(source.name) != forgotten:
            self._forgotten[source.name] = forgotten

    def _broken(self, source: Changing, error: Exception) -> None:
        """A defect of the exporter: what the workspace has to write stays with it."""
        known = source.name in self._defects
        self._defects.add(source.name)
        self.failures += 1
        if not known:
            log.error(
                "state not written", path=self._store.path, problem=str(error), exc_info=error
            )

    async def _commit(self) -> None:
        batch, complete, retained = dict(self._waiting), set(self._complete), self._retained
        forgotten = dict(self._forgotten)

        def write() -> None:
            if retained is not None:
                self._store.retain(*retained)
            if forgotten:
                self._store.forget(forgotten)
            if batch or complete:
                self._store.commit([change.row() for change in batch.values()], complete)

        self._began = self._clock.monotonic()
        try:
            await self._offload(write)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the next try may succeed
            self._failed(error)
        else:
            if self._retained is retained:
                self._retained = None
            self._forgotten_written |= forgotten
            for name, until in forgotten.items():
                if self._forgotten.get(name) == until:
                    del self._forgotten[name]
            self._done(batch, complete)
        finally:
            self._began = math.inf
            self._committed.notify()

    def _done(self, batch: dict[tuple[str, str], Change], complete: set[str]) -> None:
        again, self._failed_in_a_row = self._failed_in_a_row, 0
        self._not_before = self._clock.monotonic() + COMMIT_EVERY
        self._complete -= complete
        self._complete_written |= complete
        for key, change in batch.items():
            if self._waiting.get(key) is change:
                del self._waiting[key]
        defects = [found for change in batch.values() if (found := _defect_of(change))]
        if again:
            log.info("state written again", path=self._store.path)
        for workspace, error in defects:
            log.error("committed, but not told by a defect", workspace=workspace, exc_info=error)

    def _failed(self, error: Exception) -> None:
        first = not self._failed_in_a_row
        pause = min(LONGEST_PAUSE, COMMIT_EVERY * 2 ** min(self._failed_in_a_row, 16))
        self.failures += 1
        self._failed_in_a_row += 1
        self._not_before = self._clock.monotonic() + pause
        if first:
            defect = None if isinstance(error, StateError) else error
            log.error(
                "state not written", path=self._store.path, problem=str(error), exc_info=defect
            )


def _defect_of(change: Change) -> tuple[str, Exception] | None:
    """Report that a change is committed; the workspace and the error if that fails."""
    try:
        change.committed()
    except Exception as error:  # noqa: BLE001 -- the others are committed all the same
        return change.key[0], error
    return None
