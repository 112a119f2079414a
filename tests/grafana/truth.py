"""What the simulated workspace knows of each integration, in the dashboards' terms."""

import itertools
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from cdi_exporter.model import DELIVERIES, FAILURES, Counters, Run, Status
from tests.grafana.world import World
from tests.simulator import ScriptedIntegration

Fact = Callable[["HistorySummary"], float | None]


@dataclass(frozen=True)
class HistorySummary:
    """One integration at a moment."""

    script: ScriptedIntegration
    runs: tuple[Run, ...]
    """Newest start first."""
    counted: Counters
    """Since the exporter saw it first."""
    at: float

    @property
    def finished(self) -> list[Run]:
        """The finished runs, the newest first."""
        return sorted((run for run in self.runs if run.finished), key=lambda run: -run.order)

    @property
    def last(self) -> Run | None:
        """The newest finished run."""
        return next(iter(self.finished), None)

    def of_last(self, fact: Callable[[Run], float | None]) -> float | None:
        """A fact of the newest finished run."""
        return None if self.last is None else fact(self.last)

    @property
    def status(self) -> Status | None:
        """How the newest finished run ended."""
        return None if self.last is None else self.last.status

    @property
    def last_success(self) -> float | None:
        """When a run last succeeded."""
        good = (run.finish for run in self.finished if run.status is Status.SUCCESS)
        return next(good, None)

    @property
    def last_delivery(self) -> float | None:
        """When a run last delivered rows: with success or partial."""
        delivered = (Status.SUCCESS, Status.PARTIAL)
        return next((run.finish for run in self.finished if run.status in delivered), None)

    @property
    def since(self) -> float | None:
        """The last delivery, else the start of the history."""
        return self.last_delivery or min(self._starts, default=None)

    @property
    def stale_after(self) -> float | None:
        """Two intervals and typical durations, if there is a schedule.

        The interval is the greater of the typical one and that of the schedule.
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
        """Age in terms of what it may be."""
        if self.since is None or self.stale_after is None:
            return None
        return (self.at - self.since) / self.stale_after

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
        """The start of the run under way."""
        return next((run.start for run in self.runs if run.status is Status.RUNNING), None)

    @property
    def share_failed(self) -> float | None:
        """Failed rows of the rows of the last run."""
        if self.last is None or not (self.last.rows_synced or self.last.rows_failed):
            return None
        failed, synced = self.last.rows_failed or 0, self.last.rows_synced or 0
        return failed / (failed + synced)

    @property
    def typical_duration(self) -> float | None:
        """The median duration."""
        return self._median([run.duration for run in self.finished])

    @property
    def typical_rows(self) -> float | None:
        """The median of the rows."""
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


def known(world: World, finished: float, at: float) -> dict[str, HistorySummary]:
    """Each integration by its name; counted is what finished at `finished`."""
    truth = world.simulator().truth
    return {
        each.name: HistorySummary(
            each,
            truth.run_states_at(each.id, at),
            truth.totals(each.id, finished - 1, at),
            at,
        )
        for each in world.integrations
    }
