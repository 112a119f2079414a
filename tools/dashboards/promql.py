"""The PromQL of the dashboards, which uses only the exporter's metrics and needs no rules.

Each value is the maximum over the exporter's instances, so that two instances for the same
workspace are not counted twice. `$workspace` and `$integration` are within double quotes: Grafana
escapes them for a regular expression in a PromQL string.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cdi_exporter.problems import REASONS
from tools.dashboards.states import CODES, IDLE_CODE, NO_DATA_CODE, RUNNING_CODE, UNKNOWN_CODE

WORKSPACE = 'workspace=~"$workspace"'
CHOSEN = WORKSPACE + ',integration_name=~"$integration"'
EACH = "workspace, integration_id, integration_name"
SAME = "on (workspace, integration_id)"
"""The same integration, whatever its name is."""

LOOKBACK = "5m"
"""How long the newest value counts. It bridges missed scrapes and restarts, as in the alerts."""
RANGE, INTERVAL = "$__range", "$__interval"
SHOWN = 12
"""The number of lanes in a timeline. More would be illegible at the height of the first screen."""

# The thresholds of the alerts in prometheus/rules. A test compares the states with the alerts.
STUCK_FACTOR, STUCK_AT_LEAST, STUCK_UNKNOWN = 3, 3600, 6 * 3600
MISSED_AFTER = 1200
UNCONFIRMED_AFTER = 3600
OLD_AFTER = 900
"""Seconds since the last refresh after which a workspace's data is old.

Scrapes are between seconds and two minutes apart.
"""

CURRENT, LIST_UNREADABLE, OLD, UNREADABLE = 0, 1, 2, 3
REASON_CODES = {reason: code for code, reason in enumerate(REASONS, start=UNREADABLE + 1)}
SILENT = UNREADABLE + len(REASONS) + 1
"""Codes for whether a workspace's data is current, or why not. The highest is no data at all."""


def newest(selected: str, by: str, window: str = LOOKBACK) -> str:
    """The newest value within the window."""
    return f"max by ({by}) (last_over_time({selected}[{window}]))"


def series(name: str, chosen: str = WORKSPACE, **further: str) -> str:
    """The series of one of the exporter's metrics that match the selection and these labels."""
    matchers = "".join(f',{label}="{value}"' for label, value in further.items())
    return f"braze_cdi_{name}{{{chosen}{matchers}}}"


def workspace(name: str, by: str = "workspace", **further: str) -> str:
    """The newest value per workspace, or per combination of other labels."""
    return newest(series(name, **further), by)


@dataclass(frozen=True)
class Integrations:
    """Conditions on the selected integrations."""

    over_time: bool = False
    """In a graph, values end with the scrapes, so that outages are visible."""

    def value(self, name: str, **further: str) -> str:
        """The value per integration."""
        found = series(name, CHOSEN, **further)
        return f"max by ({EACH}) ({found})" if self.over_time else newest(found, EACH)

    @property
    def known(self) -> str:
        """1 for each integration."""
        return self.value("integration_info")

    def status(self, status: str) -> str:
        """Integrations whose last finished run has this status."""
        return f"{self.value('last_sync_status', status=status)} == 1"

    @property
    def confirmed(self) -> str:
        """When Braze last confirmed the data."""
        return self.value("integration_last_refresh_timestamp_seconds")

    @property
    def delivered(self) -> str:
        """When rows were last delivered, or the start of the history if never."""
        return (
            f"({self.value('last_delivery_timestamp_seconds')}\n"
            f"  or {self.value('history_start_timestamp_seconds')})"
        )

    @property
    def limit(self) -> str:
        """The age of the last delivery at which an integration is late."""
        return self.value("stale_after_seconds")

    @property
    def late(self) -> str:
        """The age of the last delivery of each late integration.

        Ages stop when Braze last confirmed the data, so that nothing becomes late while it cannot
        be read. Backfilled data was never confirmed, so its age ends now.
        """
        down = f"max by (workspace) (max_over_time({series('up')}[10m])) == 0"
        return (
            f"(({self.confirmed}\n"
            f"  or (0 * {self.limit} + time() unless on (workspace) {down}))\n"
            f"  - {self.delivered}\n"
            f") > {self.limit}"
        )

    @property
    def running(self) -> str:
        """When the run in progress started. A finished run is not in progress."""
        return (
            f"({self.value('running_sync_start_timestamp_seconds')}\n"
            f"  and {SAME} {self.value('syncs_running')} > 0)"
        )

    @property
    def stuck(self) -> str:
        """Integrations with a run that has been in progress for much longer than usual."""
        typical = self.value("typical_sync_duration_seconds")
        return (
            f"({self.confirmed} - {self.running}\n"
            f") > (clamp_min({STUCK_FACTOR} * {typical}, {STUCK_AT_LEAST})\n"
            f"  or 0 * {self.running} + {STUCK_UNKNOWN})"
        )

    @property
    def scheduled(self) -> str:
        """When the next run is scheduled, unless it has started or the schedule cannot be read."""
        start = self.value("next_scheduled_sync_timestamp_seconds")
        started = f"{self.value('last_sync_start_timestamp_seconds')} >= {start} - 60"
        unreadable = f"max by (workspace) ({series('list_readable')}) == 0"
        return (
            f"({start}\n"
            f"  unless {SAME} {self.value('syncs_running')} > 0\n"
            f"  unless {SAME} ({started})\n"
            f"  unless on (workspace) {unreadable})"
        )

    @property
    def missed(self) -> str:
        """Integrations whose scheduled run did not start."""
        return f"{self.confirmed} - {self.scheduled} > {MISSED_AFTER}"

    def condition(self, name: str) -> str:
        """The integrations in this state."""
        conditions = {"late": self.late, "stuck": self.stuck, "missed": self.missed}
        return conditions.get(name) or self.status(name)

    def state(self, *first: str) -> str:
        """The code of the most urgent state, or of one of these states before all others.

        There is no value before the first finished run.
        """
        names = dict.fromkeys([*first, *sorted(CODES, key=lambda name: -CODES[name])])
        return "\nor\n".join(f"0 * ({self.condition(name)}) + {CODES[name]}" for name in names)


