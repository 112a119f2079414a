"""Alerts on runs: late, failed, missed, hanging."""

from cdi_exporter import catalog
from tools.prometheus_rules.conditions import Conditions
from tools.prometheus_rules.facts import DURATION, OF_INTEGRATION, TIME, Facts
from tools.prometheus_rules.promql import indented, number
from tools.prometheus_rules.rule import Alert
from tools.prometheus_rules.thresholds import Thresholds

NAME = "{{ $labels.integration_name }}"
INTO = "Braze workspace {{ $labels.workspace }}"
AGE = "{{ $value | humanizeDuration }}"


def sync_alerts(limits: Thresholds) -> tuple[Alert, ...]:
    """Something is wrong with the runs of an integration."""
    conditions, facts = Conditions(limits), Facts(limits)
    return (
        _late(conditions, facts),
        _config_error(conditions, facts),
        _failed(conditions, facts),
        _failing(conditions, facts),
        _missed(conditions, facts),
        _stuck(conditions, facts),
        _schedule_lost(conditions, facts),
    )


def _late(conditions: Conditions, facts: Facts) -> Alert:
    late = f"{conditions.delivery_age}\n> {conditions.stale_after}"
    stale_after = facts.of_integration(catalog.STALE_AFTER, f" (late after {DURATION})")
    return Alert(
        name="SyncLate",
        severity="critical",
        expr=late + conditions.unless(conditions.status("config_error")),
        held="10m",
        keep="15m",
        summary=f"Data for {INTO} is late",
        description=f"{NAME}: no delivery (success or partial) for {AGE}{stale_after}; "
        f"{facts.last_delivery()}. Last run: {facts.status()}{facts.failures()}.",
        action="See in Braze why the last run failed, or whether one ran at all; tell the "
        "campaign team that this audience data is old.",
        dashboard=OF_INTEGRATION,
        means="The last delivery (success or partial) is older than the integration's own "
        "`stale_after`.",
    )


def _config_error(conditions: Conditions, facts: Facts) -> Alert:
    return Alert(
        name="SyncConfigError",
        severity="critical",
        expr=conditions.status("config_error"),
        held="5m",
        keep="15m",
        summary=f"Syncs into {INTO} are misconfigured and do not recover by themselves",
        description=f"{NAME}: the last run ended with config_error{facts.failures()}; "
        f"{facts.last_delivery()}.",
        action="Open the integration in Braze and test its connection: credentials, "
        "permissions, table and column names.",
        dashboard=OF_INTEGRATION,
        means="The last run ended with `config_error`: a person must act.",
    )


def _failed(conditions: Conditions, facts: Facts) -> Alert:
    return Alert(
        name="SyncFailed",
        severity="warning",
        expr=conditions.failed_and_rare,
        held="5m",
        keep="15m",
        summary=f"Syncs into {INTO} failed, and their next attempt is far away",
        description=f"{NAME}: the last run ended with error{facts.failures()}; "
        f"{facts.last_delivery()}, {facts.next_run()}.",
        action="See the error in Braze, mend it, and start the sync by hand: do not wait for "
        "the schedule.",
        dashboard=OF_INTEGRATION,
        means="The last run failed, and the next attempt comes much later: daily and monthly "
        "syncs.",
    )


def _failing(conditions: Conditions, facts: Facts) -> Alert:
    failures = conditions.newest(catalog.CONSECUTIVE_FAILURES)
    often = f"{failures} >= {number(conditions.limits.failures_in_a_row)}"
    return Alert(
        name="SyncFailing",
        severity="warning",
        expr=often
        + conditions.unless(conditions.status("config_error"))
        + conditions.unless(conditions.failed_and_rare),
        held="5m",
        keep="15m",
        summary=f"Syncs into {INTO} keep failing",
        description=f'{NAME}: {{{{ $value | printf "%.0f" }}}} failed runs in a row; '
        f"{facts.last_delivery()}, {facts.next_run()}.",
        action="See the error of the last run in Braze; check the warehouse and its load.",
        dashboard=OF_INTEGRATION,
        means="Several runs in a row failed.",
    )


def _missed(conditions: Conditions, facts: Facts) -> Alert:
    listed = (
        f'max by (workspace) (increase({catalog.API_REQUESTS.name}{{endpoint="integrations",'
        f'code="200"}}[15m])) > 0'
    )
    return Alert(
        name="ScheduledSyncMissed",
        severity="warning",
        expr=f"{conditions.missed}\nand on (workspace)\n{indented(listed)}",
        held="10m",
        keep="15m",
        summary=f"Scheduled syncs into {INTO} did not start",
        description=f"{NAME}: the run scheduled for "
        f"{facts.of_integration(catalog.NEXT_SCHEDULED_SYNC, TIME)} is overdue by {AGE} "
        f"and none is under way; {facts.last_delivery()}.",
        action="See in Braze whether the integration is paused; if not, start it by hand and "
        "ask Braze's support.",
        dashboard=OF_INTEGRATION,
        means="The time of the next run has passed, and none has started since.",
    )


def _stuck(conditions: Conditions, facts: Facts) -> Alert:
    usual = facts.of_integration(
        catalog.TYPICAL_DURATION, f" (typical: {DURATION})", " (no typical duration is known)"
    )
    return Alert(
        name="SyncStuck",
        severity="warning",
        expr=conditions.stuck,
        held="5m",
        keep="15m",
        summary=f"Syncs into {INTO} do not end",
        description=f"{NAME}: a run has been under way for {AGE}{usual}; it started at "
        f"{facts.of_integration(catalog.RUNNING_SYNC_START, TIME)}.",
        action="Look in the warehouse for the query of this run: is it waiting for a lock or "
        "for capacity? Later runs may not start before it ends.",
        dashboard=OF_INTEGRATION,
        means="A run takes many times longer than is typical for its integration.",
    )


def _schedule_lost(conditions: Conditions, facts: Facts) -> Alert:
    since = conditions.newest(catalog.SCHEDULE_LOST)
    return Alert(
        name="ScheduleLost",
        severity="info",
        expr=f"time() - {since} < {number(conditions.limits.schedule_lost_for)}",
        held="15m",
        keep="15m",
        summary=f"Syncs into {INTO} are no longer scheduled",
        description=f"{NAME}: Braze lists no next run since "
        f"{facts.of_integration(catalog.SCHEDULE_LOST, TIME)}; {facts.last_delivery()}. Unless "
        "stale_after is configured for it, it is no longer reported as late.",
        action="Ask who paused the integration or changed its schedule. If that was on purpose, "
        "there is nothing to do.",
        dashboard=OF_INTEGRATION,
        means="An integration that had a schedule has none any more: it was paused, or is now "
        "event-driven. Notified once.",
    )
