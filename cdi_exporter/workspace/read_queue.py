"""The queue of history reads of one workspace: most urgent first, within the budget."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

from cdi_exporter.braze.sharing import RequestPermit
from cdi_exporter.errors import ApiError
from cdi_exporter.workspace.schedule import ReadReason

Rank = tuple[ReadReason, float, int]


class ReadQueue:
    """The waiting reads, and the tasks that make them.

    `permit` waits until a request may start, and raises ApiError if none ever may. Only then the
    most urgent read is chosen, because another one may have become more urgent. The permit belongs
    to the queue until the task that reads has started. `read` makes one read and never raises.
    `report_defect` gets an error that stopped the queue; the next `put` starts it again.
    """

    def __init__(
        self,
        permit: Callable[[], Awaitable[RequestPermit]],
        read: Callable[[str, RequestPermit], Awaitable[object]],
        report_defect: Callable[[Exception], None],
    ) -> None:
        self._permit, self._read, self._report_defect = permit, read, report_defect
        self._waiting: dict[str, Rank] = {}
        self._under_way: dict[str, ReadReason] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._emptying: asyncio.Task[None] | None = None
        self._order = count()
        self._last: ReadReason | None = None

    def put(self, identifier: str, reason: ReadReason, rank: float = 0.0) -> None:
        """Queue a read; a newer reason replaces an older one of the same integration.

        Of reads with the same reason, the one with the lowest `rank` goes first.
        """
        waiting = self._waiting.get(identifier)
        if waiting is None or reason is not waiting[0] or rank < waiting[1]:
            order = waiting[2] if waiting else next(self._order)
            self._waiting[identifier] = (reason, rank, order)
        self._start()

    def waiting(self, *reasons: ReadReason) -> int:
        """How many reads wait for one of these reasons."""
        return sum(1 for reason, _, _ in self._waiting.values() if reason in reasons)

    def under_way(self, *reasons: ReadReason) -> int:
        """How many reads are being made for one of these reasons."""
        return sum(1 for reason in self._under_way.values() if reason in reasons)

    @property
    def busy(self) -> bool:
        """Whether anything waits or is being made."""
        return bool(self._waiting or self._under_way)

    def clear(self) -> None:
        """Drop the waiting reads; those in progress continue."""
        self._waiting.clear()

    async def close(self) -> None:
        """Drop the waiting reads, and cancel those in progress."""
        self.clear()
        tasks = [*self._tasks, *([self._emptying] if self._emptying else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        if self._emptying is None or self._emptying.done():
            self._emptying = asyncio.create_task(self._empty())

    async def _empty(self) -> None:
        try:
            await self._start_reads()
        except Exception as error:  # noqa: BLE001 -- any error here is a defect, and is reported
            self._report_defect(error)

    async def _start_reads(self) -> None:
        while self._most_urgent() is not None:
            try:
                permit = await self._permit()
            except ApiError:  # the workspace was removed while this waited
                self._waiting.clear()
                return
            identifier = self._most_urgent()
            if identifier is None:
                with permit:
                    return
            reason, _, _ = self._waiting.pop(identifier)
            self._under_way[identifier] = self._last = reason
            task = asyncio.create_task(self._make(identifier, permit))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, permit))

    def _ended(self, permit: RequestPermit, task: asyncio.Task[None]) -> None:
        """Close the permit: a task that was cancelled before its first step has not done so."""
        permit.close()
        self._tasks.discard(task)

    async def _make(self, identifier: str, permit: RequestPermit) -> None:
        try:
            await self._read(identifier, permit)
        finally:
            del self._under_way[identifier]
            if self._waiting:
                self._start()

    def _most_urgent(self) -> str | None:
        free = (key for key in self._waiting if key not in self._under_way)
        return min(free, key=self._urgency, default=None)

    def _urgency(self, identifier: str) -> tuple[float, float, int]:
        """The sort key of a waiting read: every other time an overdue catch-up goes first."""
        reason, rank, order = self._waiting[identifier]
        overdue = ReadReason.OVERDUE
        first = reason is overdue and self._last is not overdue
        return -1 if first else reason, rank, order
