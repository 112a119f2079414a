"""Table of all metrics: name, type, unit, labels and help.

The exposition and the reference page `docs/metrics.md` are generated from it, in its order.
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
        """The unit for OpenMetrics, which is the end of the name; empty if there is none."""
        return "seconds" if self.name.removesuffix("_total").endswith("_seconds") else ""


def _gauge(name: str, text: str, labels: tuple[str, ...] = INTEGRATION) -> Metric:
    return Metric(f"braze_cdi_{name}", "gauge", text, labels)


def _counter(name: str, text: str, labels: tuple[str, ...] = INTEGRATION) -> Metric:
    return Metric(f"braze_cdi_{name}_total", "counter", text, labels)


def _own(name: str, text: str, labels: tuple[str, ...] = ()) -> Metric:
    """A metric of the exporter itself."""
    kind: MetricType = "counter" if name.endswith("_total") else "gauge"
    return Metric(f"cdi_exporter_{name}", kind, text, labels)


LAST_SYNC_STATUS = _gauge(
    "last_sync_status",
    "Status of the last finished sync run: 1 for the current status, 0 for the others.",
    (*INTEGRATION, "status"),
)
LAST_SYNC_ROWS_SYNCED = _gauge(
    "last_sync_rows_synced", "Rows that the last finished sync run wrote to Braze."
)
LAST_SYNC_ROWS_FAILED = _gauge(
    "last_sync_rows_failed", "Rows that failed with errors in the last finished sync run."
)
LAST_SYNC_DURATION = _gauge(
    "last_sync_duration_seconds", "Duration of the last finished sync run, from start to finish."
)
LAST_SYNC_START = _gauge(
    "last_sync_start_timestamp_seconds",
    "Unix timestamp of the start of the last finished sync run.",
)
LAST_SYNC_FINISH = _gauge(
    "last_sync_finish_timestamp_seconds", "Unix timestamp of the end of the last finished sync run."
)
LAST_SUCCESS = _gauge(
    "last_success_timestamp_seconds",
    "Unix timestamp of the end of the last sync run with status success.",
)
LAST_DELIVERY = _gauge(
    "last_delivery_timestamp_seconds",
    "Unix timestamp of the end of the last sync run with status success or partial, which "
    "delivered rows to Braze.",
)
HISTORY_START = _gauge(
    "history_start_timestamp_seconds",
    "Unix timestamp of the start of the oldest known sync run, from which the age of an "
    "integration without any delivery is measured.",
)
WATERMARK = _gauge(
    "watermark_timestamp_seconds",
    "Unix timestamp of the newest synced row: last_timestamp_synced of the newest finished run "
    "that has one.",
)
CONSECUTIVE_FAILURES = _gauge(
    "consecutive_failures",
    "Consecutive failed sync runs (error or config_error), counted back from the newest to the "
    "last success or partial. Unknown statuses neither count nor reset the count.",
)
SYNCS_RUNNING = _gauge("syncs_running", "Sync runs in progress.")
RUNNING_SYNC_START = _gauge(
    "running_sync_start_timestamp_seconds",
    "Unix timestamp of the start of the oldest sync run in progress.",
)
NEXT_SCHEDULED_SYNC = _gauge(
    "next_scheduled_sync_timestamp_seconds", "Unix timestamp of the next scheduled sync run."
)
SYNCS = _counter(
    "syncs",
    "Finished sync runs since the integration was first seen, by status.",
    (*INTEGRATION, "status"),
)
ROWS_SYNCED = _counter("rows_synced", "Rows that finished sync runs wrote to Braze.")
ROWS_FAILED = _counter("rows_failed", "Rows that failed with errors in finished sync runs.")
SYNC_DURATION = Metric(
    "braze_cdi_sync_duration_seconds",
    "summary",
    "Duration of finished sync runs, from start to finish.",
    INTEGRATION,
)
TYPICAL_INTERVAL = _gauge(
    "typical_sync_interval_seconds",
    "Median time between the starts of consecutive sync runs, over the last 20 known finished "
    "runs (at least 3).",
)
TYPICAL_DURATION = _gauge(
    "typical_sync_duration_seconds",
    "Median duration of the last 20 known finished sync runs (at least 3).",
)
TYPICAL_ROWS = _gauge(
    "typical_sync_rows",
    "Median number of rows synced by the last 20 known finished sync runs (at least 3).",
)
STALE_AFTER = _gauge(
    "stale_after_seconds",
    "Age of the last delivery (success or partial) at which the integration is late: the "
    "configured stale_after, else two intervals plus two typical durations, at least 15 minutes. "
    "The interval is the greater of the typical interval and the interval in Braze's schedule.",
)
SCHEDULE_LOST = _gauge(
    "schedule_lost_timestamp_seconds",
    "Unix timestamp at which an integration lost its schedule. Absent if it has one, or had none "
    "in the last 7 days.",
)
HISTORY_GAPS = _counter(
    "history_gaps",
    "Gaps in which sync runs may not have been counted: the history ended or was cut before it "
    "reached known runs, or a known run vanished or was given up after 7 days.",
)
INTEGRATION_LAST_REFRESH = _gauge(
    "integration_last_refresh_timestamp_seconds",
    "Unix timestamp at which the integration's data was last confirmed, by a history read or an "
    "unchanged list item.",
)
INTEGRATION_UP = _gauge(
    "integration_up",
    "Whether the last history read of this integration succeeded: 0 if it failed, else 1.",
)
INTEGRATION_INFO = _gauge(
    "integration_info",
    "Type, status and warehouse of the integration as reported by Braze; always 1.",
    (*INTEGRATION, "integration_type", "integration_status", "warehouse_type"),
)

UP = _gauge(
    "up",
    "Whether the workspace can be read: 1 if the last refresh succeeded, else 0. Also 0 while the "
    "key may not read histories, and while Braze rejects every configured integration. Waiting for "
    "the request budget is not a failure.",
    WORKSPACE,
)
REFRESH_ERROR = _gauge(
    "refresh_error",
    "Reason why braze_cdi_up is 0: a failed refresh, denied histories, or rejected integrations. 1 "
    "for the current reason, 0 for the others.",
    (*WORKSPACE, "reason"),
)
LIST_READABLE = _gauge(
    "list_readable",
    "Whether the list of integrations can be read: 0 while it cannot, so that new integrations are "
    "not discovered. Absent if integrations are configured by ID and the key may not read the "
    "list.",
    WORKSPACE,
)
INTEGRATIONS = _gauge("integrations", "Number of known integrations.", WORKSPACE)
LAST_REFRESH = _gauge(
    "last_refresh_timestamp_seconds",
    "Unix timestamp of the end of the last complete refresh.",
    WORKSPACE,
)
HISTORY_READS_PENDING = _gauge(
    "history_reads_pending",
    "Queued history reads, excluding periodic re-checks.",
    WORKSPACE,
)
REFRESH_DURATION = _gauge(
    "refresh_duration_seconds",
    "Duration of the last complete refresh, including the time spent waiting for the request "
    "budget.",
    WORKSPACE,
)
API_REQUESTS = _counter(
    "api_requests",
    "Requests to the Braze API, by HTTP status or by timeout, connect_error or invalid_response.",
    (*ENDPOINT, "code"),
)
API_REQUEST_DURATION = Metric(
    "braze_cdi_api_request_duration_seconds",
    "histogram",
    "Duration of requests to the Braze API, from connecting to the last byte.",
    ENDPOINT,
)
API_RATE_LIMIT = _gauge(
    "api_rate_limit", "Last X-RateLimit-Limit value returned by Braze.", ENDPOINT
)
API_RATE_LIMIT_REMAINING = _gauge(
    "api_rate_limit_remaining", "Last X-RateLimit-Remaining value returned by Braze.", ENDPOINT
)
API_RATE_LIMIT_RESET = _gauge(
    "api_rate_limit_reset_timestamp_seconds",
    "Last X-RateLimit-Reset value returned by Braze, a Unix timestamp of Braze's clock.",
    ENDPOINT,
)
API_BUDGET_WAIT = _counter(
    "api_budget_wait_seconds",
    "Time that requests spent waiting for the request budget.",
    ENDPOINT,
)
API_INVALID_ITEMS = _counter(
    "api_invalid_items",
    "Items in Braze's answers that could not be read completely, such as an item with an invalid "
    "time.",
    ENDPOINT,
)

BUILD_INFO = _own(
    "build_info",
    "Version of the exporter and of Python; always 1.",
    ("version", "python_version"),
)
CONFIG_RELOAD_SUCCESSFUL = _own(
    "config_last_reload_successful",
    "Whether the last attempt to load the configuration succeeded.",
)
CONFIG_RELOAD_TIME = _own(
    "config_last_reload_success_timestamp_seconds",
    "Unix timestamp of the last successful load of the configuration.",
)
WEB_CONFIG_RELOAD_SUCCESSFUL = _own(
    "web_config_last_reload_successful",
    "Whether the newest --web.config.file and its certificates are in use: 0 if a change was "
    "rejected and the previous version stays in use. Absent without such a file.",
)
WEB_CONFIG_RELOAD_TIME = _own(
    "web_config_last_reload_success_timestamp_seconds",
    "Unix timestamp of the last successful load of --web.config.file. Absent without such a file.",
)
STATE_WRITES_FAILED = _own(
    "state_writes_failed_total",
    "Failed writes to the state file or the database of --state.url.",
)
DATABASE_UP = _own(
    "database_up",
    "Whether this exporter reaches the database of --state.url. Absent without it.",
)
LOG_LINES_DROPPED = _own(
    "log_lines_dropped_total",
    "Log lines that were dropped because they could not be written to stderr.",
)
FILE_RELOAD_SUCCESSFUL = _own(
    "file_reload_successful",
    "Whether the newest version of a file named in the configuration is in use: 0 while it cannot "
    "be used and the last good version stays in use.",
    ("workspace", "kind"),
)
LEADER = _own(
    "leader",
    "Whether this exporter leads the workspace: only the leader sends requests to Braze. Absent "
    "without --state.url.",
    WORKSPACE,
)

CATALOG = tuple(each for each in [*globals().values()] if isinstance(each, Metric))
"""All metrics in the order of their definition, which is the order of the exposition."""

OWN = tuple(each for each in CATALOG if each.name.startswith("cdi_exporter_"))
PER_INTEGRATION = tuple(each for each in CATALOG if each.labels[:3] == INTEGRATION)
PER_WORKSPACE = tuple(each for each in CATALOG if each not in (*OWN, *PER_INTEGRATION))
