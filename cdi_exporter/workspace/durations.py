"""How long runs take, as a distribution that tells whether one is likely to have ended."""

import math
from dataclasses import dataclass

LEAST_SPREAD = 0.2


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
