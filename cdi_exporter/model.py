"""The vocabulary: statuses, runs and integrations, as values.

Times are Unix seconds, durations seconds, rows are counts. A fact that the API did
not give is None, never 0. The field names follow Braze's reference pages
"List job sync status" and "List integrations".
"""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What Braze says of a run (`job_status`), compared without regard to case."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"
    ERROR = "error"
    CONFIG_ERROR = "config_error"
    UNKNOWN = "unknown"
    """A value that Braze added since this was written."""


FINISHED_STATUSES = (
    Status.SUCCESS,
    Status.PARTIAL,
    Status.ERROR,
    Status.CONFIG_ERROR,
    Status.UNKNOWN,
)
"""The values of the label `status`, in the order in which they are shown."""

FAILURES = frozenset({Status.ERROR, Status.CONFIG_ERROR})


@dataclass(frozen=True, slots=True)
class Run:
    """One sync run as one row of the history describes it."""

    status: Status
    start: float | None = None
    finish: float | None = None
    watermark: float | None = None
    """`last_timestamp_synced`: the newest UPDATED_AT that the run processed."""
    rows_synced: int | None = None
    rows_failed: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the run is over; an unknown status is over once it has a finish."""
        if self.status is Status.UNKNOWN:
            return self.finish is not None
        return self.status is not Status.RUNNING

    @property
    def identity(self) -> tuple[str, float]:
        """What tells this run from others: its start, or its finish where that is all.

        Raises ValueError for a row without any time.
        """
        if self.start is not None:
            return ("start", self.start)
        if self.finish is not None:
            return ("finish", self.finish)
        msg = "a row without any time has no identity"
        raise ValueError(msg)

    @property
    def order(self) -> float:
        """Where the run stands among others: its finish, else its start."""
        if self.finish is not None:
            return self.finish
        return self.start if self.start is not None else 0.0

    @property
    def duration(self) -> float | None:
        """Seconds from start to finish; None where either is missing or they contradict."""
        if self.start is None or self.finish is None or self.finish < self.start:
            return None
        return round(self.finish - self.start, 6)


@dataclass(frozen=True, slots=True)
class Integration:
    """One item of the list of integrations."""

    id: str
    name: str | None = None
    type: str | None = None
    status: str | None = None
    warehouse: str | None = None
    last_updated: float | None = None
    last_job_start: float | None = None
    last_job_status: Status | None = None
    next_scheduled_run: float | None = None
    schedule_unreadable: bool = False
    """Whether the list gave a next scheduled run that is not a time."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What was counted of an integration since it was first seen."""

    success: int = 0
    partial: int = 0
    error: int = 0
    config_error: int = 0
    unknown: int = 0
    rows_synced: int = 0
    rows_failed: int = 0
    duration_sum: float = 0.0
    duration_count: int = 0
    gaps: int = 0

    def syncs(self, status: Status) -> int:
        """The finished runs of one status."""
        return int(getattr(self, status.value))

    @property
    def total(self) -> int:
        """The finished runs of all statuses."""
        return sum(self.syncs(status) for status in FINISHED_STATUSES)
