"""The description of a generated integration; with a seed, it determines all of its runs."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Profile(StrEnum):
    """The behaviour of an integration. "In trouble" means during its episodes."""

    HEALTHY = "healthy"
    PARTIAL = "partial"
    """Three of four runs lose some rows."""
    FAILING = "failing"
    """In trouble, each run ends with `error`."""
    ALWAYS_FAILING = "always_failing"
    MISCONFIGURED = "misconfigured"
    """Each run ends at once with `config_error` and no rows."""
    LATE = "late"
    """In trouble, no run starts."""
    STUCK = "stuck"
    """In trouble, a run stays in progress until the trouble ends."""
    SLOW = "slow"
    """In trouble, runs take five times as long."""
    ZERO_ROWS = "zero_rows"
    """In trouble, runs succeed without any row."""
    UNKNOWN_STATUS = "unknown_status"
    """Every second run ends with an undocumented status."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Trouble of `length` seconds from `first` on, repeated `every` so many seconds."""

    first: float
    length: float
    every: float | None = None

    def end(self, moment: float) -> float | None:
        """When the trouble at this time ends; None if there is none."""
        since = moment - self.first
        if self.every is not None:
            since %= self.every
        return moment - since + self.length if 0 <= since < self.length else None


@dataclass(slots=True)
class IntegrationSpec:
    """One generated integration. Times are Unix seconds, durations seconds.

    With `interval` None there is no schedule: runs start about every `mean_gap` seconds. If
    `overlap` is False, a run waits for the end of the previous one; a scheduled run is skipped if
    the next one is due before that. Without `episode`, trouble comes at random. Rows are log-normal
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
        """Average seconds from one run to the next."""
        return self.mean_gap if self.interval is None else self.interval

    @property
    def longest(self) -> float:
        """Most seconds that a run without trouble takes."""
        return self.duration_median * math.exp(4 * self.duration_sigma)
