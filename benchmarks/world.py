"""The measured workspace, which changes only when the benchmark changes it."""

import math
import random
import time
from collections.abc import Callable

from cdi_exporter.config import Refresh, WorkspaceConfig, inline_key
from cdi_exporter.config.settings import RateLimits
from cdi_exporter.simulator.showcase import new_id
from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator

KEY = "benchmark-key"
NO_LIMIT = 1_000_000
"""Requests per minute, high enough that the limit never matters."""

STILL = 86_400.0
"""Seconds between refreshes for measurements without a refresh."""

INTERVAL, MEDIAN, SIGMA = 900.0, 120.0, 0.978
"""Seconds from run to run, and the parameters of the log-normal durations of the runs."""

KNOWN_RUNS = 10


class World:
    """A simulated Braze with this many integrations of ten runs each."""

    def __init__(self, number: int, clock: Callable[[], float] = time.time) -> None:
        self._rng, self._clock = random.Random(number), clock
        self.integrations = [self._integration(index) for index in range(number)]
        self._order = [*range(number)]
        self._rng.shuffle(self._order)
        self._next = 0
        self.simulator = Simulator(
            self.integrations, clock, key=KEY, limits={LIST: NO_LIMIT, HISTORY: NO_LIMIT}
        )

    def _integration(self, index: int) -> ScriptedIntegration:
        made = ScriptedIntegration(
            new_id(self._rng),
            f"users-{self._rng.choice(('eu', 'us', 'apac'))}-{index:05d}",
            next_run=self._clock() + STILL,
        )
        phase = self._rng.uniform(INTERVAL, 2 * INTERVAL)
        for number in reversed(range(KNOWN_RUNS)):
            start = self._clock() - phase - number * INTERVAL
            self._run(made, start, start + min(INTERVAL, self._duration()))
        return made

    def _duration(self) -> float:
        return self._rng.lognormvariate(math.log(MEDIAN), SIGMA)

    def _run(self, integration: ScriptedIntegration, start: float, finish: float) -> None:
        rows = self._rng.randrange(100_000)
        lost = rows // 100 if self._rng.random() < 0.1 else 0
        integration.run(
            start,
            finish,
            "partial" if lost else "success",
            rows_synced=rows,
            rows_failed=lost,
            watermark=start - 60,
        )

    def change(self, number: int, runs: int = 1) -> None:
        """Add runs that finish now to the next `number` integrations, spread over all of them."""
        now = self._clock()
        for _ in range(number):
            changed = self.integrations[self._order[self._next % len(self._order)]]
            self._next += 1
            last = (changed.runs[-1].finish or 0) / 1e6
            step = (now - last) / runs
            for index in range(runs):
                begin = last + index * step
                self._run(changed, begin + 0.1 * step, begin + 0.9 * step)

    @property
    def histories_read(self) -> int:
        """The number of history pages requested so far."""
        return len(self.simulator.traffic[HISTORY].times)


def config(endpoint: str, *, min_interval: float) -> WorkspaceConfig:
    """The exporter's configuration of the workspace."""
    refresh = Refresh(
        min_interval=min_interval,
        rate_limit_share=1.0,
        rate_limits=RateLimits(NO_LIMIT, NO_LIMIT),
    )
    return WorkspaceConfig(
        name="production", endpoint=endpoint, key=inline_key(KEY), refresh=refresh
    )