NOW, THEN = Integrations(), Integrations(over_time=True)


def since() -> str:
    """When the current state started: exactly, or the step after the last different state.

    There is no value if the state is older than the time range.
    """
    statuses = f"{EACH}, status"
    status = series("last_sync_status", CHOSEN)
    different = f"time() + (max by ({statuses}) ({status}) == 0)"
    changed = (
        f"max by ({EACH}) (\n"
        f"  max_over_time(({different})[{RANGE}:{INTERVAL}])\n"
        f"  and {newest(status, statuses)} == 1\n"
        ")"
    )
    return (
        f"(({NOW.delivered} + {NOW.limit} and {NOW.late})\n"
        f"  or ({NOW.running} and {NOW.stuck})\n"
        f"  or ({NOW.scheduled} and {NOW.missed})\n"
        f") unless {SAME} {NOW.status('config_error')}\n"
        f"or {changed}"
    )


def lanes() -> str:
    """The state of the integrations with the most urgent problems, at each step.

    Prometheus sorts series by their labels. The label `_rank` precedes all others, and its three
    digits are lowest for the worst current state, then for the worst state in the time range.
    """
    states = f"(\n{THEN.state()}\n)"
    trouble = (
        f"100 * last_over_time({states}[1h:1m] @ end())\n"
        f"+ 10 * max_over_time({states}[{RANGE}:{INTERVAL}] @ end())"
    )
    return (
        f"({states}\nor {no_data()}\n)\n* on ({EACH}) group_left (_rank)\n"
        f'count_values by ({EACH}) ("_rank", 999 - topk({SHOWN},\n{trouble}\n))'
    )


def no_data() -> str:
    """The code for no data. Without it, a state would be drawn through any outage."""
    info = f"last_over_time({series('integration_info', CHOSEN)}[{RANGE}] @ end())"
    return f"{NO_DATA_CODE} * max by ({EACH}) ({info})"


def run_lane() -> str:
    """Whether a run is in progress, at each step."""
    running = f"({THEN.value('syncs_running')} > bool 0)"
    return f"{IDLE_CODE} - {IDLE_CODE - RUNNING_CODE} * {running}\nor {no_data()}"


def rise(
    name: str,
    window: str = RANGE,
    *,
    step: str = INTERVAL,
    by: str = EACH,
    offset: str = "",
) -> str:
    """The increase of a counter.

    The instances are merged first, into a series that continues when a pod is replaced.
    """
    merged = f"max by ({by}) ({series(name, CHOSEN)})"
    return f"increase({merged}[{window}:{step}]{offset})"


def limit_left(*, lookback: str = "", **further: str) -> str:
    """The remaining share of the API limit per workspace and endpoint, as last returned by Braze.

    Of exporters that share a database, only one sends requests. A former leader has old values.
    """
    by = "workspace, endpoint"

    def read(name: str) -> str:
        found = series(f"api_rate_limit{name}", **further)
        return f"last_over_time({found}[{lookback}])" if lookback else found

    reset = read("_reset_timestamp_seconds")
    older = f"{reset} < on ({by}) group_left () max by ({by}) ({reset})"
    remaining = f"max by ({by}) ({read('_remaining')}\n  unless {older})"
    return f"{remaining} / (max by ({by}) ({read('')}) > 0)"


def share(failed: str, synced: str) -> str:
    """The share of failed rows in all rows. There is no value without rows."""
    return f"{failed}\n/ ({failed} + {synced} > 0)"


def count(condition: str) -> str:
    """The number of integrations that match: 0 if none does, no value if nothing is known."""
    return f"count({condition}) or 0 * count({NOW.known})"


def column(expression: str) -> str:
    """A column of integrations. Unknown values sort below all others, unlike NaN."""
    return or_unknown(expression, NOW.known, "integration_id")


def or_unknown(expression: str, rows: str, key: str) -> str:
    """The values by this label, and the code for unknown values in the other rows."""
    return f"max by ({key}) (\n{expression}\nor 0 * {rows} + {UNKNOWN_CODE}\n)"


def trust() -> str:
    """Whether each workspace's data is current, and if not, why. One instance that reads is enough.

    The worst case is a workspace that was scraped in the time range but is not scraped now.
    """
    up, now = workspace("up"), f"max by (workspace) ({series('up')})"
    seen = newest(series("up"), "workspace", RANGE)
    answers: Sequence[tuple[str, int]] = (
        (f"{seen} unless {now}", SILENT),
        *(
            (
                f"{workspace('refresh_error', reason=reason)} == 1 and {up} == 0",
                code,
            )
            for reason, code in REASON_CODES.items()
        ),
        (f"{up} == 0", UNREADABLE),
        (f"time() - {workspace('last_refresh_timestamp_seconds')} > {OLD_AFTER}", OLD),
        (f"{workspace('list_readable')} == 0", LIST_UNREADABLE),
        (up, CURRENT),
    )
    return "\nor\n".join(f"0 * ({condition}) + {code}" for condition, code in answers)
