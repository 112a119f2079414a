"""What is shown of the workspaces at one moment: values only, made by `workspace`.

The exposition and the pages read these and nothing else. Objects are immutable and are
replaced when they change, so `is` tells whether a part must be rendered again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdi_exporter.model import Counters, Run

NOTHING_COUNTED = Counters()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one integration, less what every pass confirms anew.

    Times are Unix seconds, durations seconds. None means that the API did not say.
    """

    id: str
    name: str
    type: str | None = None
    status: str | None = None
    warehouse: str | None = None
    last: Run | None = None
    """The newest finished run."""
    last_success: float | None = None
    last_delivery: float | None = None
    """Finish of the newest run with status success or partial."""
    history_start: float | None = None
    watermark: float | None = None
    consecutive_failures: int | None = None
    running: int | None = None
    running_since: float | None = None
    next_scheduled: float | None = None
    typical_interval: float | None = None
    typical_duration: float | None = None
    typical_rows: float | None = None
    stale_after: float | None = None
    schedule_lost: float | None = None
    """Since when an integration that had a schedule within the last 7 days has none."""
    running_job_status: str | None = None
    """Braze's own word for the oldest run in progress if its status is unknown."""
    counters: Counters | None = NOTHING_COUNTED
    """None while it is not known what other exporters have shown."""
    recent: tuple[Run, ...] = ()
    """The last finished runs known, oldest first."""


@dataclass(frozen=True, slots=True)
class IntegrationSnapshot:
    """One integration: its facts, and how far they can be trusted."""

    facts: Facts
    refreshed: float | None = None
    """When a history read, or a list item without a change, last confirmed the facts."""
    up: bool | None = None
    """False when its own request failed last; None before any was made."""
    problem: str | None = None
    """Why, in words."""


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """The traffic with one endpoint of the API, as counted since the start."""

    endpoint: str
    requests: Mapping[str, int] = field(default_factory=dict)
    """Requests by `code`."""
    duration_buckets: tuple[tuple[float, int], ...] = ()
    """Cumulative counts by upper bound in seconds, the last one infinity."""
    duration_sum: float = 0.0
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    budget_wait: float = 0.0
    invalid_items: int = 0


@dataclass(frozen=True, slots=True)
class WorkspaceSnapshot:
    """One workspace at one moment."""

    name: str
    integrations: tuple[IntegrationSnapshot, ...] = ()
    up: bool | None = None
    """Whether the last pass got through; None before the first one ended."""
    error: str | None = None
    """One of `errors.REASONS` while the last pass failed."""
    problem: str | None = None
    """The same in words, with what to do about it."""
    list_readable: bool | None = None
    """Whether the list of integrations can be read; None if it need not be, or was not tried."""
    last_refresh: float | None = None
    """When the last complete pass ended."""
    refresh_duration: float | None = None
    pending_reads: int = 0
    endpoints: tuple[EndpointSnapshot, ...] = ()
    role: str | None = None
    """What this exporter does for it: a value of `state.Role`; None if it shares no state."""
