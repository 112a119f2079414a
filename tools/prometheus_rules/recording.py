"""Recording rules: what dashboards and alerts share."""

from cdi_exporter import catalog
from tools.prometheus_rules.conditions import Conditions
from tools.prometheus_rules.promql import both, bracketed, by, increase
from tools.prometheus_rules.rule import Group, Recording
from tools.prometheus_rules.thresholds import Thresholds

ROWS_FAILED_INCREASE = "integration:braze_cdi_rows_failed:increase1h"
ROWS_FAILED_RATIO = "integration:braze_cdi_rows_failed:ratio1h"
FRESH = "integration:braze_cdi_fresh:bool"


def recordings(limits: Thresholds) -> Group:
    """What alerts use, evaluated as often as they are."""
    failed = increase(catalog.ROWS_FAILED, "1h")
    rules = (
        Recording(ROWS_FAILED_INCREASE, failed, "rows that failed within the last hour"),
        Recording(
            ROWS_FAILED_RATIO,
            _row_failure_ratio("1h"),
            "share of the rows of the last hour that failed; absent where there were none",
        ),
    )
    return Group("braze-cdi-recording", "Shared by alerts and dashboards", rules)


def service_levels(limits: Thresholds) -> Group:
    """What looks far back; Prometheus' lookback of 5 minutes must span two evaluations."""
    conditions = Conditions(limits)
    # What nobody could see is neither fresh nor late: it does not count.
    fresh = (
        f"{conditions.delivery_age}\n<= bool {conditions.stale_after}"
        f"{conditions.unless(conditions.unconfirmed)}"
    )
    rules = (
        Recording(
            "integration:braze_cdi_sync_success:ratio1d",
            _success_ratio("1d"),
            "share of the runs of the last day that ended with success; absent without runs",
        ),
        Recording(
            "integration:braze_cdi_rows_failed:ratio1d",
            _row_failure_ratio("1d"),
            "share of the rows of the last day that failed; absent where there were none",
        ),
        Recording(
            FRESH,
            fresh,
            "1 while the last delivery (success or partial) is younger than `stale_after`, else 0; "
            "absent where that was not confirmed for an hour",
        ),
        Recording(
            "integration:braze_cdi_fresh:avg30d",
            f"avg_over_time({FRESH}[30d])\nand\n  {conditions.stale_after}",
            "service level: the share of the last 30 days in which the data was fresh, as far as "
            "is known",
        ),
    )
    return Group("braze-cdi-service-levels", "Service levels", rules, interval="2m")


def _row_failure_ratio(window: str) -> str:
    failed = increase(catalog.ROWS_FAILED, window)
    synced = increase(catalog.ROWS_SYNCED, window)
    every = bracketed(both("+", failed, synced))
    return both("/", failed, bracketed(f"{every} > 0"))


def _success_ratio(window: str) -> str:
    succeeded = increase(catalog.SYNCS, window, 'status="success"', catalog.INTEGRATION)
    every = f"sum by {by(catalog.INTEGRATION)} (\n  {increase(catalog.SYNCS, window)}\n) > 0"
    return both("/", succeeded, bracketed(every))
