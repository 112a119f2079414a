"""When scrapes come, and so when what is read is shown first.

Prometheus scrapes at even intervals. What is read long before a scrape is old when it is
shown; what is read right after one waits for the next. So the pages of a list that takes more
than a minute's budget are read in bursts, each right before a scrape that is expected. All
times are in seconds of the event loop.
"""

import math
from collections import deque
from itertools import cycle, pairwise

LONGEST_PATTERN = 4
"""Scrapes after which the gaps repeat, at most: so many Prometheus servers may take turns."""

TOLERANCE = 1.0
"""Seconds by which a scrape may come early or late."""

SHORTEST_PERIOD = 2.0

MINUTE = 62.0
"""Seconds for which bursts make a minute's budget last.

A little more than the budget's own window: a burst that used the whole of it late would make
the one a minute after it late, too.
"""

SPARE = 1.0
"""Seconds between the end of a burst and the scrape, beside `SPARE_ANSWERS`."""

SPARE_ANSWERS = 4
"""Answers of the API for which there is time after the last page: the changes that it shows."""


class Rhythm:
    """When the next scrapes are expected, by the gaps between the last ones."""

    def __init__(self) -> None:
        self._scrapes: deque[float] = deque(maxlen=2 * LONGEST_PATTERN + 1)

    def note(self, now: float) -> None:
        """A scrape comes."""
        self._scrapes.append(now)

    def after(self, moment: float) -> float | None:
        """The first scrape that is expected after the moment; None where no gaps repeat."""
        gaps = [later - earlier for earlier, later in pairwise(self._scrapes)]
        for length in range(1, LONGEST_PATTERN + 1):
            repeats = all(
                abs(gap - before) <= TOLERANCE
                for gap, before in zip(gaps[length:], gaps, strict=False)
            )
            if repeats and len(gaps) >= 2 * length:
                return self._repeat(gaps[-length:], moment)
        return None

    def _repeat(self, pattern: list[float], moment: float) -> float | None:
        period = sum(pattern)
        if period < SHORTEST_PERIOD:
            return None
        scrape = self._scrapes[-1]
        scrape += max(0.0, math.floor((moment - scrape) / period) * period)
        gaps = cycle(pattern)
        while scrape <= moment:
            scrape += next(gaps)
        return scrape


class Bursts:
    """When the pages of a long list are to be read."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._scrape = -math.inf
        """Before which the pages of this burst are read."""
        self._begin = -math.inf
        self._left = 0.0
        """Pages of this burst that are not read yet; what is less than one is carried on."""
        self.gap = math.inf
        """Seconds from the scrape before this burst to the one after it."""

        self._paced = False

    @property
    def in_rhythm(self) -> bool:
        """Whether there are bursts: pages are not read at once, and scrapes can be foreseen."""
        return self._paced and math.isfinite(self._scrape)

    def at_once(self) -> None:
        """The next page is read without regard to the scrapes."""
        self._paced = False

    @property
    def over(self) -> bool:
        """Whether the last page of a burst was read."""
        return self._left < 1

    def nearly_over(self, now: float) -> bool:
        """Whether a scrape is so near that what is read now is fresh when it is shown."""
        scrape = self._rhythm.after(now)
        return scrape is not None and scrape - now < self.gap / 4

    def due(self, now: float, slots: int, seconds: float) -> float:
        """When to read the next page; to be asked once for each.

        `slots` are the pages that the budget allows in a minute; a page takes `seconds`.
        Evenly where no scrape can be foreseen. What a scrape overtook waits for the next.
        """
        self._paced = True
        if now >= self._scrape:
            self._left %= 1
        if self.over:
            self._plan(now, slots, seconds)
        if not self.in_rhythm:
            self._begin = max(now, self._begin + MINUTE / slots)
            return self._begin
        self._left -= 1
        return max(now, self._begin)

    def _plan(self, now: float, slots: int, seconds: float) -> None:
        """Plan the next burst."""
        before = max(now, self._scrape)
        while self.over:
            scrape = self._rhythm.after(before + TOLERANCE)
            if scrape is None:
                self._scrape = -math.inf
                return
            self.gap = scrape - before
            self._left += slots * self.gap / MINUTE
            before = self._scrape = scrape
        minutes, rest = divmod(int(self._left) - 1, slots)
        reading = minutes * MINUTE + (rest + 1) * seconds
        self._begin = self._scrape - SPARE - SPARE_ANSWERS * seconds - reading
