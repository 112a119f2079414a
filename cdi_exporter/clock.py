"""Time and chance, as whatever waits or judges by time is handed them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and chance come from; tests hand in others."""

    wall: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    """Seconds of the event loop."""
    sleep: Callable[[float], Awaitable[None]]
    rng: random.Random


def system_clock() -> Clock:
    """The machine's own time; to be called within the event loop."""
    loop = asyncio.get_running_loop()
    return Clock(time.time, loop.time, asyncio.sleep, random.SystemRandom())
