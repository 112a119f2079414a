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

from cdi_exporter.state.store import Row, StateError, Store, Stored

COMMIT_EVERY = 1.0
"""Seconds between two commits, at least."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries while writing fails, at most."""

SETTLE_PATIENCE = 1.5
"""Seconds that a scrape may wait for a commit."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """A row to be written; `committed` is called when it cannot be lost any more."""

    row: Row
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


class Time(Protocol):
    """What of the clock is needed."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds of the event loop."""

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]:
        """Wait for so many seconds."""


Offload = Callable[[Callable[[], None]], Awaitable[None]]


class Memory:
    """The journal of an exporter without a state file: nothing is kept, nothing is waited for."""

    keeps = False
    failures = 0

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

    def __init__(self, store: Store, clock: Time, *, offload: Offload = asyncio.to_thread) -> None:
        self._store, self._clock, self._offload = store, clock, offload
        self.failures = 0
        """Commits that failed since the start."""
        self._sources: dict[str, Changing] = {}
        self._waiting: dict[tuple[str, str], Change] = {}
        self._complete: set[str] = set()
        self._complete_written: set[str] = set()
        self._failed_in_a_row = 0
        self._not_before = -math.inf
        self._began = math.inf
        """When the commit that is under way began."""
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    def load(self, workspace: str) -> Stored:
        """What is known of a workspace, with what waits to be written; raises StateError."""
        stored = self._store.load(workspace)
        rows = {row.id: row for row in stored.rows}
        rows |= {key: each.row for (name, key), each in self._waiting.items() if name == workspace}
        complete = stored.complete or workspace in self._complete
        return Stored([*rows.values()], complete=complete)

    def changed(self, source: Changing) -> None:
        """Note that `source` has changes; they are asked for when they are written."""
        self._sources[source.name] = source
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    def leave(self, source: Changing) -> None:
        """Take over what a workspace that ends has to write."""
        self._take(source)
        self.changed(source)

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
                    await self._moved.wait()

    def retain(self, workspaces: Sequence[str], wall: float) -> None:
        """Forget what left long ago; called at the start and when the configuration changes."""
        try:
            self._store.retain(workspaces, wall)
        except StateError as error:
            self._failed(error)

    async def close(self) -> None:
        """Write what waits, once, and close the file."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._collect()
        if self._waiting or self._complete:
            await self._commit()
        self._store.close()

    async def _write(self) -> None:
        while self._sources or self._waiting or self._complete:
            pause = self._not_before - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)
            self._collect()
            if self._waiting or self._complete:
                await self._commit()

    def _collect(self) -> None:
        sources, self._sources = self._sources, {}
        for source in sources.values():
            self._take(source)

    def _take(self, source: Changing) -> None:
        for change in source.changes():
            self._waiting[change.row.workspace, change.row.id] = change
        if source.list_read and source.name not in self._complete_written:
            self._complete.add(source.name)

    async def _commit(self) -> None:
        batch, complete = dict(self._waiting), set(self._complete)
        rows = [change.row for change in batch.values()]
        self._began = self._clock.monotonic()
        try:
            await self._offload(lambda: self._store.commit(rows, complete))
        except StateError as error:
            self._failed(error)
        else:
            self._done(batch, complete)
        self._began = math.inf
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _done(self, batch: dict[tuple[str, str], Change], complete: set[str]) -> None:
        for key, change in batch.items():
            if self._waiting.get(key) is change:
                del self._waiting[key]
            change.committed()
        self._complete -= complete
        self._complete_written |= complete
        if self._failed_in_a_row:
            log.info("state written again", path=self._store.path)
        self._failed_in_a_row = 0
        self._not_before = self._clock.monotonic() + COMMIT_EVERY

    def _failed(self, error: StateError) -> None:
        self.failures += 1
        if not self._failed_in_a_row:
            log.error("state not written", path=self._store.path, problem=str(error))
        pause = min(LONGEST_PAUSE, COMMIT_EVERY * 2 ** min(self._failed_in_a_row, 16))
        self._failed_in_a_row += 1
        self._not_before = self._clock.monotonic() + pause
