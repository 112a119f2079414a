"""The real state of each simulated integration, in the terms of the dashboards."""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from cdi_exporter.model import DELIVERIES, FAILURES, Counters, Run, Status
from tests.grafana.world import World
from tests.simulator import ScriptedIntegration

Fact = Callable[["Known"], float | None]


@dataclass(frozen=True)
class Known:
    """The state of one integration at a moment."""

    script: ScriptedIntegration
    runs: tuple[Run, ...]
    """All runs, newest start first."""
    counted: Counters
    """When the exporter first saw the integration."""
    at: float

    @property
    def finished(self) -> list[Run]:
        """The finished runs, newest first."""
        return sorted((run for run in self.runs if run.finished), key=lambda run: -run.order)

    @property
    def last(self) -> Run | None:
        """The newest finished run."""
        return next(iter(self.finished), None)

    def of_last(self, fact: Callable[[Run], float | None]) -> float | None:
        """A fact about the newest finished run."""
        return None if self.last is None else fact(self.last)

    @property
    def status(self) -> Status | None:
        """The status of the newest finished run."""
        return None if self.last is None else self.last.status

    @property
    def last_success(self) -> float | None:
        """When a run last succeeded."""
        good = (run.finish for run in self.finished if run.status is Status.SUCCESS)
        return next(good, None)

    @property
    def last_delivery(self) -> float | None:
        """When a run last delivered rows, with the status success or partial."""
        delivered = (Status.SUCCESS, Status.PARTIAL)
        return next((run.finish for run in self.finished if run.status in delivered), None)

    @property
    def since(self) -> float | None:
        """The last delivery, or the start of the history if there is none."""
        return self.last_delivery or min(self._starts, default=None)

    @property
    def stale_after(self) -> float | None:
        """Two intervals plus two typical durations, if there is a schedule.

        The interval is the greater of the typical one and the scheduled one.
        """
        interval, duration = self.typical_interval, self.typical_duration
        if self.script.next_run is None or interval is None or duration is None:
            return None
        scheduled = self.script.next_run - max(self._starts)
        return max(900.0, 2 * max(interval, scheduled) + 2 * duration)

    @property
    def _starts(self) -> list[float]:
        return [run.start for run in self.runs if run.start is not None]

    @property
    def lateness(self) -> float | None:
        """The age relative to the maximum age."""
        if self.since is None or self.stale_after is None:
            return None
        return (self.at - self.since) / self.stale_after

    @property
    def late(self) -> bool:
        """Whether the last delivery is older than the maximum age."""
        return (self.lateness or 0) > 1

    @property
    def missed(self) -> bool:
        """Whether the next run is overdue by more than 20 minutes and no run is in progress."""
        due = self.script.next_run
        started = due is not None and max(self._starts, default=0) >= due - 60
        return due is not None and self.at - due > 1200 and not started and not self.running_since

    @property
    def failures(self) -> int:
        """Failed runs since the last delivery."""
        since = itertools.takewhile(lambda run: run.status not in DELIVERIES, self.finished)
        return sum(run.status in FAILURES for run in since)

    @property
    def watermark(self) -> float | None:
        """The newest row in Braze."""
        return next((run.watermark for run in self.finished if run.watermark is not None), None)

    @property
    def running_since(self) -> float | None:
        """The start of the run in progress."""
        return next((run.start for run in self.runs if run.status is Status.RUNNING), None)

    @property
    def typical_duration(self) -> float | None:
        """The median duration."""
        return self._median([run.duration for run in self.finished])

    @property
    def typical_rows(self) -> float | None:
        """The median number of rows."""
        return self._median([run.rows_synced for run in self.finished])

    @property
    def typical_interval(self) -> float | None:
        """The median time from start to start."""
        starts = sorted(run.start for run in self.finished if run.start is not None)
        gaps = [after - before for before, after in itertools.pairwise(starts)]
        return self._median(gaps) if len(starts) >= 3 else None

    @staticmethod
    def _median(values: list[float | None] | list[int | None] | list[float]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.median(known) if len(known) >= 2 else None


def known(world: World, finished: float, at: float) -> dict[str, Known]:
    """Each integration by its name. Runs that finished at `finished` count."""
    truth = world.simulator().truth
    return {
        each.name: Known(
            each,
            truth.run_states_at(each.id, at),
            truth.totals(each.id, finished - 1, at),
            at,
        )
        for each in world.integrations
    }
