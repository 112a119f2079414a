"""Every metric once: name, type, unit, labels, help.

The exposition and the reference page `docs/metrics.md` are made from this table, in its
order. It holds no value and no logic.
"""

from dataclasses import dataclass
from typing import Literal

MetricType = Literal["gauge", "counter", "summary", "histogram"]

WORKSPACE = ("workspace",)
ENDPOINT = ("workspace", "endpoint")
INTEGRATION = ("workspace", "integration_id", "integration_name")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family; a counter's name ends in `_total`."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The unit as OpenMetrics wants it: the end of the family's name, or empty."""
        return "seconds" if self.name.removesuffix("_total").endswith("_seconds") else ""


def _gauge(name: str, text: str, labels: tuple[str, ...] = INTEGRATION) -> Metric:
    return Metric(f"braze_cdi_{name}", "gauge", text, labels)


def _counter(name: str, text: str, labels: tuple[str, ...] = INTEGRATION) -> Metric:
    return Metric(f"braze_cdi_{name}_total", "counter", text, labels)


_REFRESHED = "As of the last refresh of this integration."

LAST_SYNC_STATUS = _gauge(
    "last_sync_status",
    "1 for the status of the newest finished sync run, 0 for the others. " + _REFRESHED,
    (*INTEGRATION, "status"),
)
LAST_SYNC_ROWS_SYNCED = _gauge(
    "last_sync_rows_synced",
    "Rows that the newest finished sync run wrote to Braze. " + _REFRESHED,
)
LAST_SYNC_ROWS_FAILED = _gauge(
    "last_sync_rows_failed",
    "Rows that the newest finished sync run could not write because of errors. " + _REFRESHED,
)
LAST_SYNC_DURATION = _gauge(
    "last_sync_duration_seconds",
    "How long the newest finished sync run took, from its start to its finish. " + _REFRESHED,
)
LAST_SYNC_START = _gauge(
    "last_sync_start_timestamp_seconds",
    "When the newest finished sync run started, in Unix time. " + _REFRESHED,
)
LAST_SYNC_FINISH = _gauge(
    "last_sync_finish_timestamp_seconds",
    "When the newest finished sync run finished, in Unix time. " + _REFRESHED,
)
LAST_SUCCESS = _gauge(
    "last_success_timestamp_seconds",
    "When the newest sync run with status success finished, in Unix time. " + _REFRESHED,
)
LAST_DELIVERY = _gauge(
    "last_delivery_timestamp_seconds",
    "Unix timestamp of the finish of the newest sync run with status success or partial: rows "
    "arrived in Braze.",
)
HISTORY_START = _gauge(
    "history_start_timestamp_seconds",
    "Unix timestamp of the start of the oldest known sync run: the age of an integration without "
    "any delivery is measured from here.",
)
WATERMARK = _gauge(
    "watermark_timestamp_seconds",
    "Unix timestamp of the newest row in Braze: last_timestamp_synced of the newest finished run "
    "that has one.",
)
CONSECUTIVE_FAILURES = _gauge(
    "consecutive_failures",
    "Finished sync runs with status error or config_error since the last success or partial. "
    "Unknown statuses neither count nor reset the count.",
)
SYNCS_RUNNING = _gauge("syncs_running", "Sync runs under way. " + _REFRESHED)
RUNNING_SYNC_START = _gauge(
    "running_sync_start_timestamp_seconds",
    "When the oldest sync run under way started, in Unix time. " + _REFRESHED,
)
NEXT_SCHEDULED_SYNC = _gauge(
    "next_scheduled_sync_timestamp_seconds",
    "When the next sync run is scheduled, in Unix time. " + _REFRESHED,
)
SYNCS = _counter(
    "syncs",
    "Sync runs that finished since the integration was first seen, by status. " + _REFRESHED,
    (*INTEGRATION, "status"),
)
ROWS_SYNCED = _counter("rows_synced", "Rows that finished sync runs wrote to Braze. " + _REFRESHED)
ROWS_FAILED = _counter(
    "rows_failed", "Rows that finished sync runs could not write because of errors. " + _REFRESHED
)
SYNC_DURATION = Metric(
    "braze_cdi_sync_duration_seconds",
    "summary",
    "Durations of finished sync runs, from start to finish. " + _REFRESHED,
    INTEGRATION,
)
TYPICAL_INTERVAL = _gauge(
    "typical_sync_interval_seconds",
    "Median time from the start of a sync run to the start of the next, over the last 20 finished "
    "runs known (at least 3). " + _REFRESHED,
)
TYPICAL_DURATION = _gauge(
    "typical_sync_duration_seconds",
    "Median duration of the last 20 finished sync runs known (at least 3). " + _REFRESHED,
)
TYPICAL_ROWS = _gauge(
    "typical_sync_rows",
    "Median of the rows synced by the last 20 finished sync runs known (at least 3). " + _REFRESHED,
)
STALE_AFTER = _gauge(
    "stale_after_seconds",
    "Age of the last delivery (success or partial) at which this integration is late: configured, "
    "else two intervals plus two typical durations, at least 15 minutes. The interval is the "
    "greater of the typical interval and the interval in Braze's schedule.",
)
SCHEDULE_LOST = _gauge(
    "schedule_lost_timestamp_seconds",
    "Unix timestamp since when an integration that had a schedule within the last 7 days has none.",
)
HISTORY_GAPS = _counter(
    "history_gaps",
    "Times that sync runs may have gone uncounted, because the history ended or was cut before "
    "known runs were met. " + _REFRESHED,
)
INTEGRATION_LAST_REFRESH = _gauge(
    "integration_last_refresh_timestamp_seconds",
    "When a history read, or a list item without a change, last confirmed this integration's data, "
    "in Unix time.",
)
INTEGRATION_UP = _gauge(
    "integration_up", "0 when the last request for this integration's own history failed, else 1."
)
INTEGRATION_INFO = _gauge(
    "integration_info",
    "Always 1; the labels tell what Braze says of the integration. " + _REFRESHED,
    (*INTEGRATION, "integration_type", "integration_status", "warehouse_type"),
)

UP = _gauge(
    "up",
    "1 if the last refresh succeeded, 0 if it failed, while the key may read no history, and while "
    "every configured integration is refused. A refresh that waits for the budget has not failed.",
    WORKSPACE,
)
REFRESH_ERROR = _gauge(
    "refresh_error",
    "1 for the reason for which the last refresh failed, else 0.",
    (*WORKSPACE, "reason"),
)
LIST_READABLE = _gauge(
    "list_readable",
    "0 while the list of integrations cannot be read, so that new integrations are not discovered, "
    "else 1. Absent if integrations are configured by ID and the key may not read the list.",
    WORKSPACE,
)
INTEGRATIONS = _gauge("integrations", "Integrations known.", WORKSPACE)
LAST_REFRESH = _gauge(
    "last_refresh_timestamp_seconds",
    "When the last complete pass over the workspace ended, in Unix time.",
    WORKSPACE,
)
HISTORY_READS_PENDING = _gauge(
    "history_reads_pending",
    "History reads that wait in the queue: changes and catching up, not audits.",
    WORKSPACE,
)
REFRESH_DURATION = _gauge(
    "refresh_duration_seconds",
    "How long the last complete pass over the workspace took, waiting for the budget included.",
    WORKSPACE,
)
API_REQUESTS = _counter(
    "api_requests",
    "Requests to the Braze API, by HTTP status, or timeout, connect_error, invalid_response.",
    (*ENDPOINT, "code"),
)
API_REQUEST_DURATION = Metric(
    "braze_cdi_api_request_duration_seconds",
    "histogram",
    "How long requests to the Braze API took, from the connection to the last byte.",
    ENDPOINT,
)
API_RATE_LIMIT = _gauge("api_rate_limit", "X-RateLimit-Limit as the Braze API last said.", ENDPOINT)
API_RATE_LIMIT_REMAINING = _gauge(
    "api_rate_limit_remaining", "X-RateLimit-Remaining as the Braze API last said.", ENDPOINT
)
API_RATE_LIMIT_RESET = _gauge(
    "api_rate_limit_reset_timestamp_seconds",
    "X-RateLimit-Reset as the Braze API last said, in Unix time of the API's clock.",
    ENDPOINT,
)
API_BUDGET_WAIT = _counter(
    "api_budget_wait_seconds", "Time that requests waited for the request budget.", ENDPOINT
)
API_INVALID_ITEMS = _counter(
    "api_invalid_items",
    "Items in answers of the Braze API that could not be read, in whole or in part, such as an "
    "item with a time that cannot be read.",
    ENDPOINT,
)

BUILD_INFO = Metric(
    "cdi_exporter_build_info",
    "gauge",
    "Always 1; the labels tell the exporter's version and the Python that runs it.",
    ("version", "python_version"),
)
CONFIG_RELOAD_SUCCESSFUL = Metric(
    "cdi_exporter_config_last_reload_successful",
    "gauge",
    "1 when the last attempt to load the configuration succeeded, 0 when it failed.",
    (),
)
CONFIG_RELOAD_TIME = Metric(
    "cdi_exporter_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration was last loaded successfully, in Unix time.",
    (),
)
WEB_CONFIG_RELOAD_SUCCESSFUL = Metric(
    "cdi_exporter_web_config_last_reload_successful",
    "gauge",
    "1 when --web.config.file and the certificates that it names could be used as they were read "
    "last, 0 when a change was rejected and what was in force before stays. Only with such a file.",
    (),
)
WEB_CONFIG_RELOAD_TIME = Metric(
    "cdi_exporter_web_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When --web.config.file was last loaded successfully, in Unix time. Only with such a file.",
    (),
)
STATE_WRITES_FAILED = Metric(
    "cdi_exporter_state_writes_failed_total",
    "counter",
    "Writes to the state file that failed.",
    (),
)

LOG_LINES_DROPPED = Metric(
    "cdi_exporter_log_lines_dropped_total",
    "counter",
    "Log lines that could not be written to stderr and were dropped.",
    (),
)
FILE_RELOAD_SUCCESSFUL = Metric(
    "cdi_exporter_file_reload_successful",
    "gauge",
    "1 if the newest version of a file that the configuration names is in use, 0 while it cannot "
    "be used and the last good version stays in use.",
    ("workspace", "kind"),
)

PER_INTEGRATION = (
    LAST_SYNC_STATUS,
    LAST_SYNC_ROWS_SYNCED,
    LAST_SYNC_ROWS_FAILED,
    LAST_SYNC_DURATION,
    LAST_SYNC_START,
    LAST_SYNC_FINISH,
    LAST_SUCCESS,
    LAST_DELIVERY,
    HISTORY_START,
    WATERMARK,
    CONSECUTIVE_FAILURES,
    SYNCS_RUNNING,
    RUNNING_SYNC_START,
    NEXT_SCHEDULED_SYNC,
    SYNCS,
    ROWS_SYNCED,
    ROWS_FAILED,
    SYNC_DURATION,
    TYPICAL_INTERVAL,
    TYPICAL_DURATION,
    TYPICAL_ROWS,
    STALE_AFTER,
    SCHEDULE_LOST,
    HISTORY_GAPS,
    INTEGRATION_LAST_REFRESH,
    INTEGRATION_UP,
    INTEGRATION_INFO,
)
PER_WORKSPACE = (
    UP,
    REFRESH_ERROR,
    LIST_READABLE,
    INTEGRATIONS,
    LAST_REFRESH,
    HISTORY_READS_PENDING,
    REFRESH_DURATION,
    API_REQUESTS,
    API_REQUEST_DURATION,
    API_RATE_LIMIT,
    API_RATE_LIMIT_REMAINING,
    API_RATE_LIMIT_RESET,
    API_BUDGET_WAIT,
    API_INVALID_ITEMS,
)
OWN = (
    BUILD_INFO,
    CONFIG_RELOAD_SUCCESSFUL,
    CONFIG_RELOAD_TIME,
    WEB_CONFIG_RELOAD_SUCCESSFUL,
    WEB_CONFIG_RELOAD_TIME,
    STATE_WRITES_FAILED,
    LOG_LINES_DROPPED,
    FILE_RELOAD_SUCCESSFUL,
)
CATALOG = (*PER_INTEGRATION, *PER_WORKSPACE, *OWN)
