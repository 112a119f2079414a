"""PromQL of the dashboards: what is chosen in the variables, and what the alerts mean by it.

A gauge is the maximum over the exporter's instances, a counter's increase likewise: two that
read the same workspace count nothing twice. Plain `$workspace` and `$integration` are right
within double quotes: Grafana escapes them for a regular expression in a PromQL string.
"""

from collections.abc import Sequence
from dataclasses import replace

from cdi_exporter import catalog
from cdi_exporter.catalog import INTEGRATION, Metric
from cdi_exporter.errors import REASONS
from cdi_exporter.model import Status
from tools.dashboards.rules import (
    PRESENCE,
    Conditions,
    Thresholds,
    both,
    bracketed,
    by,
    indented,
    newest,
    selector,
)
from tools.dashboards.statuses import CODES, FINISHED, IDLE_CODE, NO_DATA_CODE

WORKSPACE = 'workspace=~"$workspace"'
CHOSEN = WORKSPACE + ',integration_name=~"$integration"'
RANGE = "$__range"
RATE_INTERVAL = "$__rate_interval"
LIMITS = Thresholds()
LOOKBACK = LIMITS.lookback
AN_HOUR = "1h"
WEEK_AGO = "offset 1w"
SHOWN = 20
"""Integrations in a timeline: more lines than these nobody can read."""

READABLE, LIST_UNREADABLE, UNREADABLE = 0, 1, 2
"""Whether a workspace can be read; the highest is unreadable for no known reason."""
REASON_CODES = {reason: code for code, reason in enumerate(REASONS, start=UNREADABLE + 1)}
"""Why a workspace cannot be read."""


class Chosen(Conditions):
    """The conditions of the alerts, on the workspaces and integrations that are chosen."""

    def newest(self, metric: Metric, matchers: str = "") -> str:
        """The newest value per integration."""
        return super().newest(metric, matching(matchers))

    @property
    def late(self) -> str:
        """The last delivery is older than it may be."""
        return f"{self.delivery_age}\n> {self.stale_after}"

    @property
    def overdue(self) -> str:
        """By how much a scheduled run is overdue, from the first second on."""
        return Chosen(replace(self.limits, missed_after=0)).missed


def matching(*further: str, chosen: str = CHOSEN) -> str:
    """The matchers of the variables, and others."""
    return ",".join((chosen, *filter(None, further)))


NOW = Chosen(LIMITS)
KNOWN = NOW.newest(catalog.INTEGRATION_INFO)
"""All integrations that are chosen and known just now."""


def chosen(metric: Metric, matchers: str = "") -> str:
    """The series of the chosen integrations as they were scraped."""
    return selector(metric, matching(matchers))


def per_integration(metric: Metric, modifier: str = "") -> str:
    """The value per integration, for a graph: it ends where the scrapes do."""
    return f"max by {by(INTEGRATION)} ({' '.join((chosen(metric), modifier)).strip()})"


def rise(
    metric: Metric,
    window: str = RANGE,
    *,
    matchers: str = "",
    labels: Sequence[str] = INTEGRATION,
    modifier: str = "",
) -> str:
    """By how much a counter of each integration rose."""
    series = " ".join(filter(None, (f"{chosen(metric, matchers)}[{window}]", modifier)))
    return f"max by {by(labels)} (increase({series}))"


def of_workspace(metric: Metric, labels: Sequence[str] = catalog.WORKSPACE) -> str:
    """The newest value per workspace."""
    return newest(metric, LOOKBACK, WORKSPACE, labels)


def column(expression: str) -> str:
    """A column of a table of integrations; NaN keeps the place of what is not known."""
    known = newest(catalog.INTEGRATION_INFO, LOOKBACK, CHOSEN, ("integration_id",))
    return f"max by (integration_id) (\n{indented(expression)}\n)\nor\n  NaN * {known}"


