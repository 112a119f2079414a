"""The description of a generated integration; with a seed, it determines all of its runs."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """How an integration behaves. In trouble: during its episodes, see `IntegrationSpec`."""

    HEALTHY = "healthy"
    PARTIAL = "partial"
    """Three of four runs lose some rows."""
    FAILING = "failing"
    """In trouble, each run ends with `error`."""
    ALWAYS_FAILING = "always_failing"
    MISCONFIGURED = "misconfigured"
    """Each run ends at once with `config_error` and no rows."""
    LATE = "late"
    """In trouble, the schedule is missed."""
    HANGING = "hanging"
    """In trouble, a run stays under way until the trouble ends."""
    SLOW = "slow"
    """In trouble, runs take five times as long."""
    ZERO_ROWS = "zero_rows"
    """In trouble, runs succeed without any row."""
    UNKNOWN_STATUS = "unknown_status"
    """Every other run ends with a status that nobody documents."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Trouble of `length` seconds from `first` on, and again `every` so many seconds."""

    first: float
    length: float
    every: float | None = None

    def end(self, moment: float) -> float | None:
        """When the trouble at this moment ends; None if there is none."""
        since = moment - self.first
        if self.every is not None:
            since %= self.every
        return moment - since + self.length if 0 <= since < self.length else None


@dataclass(slots=True)
class IntegrationSpec:
    """One generated integration. Times are Unix seconds, durations seconds.

    `interval` None means event-driven: runs come about every `mean_gap` seconds, at any
    moment, and there is no next scheduled run. If `overlap` is False, a run waits for the end
    of the previous one, and a schedule is skipped if the next one comes before that.
    Without `episode` the trouble of a profile comes and goes at random. Rows are log-normal
    with a daily rhythm.
    """

    id: str
    name: str
    type: str = "users_track"
    warehouse: str = "snowflake"
    status: str = "active"
    interval: float | None = 900.0
    mean_gap: float = 900.0
    phase: float = 0.0
    duration_median: float = 120.0
    duration_sigma: float = 0.5
    rows_median: float = 5_000.0
    rows_sigma: float = 0.4
    profile: Profile = Profile.HEALTHY
    episode: Episode | None = None
    overlap: bool = False

    @property
    def pace(self) -> float:
        """Seconds from one run to the next, on average."""
        return self.mean_gap if self.interval is None else self.interval

    @property
    def longest(self) -> float:
        """The longest that a run without trouble takes."""
        return self.duration_median * math.exp(4 * self.duration_sigma)
