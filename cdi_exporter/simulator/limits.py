"""The rate limit of one endpoint, and the record of what was asked of it."""

import math
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

WindowKind = Literal["fixed", "sliding"]
WINDOW = 60.0
"""Seconds in which `limit` requests are allowed."""


class RateWindow:
    """A limit per minute: counted by the clock's minute, or in any 60 seconds.

    What is rejected does not count. `foreign` is what other tools with the same workspace
    used of the window.
    """

    def __init__(self, limit: int, kind: WindowKind) -> None:
        self.limit = limit
        self._sliding = kind == "sliding"
        self._admitted: deque[float] = deque()

    def since(self, now: float) -> float:
        """When the window that counts now began."""
        return now - WINDOW if self._sliding else now // WINDOW * WINDOW

    def remaining(self, now: float, foreign: int) -> int:
        """The requests that are still allowed."""
        since = self.since(now)
        while self._admitted and self._out(self._admitted[0], since):
            self._admitted.popleft()
        return max(0, self.limit - len(self._admitted) - foreign)

    def admit(self, now: float, foreign: int) -> bool:
        """Whether one more request is allowed; if so, it counts."""
        if self.remaining(now, foreign) < 1:
            return False
        self._admitted.append(now)
        return True

    def reset(self, now: float) -> float:
        """When the window resets: its end, or when its oldest request leaves it."""
        if not self._sliding:
            return self.since(now) + WINDOW
        return (self._admitted[0] if self._admitted else now) + WINDOW

    def _out(self, moment: float, since: float) -> bool:
        return moment <= since if self._sliding else moment < since


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived. `cursor` is None for a first page."""

    time: float
    status: int
    """What was answered; 0 where no answer was given."""
    integration_id: str | None
    cursor: str | None


@dataclass(slots=True)
class Traffic:
    """All that was asked of one endpoint, rejected requests included."""

    times: "array[float]" = field(default_factory=lambda: array("d"))
    """When each request arrived, in Unix seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    recent: deque[Request] = field(default_factory=lambda: deque(maxlen=1000))

    def note(self, request: Request) -> None:
        """Write a request down."""
        self.times.append(request.time)
        self.statuses[request.status] += 1
        self.recent.append(request)

    def busiest(
        self, seconds: float = WINDOW, since: float = -math.inf, until: float = math.inf
    ) -> int:
        """The most requests that arrived within any span of so many seconds."""
        times = [time for time in self.times if since <= time < until]
        most, first = 0, 0
        for last, time in enumerate(times):
            while times[first] <= time - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


def whole_seconds(seconds: float) -> int:
    """Seconds as headers have them, never too few."""
    return math.ceil(seconds)