def workspace_column(expression: str) -> str:
    """A column of a table of workspaces; NaN keeps the place of what is not known."""
    return f"{expression}\nor\n  NaN * {of_workspace(catalog.HISTORY_READS_PENDING)}"


def count(condition: str, of: str = KNOWN) -> str:
    """How many fulfil the condition: 0 where none does, nothing where nothing is known."""
    return f"count(\n{indented(condition)}\n)\nor\n  0 * count({of})"


def count_by_workspace(condition: str) -> str:
    """How many integrations of each workspace fulfil the condition."""
    counted = f"count by (workspace) (\n{indented(condition)}\n)"
    return workspace_column(f"{counted}\nor\n  0 * count by (workspace) ({KNOWN})")


def _worst(series: Sequence[tuple[str, int]], labels: Sequence[str]) -> str:
    """The highest code of the series that are 1."""
    coded = "\nor\n".join(f"  ({each} == 1) * {code}" for each, code in series)
    return f"max by {by(labels)} (\n{coded}\n)"


def _statuses() -> list[tuple[str, int]]:
    """The series of each status, and its code."""
    return [
        (chosen(catalog.LAST_SYNC_STATUS, f'status="{status}"'), CODES[status])
        for status in FINISHED
    ]


def last_status() -> str:
    """The code of each integration's last status."""
    series = [(f"last_over_time({each}[{LOOKBACK}])", code) for each, code in _statuses()]
    return _worst(series, INTEGRATION)


def status_over_time() -> str:
    """The code of the last status, `no data` at each step that has none."""
    return or_no_data(_worst(_statuses(), INTEGRATION))


def running_over_time() -> str:
    """The code of `running` while a run is under way, else that of no run."""
    running = f"({per_integration(catalog.SYNCS_RUNNING)} > bool 0)"
    return or_no_data(f"{running} * {CODES[Status.RUNNING] - IDLE_CODE} + {IDLE_CODE}")


def or_no_data(expression: str) -> str:
    """The code `no data` for integrations that exist in the range, where they have no other.

    Without it a state would be drawn on until the next sample, through any outage.
    """
    info = f"last_over_time({chosen(catalog.INTEGRATION_INFO)}[{RANGE}] @ end())"
    return f"{expression}\nor\n  {NO_DATA_CODE} * max by {by(INTEGRATION)} ({info})"


def with_most_trouble(expression: str) -> str:
    """The expression for the integrations that spent most of the range in another status."""
    other = chosen(catalog.LAST_SYNC_STATUS, 'status!="success"')
    trouble = (
        f"max by {by(PRESENCE)} (sum without (status) (avg_over_time({other}[{RANGE}] @ end())))"
    )
    return f"{bracketed(expression)}\nand on {by(PRESENCE)}\n  topk({SHOWN}, {trouble})"


def share_failed(failed: str, synced: str) -> str:
    """Failed rows of all rows; nothing where there were no rows."""
    return both("/", failed, bracketed(f"{bracketed(both('+', failed, synced))} > 0"))


def workspace_state() -> str:
    """Readable, its list unreadable, or the code of a reason; one instance that reads is enough."""
    up = of_workspace(catalog.UP)
    listed = f"{of_workspace(catalog.LIST_READABLE)} == 0"
    refused = [
        (f"last_over_time({_reason(reason)}[{LOOKBACK}])", code)
        for reason, code in REASON_CODES.items()
    ]
    why = _worst(refused, catalog.WORKSPACE)
    readable = f"{READABLE} * ({up} == 1)"
    choices = (
        both("unless on (workspace)", readable, listed),
        both("and on (workspace)", f"{LIST_UNREADABLE} + {readable}", listed),
        indented(why),
        f"  {UNREADABLE} + {up}",
    )
    return "\nor\n".join(choices)


def _reason(reason: str) -> str:
    return selector(catalog.REFRESH_ERROR, matching(f'reason="{reason}"', chosen=WORKSPACE))
