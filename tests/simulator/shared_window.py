"""A rate limit shared with another tool, per calendar minute or in any 60 seconds."""

from collections import deque
from collections.abc import Callable
from typing import Literal

from cdi_exporter.simulator.simulated_workspace import WINDOW, RateWindow

WindowKind = Literal["fixed", "sliding"]


class SharedWindow(RateWindow):
    """A limit per minute, counted per minute of the clock or in any 60 seconds.

    Rejected requests do not count. `foreign` returns the number of requests by other tools between
    two moments.
    """

    def __init__(
        self, limit: int, kind: WindowKind, foreign: Callable[[float, float], int]
    ) -> None:
        super().__init__(limit)
        self._sliding = kind == "sliding"
        self._foreign = foreign
        self._times: deque[float] = deque()

    def _begin(self, now: float) -> float:
        return now - WINDOW if self._sliding else now // WINDOW * WINDOW

    def remaining(self, now: float) -> int:
        since = self._begin(now)
        while self._times and self._out(self._times[0], since):
            self._times.popleft()
        return max(0, self.limit - len(self._times) - self._foreign(since, now))

    def admit(self, now: float) -> bool:
        if self.remaining(now) < 1:
            return False
        self._times.append(now)
        return True

    def reset(self, now: float) -> float:
        """When the window resets: at its end, or when its oldest request is 60 seconds old."""
        if not self._sliding:
            return self._begin(now) + WINDOW
        return (self._times[0] if self._times else now) + WINDOW

    def _out(self, moment: float, since: float) -> bool:
        return moment <= since if self._sliding else moment < since
