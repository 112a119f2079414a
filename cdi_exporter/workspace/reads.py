"""The history reads of one workspace: a queue, most urgent first, emptied within the budget."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

from cdi_exporter.braze.permit import RequestPermit
from cdi_exporter.errors import ApiError
from cdi_exporter.workspace.tracked import Due

Rank = tuple[Due, float, int]


class Reads:
    """What is to be read, and the tasks that read it.

    `turn` waits until a request may start, and raises ApiError if none may any more; only then
    the most urgent read is chosen, so what becomes urgent meanwhile goes first. `read` makes one
    and never raises. `broke` is given a defect that ended the emptying of the queue: the next
    read that is put begins it again.
    """

    def __init__(
        self,
        turn: Callable[[], Awaitable[RequestPermit]],
        read: Callable[[str, RequestPermit], Awaitable[object]],
        broke: Callable[[Exception], None] | None = None,
    ) -> None:
        self._turn, self._read, self._broke = turn, read, broke
        self._waiting: dict[str, Rank] = {}
        self._under_way: dict[str, Due] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._order = count()
        self._last: Due | None = None

    def put(self, identifier: str, due: Due, rank: float = 0.0) -> None:
        """Ask for a read; of two for the same integration the newer reason holds."""
        waiting = self._waiting.get(identifier)
        if waiting is None or due is not waiting[0] or rank < waiting[1]:
            self._waiting[identifier] = (due, rank, waiting[2] if waiting else next(self._order))
        self._wake()

    def waiting(self, *dues: Due) -> int:
        """How many reads of these kinds wait."""
        return sum(1 for due, _, _ in self._waiting.values() if due in dues)

    def under_way(self, *dues: Due) -> int:
        """How many reads of these kinds are being made."""
        return sum(1 for due in self._under_way.values() if due in dues)

    @property
    def busy(self) -> bool:
        """Whether anything waits or is being made."""
        return bool(self._waiting or self._under_way)

    def clear(self) -> None:
        """Drop what waits; what is under way goes on."""
        self._waiting.clear()

    async def close(self) -> None:
        """End everything at once."""
        self.clear()
        tasks = [*self._tasks, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._pumps())

    async def _pumps(self) -> None:
        try:
            await self._empty()
        except Exception as error:
            if self._broke is None:
                raise
            self._broke(error)

    async def _empty(self) -> None:
        while self._next() is not None:
            try:
                turn = await self._turn()
            except ApiError:  # the workspace was removed while this waited
                self._waiting.clear()
                return
            identifier = self._next()
            if identifier is None:
                with turn:
                    return
            due, _, _ = self._waiting.pop(identifier)
            self._under_way[identifier] = self._last = due
            task = asyncio.create_task(self._make(identifier, turn))
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, turn))

    def _ended(self, turn: RequestPermit, task: asyncio.Task[None]) -> None:
        """A task that was cancelled before its first step has not given its turn back."""
        turn.close()
        self._tasks.discard(task)

    async def _make(self, identifier: str, turn: RequestPermit) -> None:
        try:
            await self._read(identifier, turn)
        finally:
            del self._under_way[identifier]
            if self._waiting:
                self._wake()

    def _next(self) -> str | None:
        free = (key for key in self._waiting if key not in self._under_way)
        return min(free, key=self._urgency, default=None)

    def _urgency(self, identifier: str) -> tuple[float, float, int]:
        """Every other time what is overdue goes first."""
        due, rank, order = self._waiting[identifier]
        first = due is Due.OVERDUE and self._last is not Due.OVERDUE
        return -1 if first else due, rank, order
