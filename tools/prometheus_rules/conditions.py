"""Conditions on one integration that several rules share.

Ages are measured to when the integration's data was last confirmed, not to now: while Braze
cannot be read nothing becomes late, and nothing that was late seems mended. That what is known
has itself grown old is said by ApiUnreachable and DataNotRefreshed.
"""

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from tools.prometheus_rules.promql import (
    PRESENCE,
    both,
    bracketed,
    by,
    highest,
    indented,
    newest,
    number,
    of_integration,
)
from tools.prometheus_rules.thresholds import Thresholds

SAME = f"on {by(PRESENCE)}"
"""Match the same integration, whatever its name."""


class Conditions:
    """PromQL about integrations, with these limits."""

    def __init__(self, limits: Thresholds) -> None:
        self.limits = limits

    def newest(self, metric: Metric, matchers: str = "") -> str:
        """The newest value per integration."""
        return of_integration(metric, self.limits.lookback, matchers)

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
    def delivery_age(self) -> str:
        """Age of the last delivery, else of the history, if it is known when that is late.

        A delivery is a run with status success or partial: its rows are in Braze. The age is
        measured at the last confirmation. Backfilled data has no confirmation, so it is measured
        at the present moment; so is data that was never confirmed, unless its workspace cannot be
        read.
        """
        delivery = self.newest(catalog.LAST_DELIVERY)
        start = self.newest(catalog.HISTORY_START)
        since = bracketed(both("or", delivery, start))
        down = f"{highest(catalog.UP, self.limits.api_window)} == 0"
        now = bracketed(f"0 * {self.stale_after} + time()\nunless on (workspace)\n  {down}")
        then = bracketed(both("or", self.confirmed, now))
        return bracketed(both("-", then, since))

    @property
    def unconfirmed(self) -> str:
        """The last confirmation is long ago."""
        return f"time() - {self.confirmed} > {number(self.limits.unrefreshed_after)}"

    @property
    def stale_after(self) -> str:
        """The age at which the integration is late."""
        return self.newest(catalog.STALE_AFTER)

    @property
    def fresh(self) -> str:
        """The last delivery is not too long ago."""
        return f"{self.age(self.newest(catalog.LAST_DELIVERY))}\n<= {self.stale_after}"

    @property
    def failed_and_rare(self) -> str:
        """The last run failed and the next attempt is far from it."""
        wait = bracketed(both("or", self._wait, self._usual_wait))
        rare = f"{wait}\n> {number(self.limits.rare_after)}"
        return f"{rare}\nand\n{indented(self.status('error'))}"

    @property
    def _wait(self) -> str:
        """From the end of the last run to the next scheduled one."""
        finish = self.newest(catalog.LAST_SYNC_FINISH)
        start = self.newest(catalog.LAST_SYNC_START)
        ended = bracketed(both("or", finish, start))
        return bracketed(both("-", self.newest(catalog.NEXT_SCHEDULED_SYNC), ended))

    @property
    def _usual_wait(self) -> str:
        """The same where the key may not read the schedule; event-driven ones have none."""
        return f"{self.newest(catalog.TYPICAL_INTERVAL)}\nand\n{indented(self.stale_after)}"

    @property
    def missed(self) -> str:
        """The time of the next run has passed, none has started since and none is under way."""
        scheduled = self.newest(catalog.NEXT_SCHEDULED_SYNC)
        overdue = f"{self.age(scheduled)}\n> {number(self.limits.missed_after)}"
        running = f"{self.newest(catalog.SYNCS_RUNNING)} > 0"
        started = both(">=", self.newest(catalog.LAST_SYNC_START), f"{scheduled} - 60")
        return overdue + self.unless(running) + self.unless(started)

    @property
    def stuck(self) -> str:
        """A run has been under way for much longer than is typical."""
        limits, start = self.limits, self.newest(catalog.RUNNING_SYNC_START)
        typical = self.newest(catalog.TYPICAL_DURATION)
        known = (
            f"clamp_min({number(limits.stuck_factor)} * {typical}, {number(limits.stuck_at_least)})"
        )
        limit = bracketed(both("or", known, f"{start} * 0 + {number(limits.stuck_unknown)}"))
        return f"{self.age(start)}\n> {limit}"

    @property
    def readable(self) -> str:
        """The workspace got through within the window after which ApiUnreachable speaks."""
        return f"{highest(catalog.UP, self.limits.api_window)} == 1"

    @property
    def unread(self) -> str:
        """No refresh of the workspace has ended for long, whether it failed or not."""
        refreshed = newest(catalog.LAST_REFRESH, self.limits.lookback)
        return f"time() - {refreshed} > {number(self.limits.unrefreshed_after)}"

    def unless(self, condition: str) -> str:
        """The end of an expression that is silent where the condition holds."""
        several = bracketed(condition) if "\n" in condition else condition
        return f"\nunless {SAME}\n{indented(several)}"
