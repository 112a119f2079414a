"""The runs of a generated integration, for any range of time.

Time is divided into slots of one interval (or one mean gap), and slots are grouped into blocks. All
runs of a block are drawn at once from (seed, integration, block), so the history at any time needs
only one or two blocks. Run k starts within slot k, so runs are in the order of their starts. A run
that must not overlap its successor ends within its block, so blocks do not depend on each other.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from operator import attrgetter

from cdi_exporter.simulator.simulated_run import SECOND, SimulatedRun, micros
from cdi_exporter.simulator.spec import IntegrationSpec, Profile

BLOCK = 32
"""Slots in a block."""
BLOCKS_KEPT = 4
"""Blocks that an integration remembers: most requests need only the newest ones."""
SLOWNESS = 5
"""Factor of the duration of a run of a slow integration in trouble."""
UNDOCUMENTED_STATUS = "throttled"

_start = attrgetter("start")


class GeneratedIntegration:
    """An integration of the workspace. Times are microseconds, except in its spec."""

    def __init__(self, spec: IntegrationSpec, seed: int) -> None:
        self.spec = spec

        def draw(number: int) -> list[SimulatedRun]:
            return _BlockDraw(spec, seed, number).runs()

        self._block = lru_cache(BLOCKS_KEPT)(draw)
        # Skipping a block on the way to an old page needs only its size.
        self._count = lru_cache(maxsize=None)(lambda number: len(self._block(number)))

    def name_at(self, moment: float) -> str:
        """The name at this moment, in Unix seconds."""
        return self.spec.name

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        """Runs that start after `since` and no later than `until`, newest start first."""
        number = self._slot(until) // BLOCK
        end = bisect_right(self._block(number), until, key=_start)
        while True:
            if skip >= end:
                skip -= end
            else:
                for run in self._block(number)[end - 1 - skip :: -1]:
                    if run.start <= since:
                        return
                    yield run
                skip = 0
            if self._slot_start(number * BLOCK) * SECOND <= since:
                return
            number -= 1
            end = self._count(number)

    def next_scheduled(self, moment: int) -> int | None:
        """The scheduled start of the next run; None without a schedule.

        If a run is late, the scheduled time stays in the past.
        """
        if self.spec.interval is None:
            return None
        slot = self._slot(moment)
        if self.spec.profile is Profile.LATE:
            since = moment - micros(2 * BLOCK * self.spec.pace)
            last = next(self.history(moment, since), None)
            slot = slot if last is None else self._slot(last.start)
        return micros(self._slot_start(slot + 1))

    def _slot(self, moment: int) -> int:
        # Half a microsecond, so that a rounded time falls into its own slot.
        return math.floor((moment / SECOND - self.spec.phase + 5e-7) / self.spec.pace)

    def _slot_start(self, slot: int) -> float:
        return self.spec.phase + slot * self.spec.pace


class _BlockDraw:
    """Draws the runs of one block, each block with its own random generator."""

    def __init__(self, spec: IntegrationSpec, seed: int, number: int) -> None:
        self._spec = spec
        self._random = random.Random(f"{seed}/{spec.id}/{number}")  # noqa: S311 - a simulation
        self._first = number * BLOCK
        self._end = spec.phase + (self._first + BLOCK) * spec.pace
        first = self._random.randrange(BLOCK // 2)
        length = self._random.randint(BLOCK // 8, BLOCK // 2)
        troubled = self._random.random() < 0.5
        self._troubled_slots = range(first, first + length) if troubled else range(0)

    def runs(self) -> list[SimulatedRun]:
        """The runs, in the order of their starts."""
        found = []
        free = -math.inf
        for index in range(BLOCK):
            run = self._run(index, free)
            if run is not None:
                found.append(run)
                if not self._spec.overlap and run.finish is not None:
                    free = run.finish / SECOND
        return found

    def _run(self, index: int, free: float) -> SimulatedRun | None:
        spec, draw = self._spec, self._random.random
        slot = spec.phase + (self._first + index) * spec.pace
        delay = draw() * (spec.pace * 0.98 if spec.interval is None else min(2, spec.pace / 20))
        start = max(slot + delay, free + min(0.5, spec.pace / 100))
        trouble_end = self._trouble_end(slot, index)
        if start >= slot + spec.pace * 0.99 or self._missed(slot, trouble_end):
            return None
        finish = start + self._duration(start, trouble_end)
        if not spec.overlap and not self._is_stuck(trouble_end):
            finish = min(finish, max(start, self._end - 0.001))
        status, synced, failed = self._outcome(index, start, trouble_end is not None)
        read = status in ("success", "partial")
        watermark = micros(start - draw() * min(60, spec.pace)) if read else None
        return SimulatedRun(micros(start), micros(finish), status, synced, failed, watermark)

    def _trouble_end(self, slot: float, index: int) -> float | None:
        """When the trouble of this slot ends; None if it has none."""
        if self._spec.episode is not None:
            return self._spec.episode.end(slot)
        if index not in self._troubled_slots:
            return None
        return self._spec.phase + (self._first + self._troubled_slots.stop) * self._spec.pace

    def _missed(self, slot: float, trouble_end: float | None) -> bool:
        spec = self._spec
        if trouble_end is None or spec.overlap or spec.episode is None:
            return trouble_end is not None and spec.profile is Profile.LATE
        # A stuck run of an earlier block is not visible here, but its trouble is.
        stuck = self._is_stuck(trouble_end) and spec.episode.end(slot - spec.pace) == trouble_end
        return stuck or spec.profile is Profile.LATE

    def _is_stuck(self, trouble_end: float | None) -> bool:
        return trouble_end is not None and self._spec.profile is Profile.STUCK

    def _duration(self, start: float, trouble_end: float | None) -> float:
        spec = self._spec
        drawn = spec.duration_median * math.exp(spec.duration_sigma * self._random.gauss())
        duration = min(drawn, spec.longest)
        if spec.profile is Profile.MISCONFIGURED:
            return duration / 20
        if trouble_end is not None and spec.profile is Profile.SLOW:
            return duration * SLOWNESS
        if trouble_end is not None and spec.profile is Profile.STUCK:
            return max(trouble_end - start, spec.pace / 1000)
        return duration

    def _outcome(self, index: int, start: float, troubled: bool) -> tuple[str, int, int]:
        """Status, rows synced, rows failed."""
        spec, draw = self._spec, self._random.random
        drawn = spec.rows_median * math.exp(spec.rows_sigma * self._random.gauss())
        rows = math.ceil(drawn * _rhythm(start))
        failing = spec.profile is Profile.FAILING and troubled
        if spec.profile is Profile.MISCONFIGURED:
            return "config_error", 0, 0
        if failing or spec.profile is Profile.ALWAYS_FAILING:
            return "error", 0, rows
        if spec.profile is Profile.ZERO_ROWS and troubled:
            return "success", 0, 0
        if spec.profile is Profile.PARTIAL and index % 4:
            failed = max(1, int(rows * 0.2 * draw()))
            return "partial", rows - failed, failed
        if spec.profile is Profile.UNKNOWN_STATUS and index % 2:
            return UNDOCUMENTED_STATUS, rows, 0
        return "success", rows, 0


def _rhythm(moment: float) -> float:
    """The factor of rows at a time of day: greatest at 14:00 UTC, a quarter of that at 02:00."""
    return 1 + 0.6 * math.cos(2 * math.pi * (moment / 86_400 - 14 / 24))
