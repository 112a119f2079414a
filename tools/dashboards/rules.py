"""What the dashboards share with the alerts: pieces of PromQL, conditions, limits, runbooks.

The rules themselves are written by hand (prometheus/rules/). A test compares the conditions and
limits here with theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cdi_exporter import catalog
from cdi_exporter.catalog import INTEGRATION, Metric
from tools.rules import read_rules

MINUTE = 60
HOUR = 60 * MINUTE

RUNBOOK_URL = "https://runbooks.example.com/cdi-exporter"

PRESENCE = ("workspace", "integration_id")
"""The labels that identify an integration whose name may change."""
SAME = "on (workspace, integration_id)"


@dataclass(frozen=True)
class Thresholds:
    """The limits of the alerts that the dashboards show."""

    lookback: str = "5m"
    api_window: str = "10m"
    failures_in_a_row: float = 2
    failed_share: float = 0.05
    missed_after: float = 20 * MINUTE
    stuck_factor: float = 3
    stuck_at_least: float = HOUR
    stuck_unknown: float = 6 * HOUR
    rows_factor: float = 10
    unrefreshed_after: float = HOUR


def alerts() -> list[tuple[str, str]]:
    """The name of each alert, without the prefix that all share, and its severity."""
    rules = [rule for group in read_rules() for rule in group["rules"] if "alert" in rule]
    return [(rule["alert"].removeprefix("BrazeCDI"), rule["labels"]["severity"]) for rule in rules]


def by(labels: Sequence[str]) -> str:
    """The labels as `by` and `on` take them."""
    return "(" + ", ".join(labels) + ")"


def selector(metric: Metric, matchers: str = "") -> str:
    """All series of a metric, or those that match."""
    return f"{metric.name}{{{matchers}}}" if matchers else metric.name


def newest(
    metric: Metric, window: str, matchers: str = "", labels: Sequence[str] | None = None
) -> str:
    """The newest value within the window, by the metric's own labels if none are given.

    The maximum over the exporter's instances: two of them, or one that was just replaced, never
    give two series where one is wanted.
    """
    series = f"{selector(metric, matchers)}[{window}]"
    return f"max by {by(labels or metric.labels)} (last_over_time({series}))"


def indented(text: str, spaces: int = 2) -> str:
    """The text, moved to the right."""
    return "\n".join(" " * spaces + line for line in text.splitlines())


def both(operator: str, left: str, right: str) -> str:
    """A binary operation over several lines, its operator on its own line."""
    return f"{indented(left)}\n{operator}\n{indented(right)}"


def bracketed(text: str) -> str:
    """The text in brackets, over several lines."""
    return f"(\n{indented(text)}\n)"


def number(value: float) -> str:
    """The number as PromQL reads it, without a needless fraction."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


class Conditions:
    """Conditions of the alerts on one integration, as PromQL.

    Ages are measured at the time at which the integration's data was last confirmed, not now:
    while Braze cannot be read, nothing becomes late and nothing seems to recover.
    """

    def __init__(self, limits: Thresholds) -> None:
        self.limits = limits

    def newest(self, metric: Metric, matchers: str = "") -> str:
        """The newest value per integration."""
        return newest(metric, self.limits.lookback, matchers, INTEGRATION)

    @property
    def confirmed(self) -> str:
        """When the data was last confirmed."""
        return self.newest(catalog.INTEGRATION_LAST_REFRESH)

    def age(self, of: str) -> str:
        """How long before the last confirmation."""
        return bracketed(both("-", self.confirmed, of))

    def status(self, status: str) -> str:
        """The last finished run has this status."""
        matcher = f'status="{status}"'
        return f"{self.newest(catalog.LAST_SYNC_STATUS, matcher)} == 1"

    @property
    def stale_after(self) -> str:
        """The age at which the integration is late."""
        return self.newest(catalog.STALE_AFTER)

    @property
    def delivery_age(self) -> str:
        """Age of the last delivery (success or partial), else of the known history.

        Backfilled data has no confirmation and is measured now; so is data that was never
        confirmed, unless its workspace cannot be read.
        """
        delivery, start = self.newest(catalog.LAST_DELIVERY), self.newest(catalog.HISTORY_START)
        up = f"max by (workspace) (max_over_time({catalog.UP.name}[{self.limits.api_window}]))"
        now = bracketed(f"0 * {self.stale_after} + time()\nunless on (workspace)\n  {up} == 0")
        then = bracketed(both("or", self.confirmed, now))
        return bracketed(both("-", then, bracketed(both("or", delivery, start))))

    @property
    def missed(self) -> str:
        """The time of the next run has passed, none has started since and none is in progress."""
        scheduled = self.newest(catalog.NEXT_SCHEDULED_SYNC)
        running = f"{self.newest(catalog.SYNCS_RUNNING)} > 0"
        started = both(">=", self.newest(catalog.LAST_SYNC_START), f"{scheduled} - 60")
        return (
            f"{self.age(scheduled)}\n> {number(self.limits.missed_after)}\n"
            f"unless {SAME}\n  {running}\nunless {SAME}\n{indented(bracketed(started))}"
        )

    @property
    def stuck(self) -> str:
        """A run has been in progress for much longer than is typical."""
        limits, start = self.limits, self.newest(catalog.RUNNING_SYNC_START)
        typical = self.newest(catalog.TYPICAL_DURATION)
        known = (
            f"clamp_min({number(limits.stuck_factor)} * {typical}, {number(limits.stuck_at_least)})"
        )
        limit = bracketed(both("or", known, f"0 * {start} + {number(limits.stuck_unknown)}"))
        return f"{self.age(start)}\n> {limit}"
