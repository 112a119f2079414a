"""What the runs of an integration say: the newest, the typical, the failures in a row."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median, pstdev

from cdi_exporter.model import FAILURES, Run, Status

TYPICAL_RUNS = 20
FEWEST_TYPICAL_RUNS = 3


@dataclass(frozen=True, slots=True)
class Known:
    """What the runs of an integration say, as of the newest page read."""

    last: Run | None = None
    last_success: float | None = None
    history_start: float | None = None
    watermark: float | None = None
    consecutive_failures: int = 0
    running: tuple[Run, ...] = ()
    """Runs under way, oldest first."""
    undated_running: int = 0
    typical_interval: float | None = None
    typical_duration: float | None = None
    typical_rows: float | None = None
    duration_spread: float | None = None
    """Standard deviation of the durations' logarithms; None where no duration is typical."""
    recent: tuple[Run, ...] = ()
    """The last finished runs, oldest first."""
    newest_start: float = -math.inf
    """The start of the youngest run known, minus infinity where none is."""


@dataclass(frozen=True, slots=True)
class Older:
    """What the finished runs said that are no longer kept."""

    success: float | None = None
    watermark: float | None = None
    failures: int = 0
    """Failures in a row at the end of what was dropped."""

    def fold(self, run: Run) -> "Older":
        """With a run that is dropped; called oldest first."""
        return replace(self.note(run), failures=self.failures + 1 if run.status in FAILURES else 0)

    def note(self, run: Run) -> "Older":
        """With what a run says that was never kept."""
        succeeded = run.finish if run.status is Status.SUCCESS else None
        return replace(
            self,
            success=latest(self.success, succeeded),
            watermark=latest(self.watermark, run.watermark),
        )


NOTHING_OLDER = Older()


def tell(
    runs: Sequence[Run],
    older: Older,
    *,
    history_start: float | None,
    undated: Run | None,
    undated_running: int,
    keep: int,
) -> Known:
    """What these runs say, with the `older` ones that are no longer kept."""
    finished = sorted((run for run in runs if run.finished), key=lambda run: run.order)
    recent = finished[-keep:]
    typical = recent[-TYPICAL_RUNS:]
    told = [*finished, undated] if undated else finished
    return Known(
        last=told[-1] if told else None,
        last_success=latest(
            older.success, *(run.finish for run in finished if run.status is Status.SUCCESS)
        ),
        history_start=min(
            (start for start in (history_start, *_starts(runs)) if start is not None),
            default=None,
        ),
        watermark=latest(older.watermark, *(run.watermark for run in finished)),
        consecutive_failures=_failures(told, older.failures),
        running=tuple(sorted((run for run in runs if not run.finished), key=lambda run: run.order)),
        undated_running=undated_running,
        typical_interval=_typical_interval(typical),
        typical_duration=_typical(run.duration for run in typical),
        typical_rows=_typical(run.rows_synced for run in typical),
        duration_spread=_spread(run.duration for run in typical),
        recent=tuple(recent),
        newest_start=max(_starts(runs), default=-math.inf),
    )


def latest(*times: float | None) -> float | None:
    """The latest of the times that are known."""
    return max((time for time in times if time is not None), default=None)


def _starts(runs: Iterable[Run]) -> list[float]:
    return [run.start for run in runs if run.start is not None]


def _failures(told: Sequence[Run], older: int) -> int:
    for count, run in enumerate(reversed(told)):
        if run.status not in FAILURES:
            return count
    return len(told) + older


def _typical(values: Iterable[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(median(given)) if len(given) >= FEWEST_TYPICAL_RUNS else None


def _spread(durations: Iterable[float | None]) -> float | None:
    logarithms = [math.log(max(duration, 1.0)) for duration in durations if duration is not None]
    return pstdev(logarithms) if len(logarithms) >= FEWEST_TYPICAL_RUNS else None


def _typical_interval(runs: Sequence[Run]) -> float | None:
    """Median from start to start; the runs must be at least three."""
    starts = sorted(_starts(runs))
    if len(starts) < FEWEST_TYPICAL_RUNS:
        return None
    return round(float(median(later - earlier for earlier, later in pairwise(starts))), 6)
