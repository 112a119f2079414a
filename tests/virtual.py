"""Virtual time: an event loop that jumps to the next timer instead of waiting for it."""

import asyncio
import random
import selectors
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from cdi_exporter.clock import Clock, Instant
from cdi_exporter.files import READER

EPOCH = 1_790_000_000.0
"""The wall clock at loop second 0, in Unix seconds."""

READ_WITHIN = 10.0
"""The longest time in seconds to read a file in a test."""

Result = TypeVar("Result")


def files_are_read() -> bool:
    """Wait for threads that read files, in real time; return whether there were any."""
    readers = [each for each in threading.enumerate() if each.name == READER]
    for reader in readers:
        reader.join(READ_WITHIN)
    return bool(readers)


def instant(now: float, wall: float | None = None) -> Instant:
    """The instant at loop second `now`; the clocks of the exporter and the API agree."""
    wall = EPOCH + now if wall is None else wall
    return Instant(now, wall, wall)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which only sleeping takes time."""

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was created."""
        return self._virtual

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._virtual += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and files_are_read():
            events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("deadlock: the loop waits without a timer")
            self._loop.jump(timeout)
        return events


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_clock(seed: int = 0, ahead: float = 0.0) -> Clock:
    """The clock of the running virtual loop; `ahead` shifts the wall clock."""
    loop = asyncio.get_running_loop()
    return Clock(
        wall=lambda: EPOCH + ahead + loop.time(),
        monotonic=loop.time,
        sleep=asyncio.sleep,
        rng=random.Random(seed),
    )
