"""What users change: addresses, job name, limits. `make generated` writes the rules anew.

Durations with a letter (`5m`) are windows of PromQL, plain numbers are seconds. How long a
condition must hold (`for`) stands with each alert.
"""

from dataclasses import dataclass, field

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def _means(text: str) -> dict[str, str]:
    """What stands beside the value on the page of all alerts."""
    return {"means": text}


@dataclass(frozen=True)
class Thresholds:
    """The limits of the alerts, each with its default and what it means."""

    grafana_url: str = field(
        default="https://grafana.example.com",
        metadata=_means("where Grafana is; begins each `dashboard_url`"),
    )
    runbook_url: str = field(
        default="https://runbooks.example.com/cdi-exporter",
        metadata=_means("where the pages of `docs/runbooks/` are; begins each `runbook_url`"),
    )
    job: str = field(
        default="braze-cdi", metadata=_means("the `job_name` of the exporter in Prometheus")
    )
    lookback: str = field(
        default="5m",
        metadata=_means(
            "for how long the newest value counts; bridges missed scrapes and restarts"
        ),
    )
    api_window: str = field(
        default="10m", metadata=_means("ApiUnreachable: no refresh of the workspace within this")
    )
    failures_in_a_row: float = field(
        default=2, metadata=_means("SyncFailing: failed runs one after the other")
    )
    rare_after: float = field(
        default=HOUR,
        metadata=_means(
            "SyncFailed: a failed run whose next attempt is further away than this is a ticket at "
            "once"
        ),
    )
    failed_share: float = field(
        default=0.05, metadata=_means("RowsFailing: share of the rows of a run, or of an hour")
    )
    failed_rows_at_least: float = field(
        default=10, metadata=_means("RowsFailing: rows below which no share counts")
    )
    failed_rows: float = field(
        default=10_000, metadata=_means("RowsFailing: rows that count whatever their share")
    )
    missed_after: float = field(
        default=20 * MINUTE,
        metadata=_means("ScheduledSyncMissed: a run that has not started so long after its time"),
    )
    stuck_factor: float = field(
        default=3, metadata=_means("SyncStuck: so many times the typical duration")
    )
    stuck_at_least: float = field(
        default=HOUR, metadata=_means("SyncStuck: no run is stuck before this")
    )
    stuck_unknown: float = field(
        default=6 * HOUR, metadata=_means("SyncStuck: where no typical duration is known")
    )
    slow_factor: float = field(
        default=3, metadata=_means("SyncSlow: so many times the typical duration")
    )
    slow_at_least: float = field(
        default=10 * MINUTE, metadata=_means("SyncSlow: no run is slow below this")
    )
    rows_factor: float = field(
        default=10,
        metadata=_means("SyncRowsUnusual: so many times more or fewer rows than is typical"),
    )
    rows_at_least: float = field(
        default=100, metadata=_means("SyncRowsUnusual: typical rows below which nothing is unusual")
    )
    source_factor: float = field(
        default=2,
        metadata=_means("SourceDataStale: so many times the age at which the integration is late"),
    )
    source_at_least: float = field(
        default=2 * DAY, metadata=_means("SourceDataStale: no source is stale before this")
    )
    watermark_ahead: float = field(
        default=HOUR,
        metadata=_means("WatermarkInFuture: how far a watermark may be ahead of Prometheus' clock"),
    )
    schedule_lost_for: float = field(
        default=3 * DAY,
        metadata=_means(
            "ScheduleLost: how long the loss of a schedule is reported; long enough for a weekend, "
            "and shorter than Alertmanager's `repeat_interval` for it"
        ),
    )
    unrefreshed_after: float = field(
        default=HOUR,
        metadata=_means(
            "DataNotRefreshed: an integration that was not confirmed for this long; "
            "ApiUnreachable: a workspace of which no refresh has ended for this long"
        ),
    )
    unwatched_within: str = field(
        default="6h",
        metadata=_means(
            "WorkspaceUnwatched: for how long a workspace is missed that nobody reads any more"
        ),
    )
    failed_writes: float = field(
        default=3,
        metadata=_means(
            "StateWritesFailing: failed writes within 15 minutes; a single one is made up for "
            "by the next"
        ),
    )
    rate_limit_share: float = field(
        default=0.1, metadata=_means("RateLimitNearlySpent: share of the limit that is left")
    )
