"""Statuses, runs and integrations, and pages of them, as values.

Times are Unix seconds, durations are seconds, rows are counts. A value that the API did not
give is None, never 0. The field names follow Braze's reference pages
"List job sync status" and "List integrations".
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""The last second that `datetime` can represent."""


@dataclass(frozen=True, slots=True)
class Within:
    """The bounds of a number that is read back from the state file."""

    least: float
    most: float


Time = Annotated[float, Within(0, LATEST)]
"""Unix seconds; the bounds hold for what is read back from the state file."""

Count = Annotated[int, Within(0, 2**100)]
"""A number of things. Rows of many runs may exceed 2**53, up to which a double counts exactly; no
sum of rows comes near 2**100, which a double can still hold."""


class Status(StrEnum):
    """The status of a run (`job_status`); case is ignored."""

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

DELIVERIES = frozenset({Status.SUCCESS, Status.PARTIAL})
"""Statuses of runs whose rows arrived in Braze. They end a series of failures."""


CLOCK_TOLERANCE = 300.0
"""Seconds by which a watermark may be ahead: the clocks of warehouse, Braze and host differ."""


def in_future(watermark: float | None, now: float) -> bool:
    """Whether a watermark is in the future: Braze then syncs no row that is older."""
    return watermark is not None and watermark > now + CLOCK_TOLERANCE


@dataclass(frozen=True, slots=True)
class Run:
    """One sync run as one row of the history describes it."""

    status: Status
    start: Time | None = None
    finish: Time | None = None
    watermark: Time | None = None
    """`last_timestamp_synced`: the newest UPDATED_AT that the run processed."""
    rows_synced: Count | None = None
    rows_failed: Count | None = None
    job_status: str | None = None
    """Braze's text for an unknown status, to be shown to people; None for a known status."""

    @property
    def finished(self) -> bool:
        """Whether the run is over; an unknown status is over once it has a finish."""
        if self.status is Status.UNKNOWN:
            return self.finish is not None
        return self.status is not Status.RUNNING

    @property
    def identity(self) -> tuple[str, float]:
        """What distinguishes this run from others: its start or, without one, its finish.

        Raises ValueError if it has neither.
        """
        if self.start is not None:
            return ("start", self.start)
        if self.finish is not None:
            return ("finish", self.finish)
        msg = "a row without any time has no identity"
        raise ValueError(msg)

    @property
    def order(self) -> float:
        """The run's position in time: its finish, else its start."""
        if self.finish is not None:
            return self.finish
        return self.start if self.start is not None else 0.0

    @property
    def duration(self) -> float | None:
        """Seconds from start to finish; None if either is missing or the finish comes first."""
        if self.start is None or self.finish is None or self.finish < self.start:
            return None
        return round(self.finish - self.start, 6)

    @property
    def failed_ratio(self) -> float | None:
        """The failed part of the rows, 0 to 1; None if there are no rows or they are not known."""
        if self.rows_failed is None or self.rows_synced is None:
            return None
        rows = self.rows_failed + self.rows_synced
        return self.rows_failed / rows if rows else None


@dataclass(frozen=True, slots=True)
class Integration:
    """One item of the list of integrations."""

    id: str
    name: str | None = None
    type: str | None = None
    status: str | None = None
    warehouse: str | None = None
    last_updated: Time | None = None
    last_job_start: Time | None = None
    last_job_status: Status | None = None
    next_scheduled_run: Time | None = None
    last_job_word: str | None = None
    """Braze's text for an unknown `last_job_status`; None for a known status."""
    schedule_unreadable: bool = False
    """Whether `next_scheduled_run` was given but cannot be parsed: there is a schedule."""

    @property
    def scheduled(self) -> bool:
        """Whether the integration has a schedule."""
        return self.next_scheduled_run is not None or self.schedule_unreadable


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of an integration since it was first seen."""

    success: Count = 0
    partial: Count = 0
    error: Count = 0
    config_error: Count = 0
    unknown: Count = 0
    rows_synced: Count = 0
    rows_failed: Count = 0
    duration_sum: Annotated[float, Within(0, 2**100)] = 0.0
    duration_count: Count = 0
    gaps: Count = 0

    def syncs(self, status: Status) -> int:
        """The finished runs of one status."""
        return int(getattr(self, status.value))

    @property
    def total(self) -> int:
        """The finished runs of all statuses."""
        return sum(self.syncs(status) for status in FINISHED_STATUSES)


@dataclass(frozen=True, slots=True)
class IntegrationsPage:
    """One page of the list of integrations."""

    integrations: tuple[Integration, ...]
    invalid: int = 0
    """Items that could not be parsed, in whole or in part."""
    damaged: int = 0
    """Invalid items that were kept, because only a time could not be parsed."""
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of an integration's history, in the order in which it was given."""

    runs: tuple[Run, ...]
    undated: Run | None = None
    """The newest row, if it is a finished run without any time: it has no identity."""
    undated_running: int = 0
    """Runs under way without any time."""
    invalid: int = 0
    """Rows that could not be parsed, in whole or in part, or have no time."""
    damaged: int = 0
    """Invalid rows that were kept, because only a time could not be parsed."""
    unidentified: int = 0
    """Rows that may be any run, because their times cannot be parsed."""
    next_cursor: str | None = None


class Endpoint(StrEnum):
    """The endpoints of the API, by the value of the label `endpoint`."""

    INTEGRATIONS = "integrations"
    HISTORY = "job_sync_status"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and its result; never its body or the key."""

    at: float
    """Unix seconds of its end."""
    endpoint: str
    integration_id: str | None
    code: str
    seconds: float
