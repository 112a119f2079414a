"""The clock and the source of random numbers, passed in so that tests control both."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Sources of time and random numbers; tests pass in their own."""

    wall: Callable[[], float]
    """Unix seconds."""
    monotonic: Callable[[], float]
    """Seconds of the event loop."""
    sleep: Callable[[float], Awaitable[None]]
    rng: random.Random


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on three clocks. Named fields, so that they are not mixed up."""

    monotonic: float
    """Seconds of the event loop: for waiting and for durations."""
    wall: float
    """Unix seconds of this machine: for what is shown and stored."""
    server: float
    """Unix seconds of the API's clock: for comparison with times that Braze reports."""


wall_now: Callable[[], float] = time.time
"""Unix seconds of this machine, for what happens before there is an event loop."""


def system_clock() -> Clock:
    """The machine's own clock. Call it within the event loop."""
    loop = asyncio.get_running_loop()
    return Clock(wall_now, loop.time, asyncio.sleep, random.SystemRandom())
