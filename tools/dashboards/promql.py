"""The PromQL of the dashboards. It reads only what the exporter serves: no rules are needed.

Each value is the maximum over the exporter's instances, so that two that read the same workspace
count nothing twice. `$workspace` and `$integration` stand within double quotes: Grafana escapes
them for a regular expression in a PromQL string.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cdi_exporter.problems import REASONS
from tools.dashboards.states import CODES, IDLE_CODE, NO_DATA_CODE, RUNNING_CODE, UNKNOWN_CODE

WORKSPACE = 'workspace=~"$workspace"'
CHOSEN = WORKSPACE + ',integration_name=~"$integration"'
EACH = "workspace, integration_id, integration_name"
SAME = "on (workspace, integration_id)"
"""The same integration, whatever its name."""

LOOKBACK = "5m"
"""For how long the newest value counts: bridges missed scrapes and restarts, as in the alerts."""
RANGE, INTERVAL = "$__range", "$__interval"
SHOWN = 12
"""Lanes in a timeline: more cannot be read at the height that fits on the first screen."""

# The limits of the alerts in prometheus/rules; a test compares who is shown with what fires.
STUCK_FACTOR, STUCK_AT_LEAST, STUCK_UNKNOWN = 3, 3600, 6 * 3600
MISSED_AFTER = 1200
UNCONFIRMED_AFTER = 3600
OLD_AFTER = 900
"""A workspace whose last refresh ended longer ago: scrapes are seconds to two minutes apart."""

CURRENT, LIST_UNREADABLE, OLD, UNREADABLE = 0, 1, 2, 3
REASON_CODES = {reason: code for code, reason in enumerate(REASONS, start=UNREADABLE + 1)}
SILENT = UNREADABLE + len(REASONS) + 1
"""Whether a workspace's data can be trusted, and why not; the highest is no data at all."""


def newest(selected: str, by: str, window: str = LOOKBACK) -> str:
    """The newest value within the window."""
    return f"max by ({by}) (last_over_time({selected}[{window}]))"


def series(name: str, chosen: str = WORKSPACE, **further: str) -> str:
    """The series of a metric of the exporter that match what is chosen, and these labels."""
    matchers = "".join(f',{label}="{value}"' for label, value in further.items())
    return f"braze_cdi_{name}{{{chosen}{matchers}}}"


def workspace(name: str, by: str = "workspace", **further: str) -> str:
    """The newest value per workspace, or by other labels that it has."""
    return newest(series(name, **further), by)


@dataclass(frozen=True)
class Integrations:
    """Conditions on the chosen integrations."""

    over_time: bool = False
    """In a graph values end where the scrapes do, so that outages are seen."""

    def value(self, name: str, **further: str) -> str:
        """The value per integration."""
        found = series(name, CHOSEN, **further)
        return f"max by ({EACH}) ({found})" if self.over_time else newest(found, EACH)

    @property
    def known(self) -> str:
        """1 for each integration."""
        return self.value("integration_info")

    def status(self, status: str) -> str:
        """The last finished run ended so."""
        return f"{self.value('last_sync_status', status=status)} == 1"

    @property
    def confirmed(self) -> str:
        """When Braze last confirmed what is known."""
        return self.value("integration_last_refresh_timestamp_seconds")

    @property
    def delivered(self) -> str:
        """When rows were last delivered, else the start of the history."""
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
        """By how much an integration is late is not said: the value is the age.

        Ages end when Braze last confirmed the data: while it cannot be read nothing becomes late.
        Backfilled data was never confirmed, so its age ends now.
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
        """When the run in progress started; a run that ended is not in progress."""
        return (
            f"({self.value('running_sync_start_timestamp_seconds')}\n"
            f"  and {SAME} {self.value('syncs_running')} > 0)"
        )

    @property
    def stuck(self) -> str:
        """A run has been in progress for much longer than usual."""
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
        """A scheduled run did not start."""
        return f"{self.confirmed} - {self.scheduled} > {MISSED_AFTER}"

    def condition(self, name: str) -> str:
        """The integration is in this state."""
        conditions = {"late": self.late, "stuck": self.stuck, "missed": self.missed}
        return conditions.get(name) or self.status(name)

    def state(self, *first: str) -> str:
        """The code of the most urgent state, or of one of these before all others.

        Nothing before the first finished run.
        """
        names = dict.fromkeys([*first, *sorted(CODES, key=lambda name: -CODES[name])])
        return "\nor\n".join(f"0 * ({self.condition(name)}) + {CODES[name]}" for name in names)


NOW, THEN = Integrations(), Integrations(over_time=True)


def since() -> str:
    """When the current state began: exactly, or at the step after it was last different.

    Nothing if the status is older than the time range.
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
    """The state of the integrations in most trouble, at each step.

    Prometheus sorts series by their labels: the label `_rank` comes before all others, and its
    three digits are lowest for the state that is worst now, then for the worst in the time range.
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
    """The code of no data: without it a state would be drawn on through any outage."""
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
    """By how much a counter rose.

    The instances become one series first, which continues where a pod is replaced.
    """
    merged = f"max by ({by}) ({series(name, CHOSEN)})"
    return f"increase({merged}[{window}:{step}]{offset})"


def limit_left(*, lookback: str = "", **further: str) -> str:
    """The share of the API limit that is left, per workspace and endpoint, as Braze said last.

    Of exporters that share a database only one sends requests: one that led before has old values.
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
    """Failed rows of all rows; nothing if there were no rows."""
    return f"{failed}\n/ ({failed} + {synced} > 0)"


def count(condition: str) -> str:
    """How many integrations fulfil it: 0 if none does, nothing if nothing is known."""
    return f"count({condition}) or 0 * count({NOW.known})"


def column(expression: str) -> str:
    """A column of integrations; a value that is not known sorts below all others, unlike NaN."""
    return or_unknown(expression, NOW.known, "integration_id")


def or_unknown(expression: str, rows: str, key: str) -> str:
    """The values by this label, and the code of what is not known in the other rows."""
    return f"max by ({key}) (\n{expression}\nor 0 * {rows} + {UNKNOWN_CODE}\n)"


def trust() -> str:
    """Whether each workspace's data is current, and if not why; one instance that reads is enough.

    A workspace that was scraped in the time range and is not now is the worst case.
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
