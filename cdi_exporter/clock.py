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


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on each clock, so that no two of them are mixed up."""

    monotonic: float
    """Seconds of the event loop: for waiting, and for how long something took."""
    wall: float
    """Unix seconds of this machine: for what is shown and what is kept."""
    server: float
    """Unix seconds of the API's clock: for comparison with times that Braze reports."""


wall_now: Callable[[], float] = time.time
"""Unix seconds of this machine, for what happens before there is an event loop."""


def system_clock() -> Clock:
    """The machine's own time; to be called within the event loop."""
    loop = asyncio.get_running_loop()
    return Clock(wall_now, loop.time, asyncio.sleep, random.SystemRandom())
