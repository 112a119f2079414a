"""What is shown of the workspaces at one moment: values only, made by `workspace`.

The exposition and the pages read only these. Objects are immutable and are replaced when they
change, so comparing with `is` shows whether a part must be rendered again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdi_exporter.model import Counters, Run

NOTHING_COUNTED = Counters()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one integration, except for what every refresh updates.

    Times are Unix seconds, durations are seconds. None: the API did not give it.
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
    """When an integration lost its schedule, if it had one within the last 7 days."""
    running_job_status: str | None = None
    """Braze's status text of the oldest run in progress, if the status is unknown."""
    counters: Counters | None = NOTHING_COUNTED
    """None until it is known which values other exporters have shown."""
    recent: tuple[Run, ...] = ()
    """The last finished runs known, oldest first."""


@dataclass(frozen=True, slots=True)
class IntegrationSnapshot:
    """One integration: its facts, and how fresh they are."""

    facts: Facts
    refreshed: float | None = None
    """When a history read, or a list item without a change, last confirmed the facts."""
    up: bool | None = None
    """False if its last request failed; None before the first request."""
    problem: str | None = None
    """Why it failed, as text."""


@dataclass(frozen=True, slots=True)
class EndpointSnapshot:
    """Requests to one endpoint of the API, counted since the start."""

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
    """Whether the last refresh succeeded; None before the first one ended."""
    error: str | None = None
    """One of `errors.REASONS` if the last refresh failed."""
    problem: str | None = None
    """The error as text, with what to do about it."""
    list_readable: bool | None = None
    """Whether the list of integrations can be read; None if it is not needed or was not tried."""
    last_refresh: float | None = None
    """When the last complete refresh ended."""
    refresh_duration: float | None = None
    pending_reads: int = 0
    endpoints: tuple[EndpointSnapshot, ...] = ()
    role: str | None = None
    """This exporter's `state.Role` for the workspace; None if it shares no state."""
