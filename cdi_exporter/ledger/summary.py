"""The summary of an integration's runs: the newest, typical values, failures in a row."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from statistics import median

from cdi_exporter.model import DELIVERIES, FAILURES, Count, Run, Status, Time

TYPICAL_RUNS = 20
"""Newest finished runs from which typical values are medians: two pages of a history."""

FEWEST_TYPICAL_RUNS = 3
"""With fewer there is no typical value: the median of two runs is as good as none."""


@dataclass(frozen=True, slots=True)
class HistorySummary:
    """The summary of an integration's runs, as of the newest page read."""

    last: Run | None = None
    last_success: float | None = None
    last_delivery: float | None = None
    """When the newest run with status success or partial finished."""
    history_start: float | None = None
    watermark: float | None = None
    """That of the newest finished run that has one, even if an older run had a later one."""
    consecutive_failures: int = 0
    """Failed runs since the last delivery; an unknown status changes nothing."""
    running: tuple[Run, ...] = ()
    """Runs in progress, oldest first."""
    undated_running: int = 0
    typical_interval: float | None = None
    typical_duration: float | None = None
    typical_rows: float | None = None
    recent: tuple[Run, ...] = ()
    """The last finished runs, oldest first."""
    newest_start: float = -math.inf
    """The newest start of any known run; minus infinity if there is none."""


@dataclass(frozen=True, slots=True)
class Older:
    """The summary of finished runs that are no longer kept."""

    success: Time | None = None
    watermark: Time | None = None
    failures: Count = 0
    """Failures in a row at the end of these runs."""
    delivery: Time | None = None
    watermark_order: Time | None = None
    """`Run.order` of the run with the watermark."""

    def fold(self, runs: Sequence[Run]) -> "Older":
        """The summary including runs that are dropped, oldest first."""
        failures = self.failures
        for run in runs:
            if run.status in FAILURES:
                failures += 1
            elif run.status in DELIVERIES:
                failures = 0
        return replace(self.note(runs), failures=failures)

    def note(self, runs: Sequence[Run]) -> "Older":
        """The summary including runs that were never kept."""
        success, delivery = self.success, self.delivery
        watermark, order = self.watermark, self.watermark_order
        for run in runs:
            if run.finish is not None and run.status is Status.SUCCESS:
                success = run.finish if success is None else max(success, run.finish)
            if run.finish is not None and run.status in DELIVERIES:
                delivery = run.finish if delivery is None else max(delivery, run.finish)
            if run.watermark is not None and (order is None or run.order >= order):
                watermark, order = run.watermark, run.order
        return replace(
            self,
            success=success,
            delivery=delivery,
            watermark=watermark,
            watermark_order=order,
        )


NOTHING_OLDER = Older()


def summarise(
    runs: Sequence[Run],
    older: Older,
    *,
    history_start: float | None,
    undated: Run | None,
    undated_running: int,
    keep: int,
) -> HistorySummary:
    """The summary of these runs, with the `older` ones that are no longer kept."""
    finished = sorted((run for run in runs if run.finished), key=_order)
    recent = finished[-keep:]
    typical = recent[-TYPICAL_RUNS:]
    ended = [*finished, undated] if undated else finished
    starts = [run.start for run in runs if run.start is not None]
    return HistorySummary(
        last=ended[-1] if ended else None,
        last_success=_newest_finish(finished, {Status.SUCCESS}, older.success),
        last_delivery=_newest_finish(finished, DELIVERIES, older.delivery),
        history_start=min(
            (start for start in (history_start, *starts) if start is not None),
            default=None,
        ),
        watermark=_watermark(finished, older),
        consecutive_failures=_failures(ended, older.failures),
        running=tuple(sorted((run for run in runs if not run.finished), key=_order)),
        undated_running=undated_running,
        typical_interval=_typical_interval(typical),
        typical_duration=_typical(run.duration for run in typical),
        typical_rows=_typical(run.rows_synced for run in typical),
        recent=tuple(recent),
        newest_start=max(starts, default=-math.inf),
    )


_order = attrgetter("order")


def _newest_finish(
    finished: Sequence[Run], statuses: Collection[Status], older: float | None
) -> float | None:
    """When the newest run with one of the statuses finished."""
    times = (run.finish for run in reversed(finished) if run.status in statuses)
    found = next((time for time in times if time is not None), None)
    return max((time for time in (found, older) if time is not None), default=None)


def _watermark(finished: Sequence[Run], older: Older) -> float | None:
    """The watermark of the newest run that has one."""
    newest = next((run for run in reversed(finished) if run.watermark is not None), None)
    if newest is None:
        return older.watermark
    order = older.watermark_order
    return newest.watermark if order is None or order <= newest.order else older.watermark


def _failures(runs: Sequence[Run], older: int) -> int:
    """Failed runs since the last delivery, `older` being those before all of these."""
    count = 0
    for run in reversed(runs):
        if run.status in DELIVERIES:
            return count
        count += run.status in FAILURES
    return count + older


def _typical(values: Iterable[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(median(given)) if len(given) >= FEWEST_TYPICAL_RUNS else None


def _typical_interval(runs: Sequence[Run]) -> float | None:
    """Median from start to start; the runs must be at least three."""
    starts = sorted(run.start for run in runs if run.start is not None)
    if len(starts) < FEWEST_TYPICAL_RUNS:
        return None
    return round(float(median(later - earlier for earlier, later in pairwise(starts))), 6)
