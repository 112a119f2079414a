"""How long runs take, as a distribution that tells whether one is likely to have ended."""

import math
from dataclasses import dataclass

LEAST_SPREAD = 0.2

LIKELY = 0.5
"""How likely a run must have ended, for its history to be read before the list tells."""

LEAST_GAIN = 20.0
"""Seconds that such a read must be ahead of the list."""

LEAST_DOUBT = 0.02
"""How likely a run is still under way, at least, whatever its age says."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Log-normal durations, by their median in seconds and the spread of the logarithms."""

    median: float
    spread: float

    def longer_than(self, seconds: float) -> float:
        """The share of runs that take longer."""
        if seconds <= 0:
            return 1.0
        distance = math.log(seconds / max(self.median, 1.0)) / max(self.spread, LEAST_SPREAD)
        return 0.5 * math.erfc(distance / math.sqrt(2))

    def worth_asking(self, age: float, age_before: float, ahead: float) -> float:
        """What it is worth to ask whether a run has ended; 0 where it is nothing.

        It is `age` seconds old, and was under way at `age_before`. The answer is `ahead`
        seconds before the list's own: these, times the odds that the run has ended. A read
        in vain costs one of the budget, one that finds the end saves another later.
        """
        if ahead < LEAST_GAIN:
            return 0.0
        alive = self.longer_than(age_before)
        ended = 1.0 - self.longer_than(age) / alive if alive > 0 else 1.0
        return ahead * ended / (1 - ended + LEAST_DOUBT) if ended >= LIKELY else 0.0
