"""Alerts on what runs carry: rows, watermark; and on what is known of them."""

from cdi_exporter import catalog
from tools.prometheus_rules.conditions import SAME, Conditions
from tools.prometheus_rules.facts import COUNT, DURATION, OF_INTEGRATION, OF_WORKSPACE, TIME, Facts
from tools.prometheus_rules.promql import (
    PRESENCE,
    both,
    bracketed,
    highest,
    increase,
    indented,
    newest,
    number,
)
from tools.prometheus_rules.recording import ROWS_FAILED_INCREASE, ROWS_FAILED_RATIO
from tools.prometheus_rules.rule import Alert, Group
from tools.prometheus_rules.syncs import AGE, INTO, NAME
from tools.prometheus_rules.thresholds import Thresholds


def data_alerts(limits: Thresholds) -> tuple[Alert, ...]:
    """Rows are lost, or the runs carry something odd."""
    conditions, facts = Conditions(limits), Facts(limits)
    return (
        _rows_failing(conditions, facts),
        _source_stale(conditions, facts),
        _slow(conditions, facts),
        _rows_unusual(conditions, facts),
        _unknown_status(conditions, facts),
        _watermark_in_future(conditions, facts),
    )


def knowledge_alerts(limits: Thresholds) -> Group:
    """What is known of an integration is incomplete or old."""
    conditions, facts = Conditions(limits), Facts(limits)
    rules = (_disappeared(conditions), _gap(conditions), _not_refreshed(conditions, facts))
    # A day of history is read for each integration: not at every evaluation.
    return Group("braze-cdi-knowledge", "What is known of integrations", rules, interval="2m")


def _rows_failing(conditions: Conditions, facts: Facts) -> Alert:
    limits = conditions.limits
    failed = conditions.newest(catalog.LAST_SYNC_ROWS_FAILED)
    synced = conditions.newest(catalog.LAST_SYNC_ROWS_SYNCED)
    # Where Braze does not say how many rows were synced, none was as far as is known.
    every = bracketed(both("+", failed, bracketed(both("or", synced, f"0 * {failed}"))))
    share, least = number(limits.failed_share), number(limits.failed_rows_at_least)
    many = number(limits.failed_rows)
    choices = (
        f"{both('/', failed, every)}\n> {share}\nand\n  {failed} >= {least}",
        f"{failed} >= {many}",
        f"{ROWS_FAILED_RATIO} > {share} and {ROWS_FAILED_INCREASE} >= {least}",
        f"{ROWS_FAILED_INCREASE} >= {many}",
    )
    return Alert(
        name="RowsFailing",
        severity="warning",
        expr="\nor\n".join(bracketed(choice) for choice in choices),
        held="5m",
        keep="15m",
        summary=f"Rows do not reach {INTO}",
        description=f"{NAME}: {facts.rows()} of the last run failed; it ended with "
        f"{facts.status()}.{facts.rows_of_hour()}",
        action="Download the failed rows' errors from the run's page in Braze: unknown users, "
        "wrong types, too large payloads. Failed rows come again only when they are updated.",
        dashboard=OF_INTEGRATION,
        means="Of the last run, or of the last hour, too large a share of the rows or too many "
        "rows failed.",
    )


def _source_stale(conditions: Conditions, facts: Facts) -> Alert:
    limits = conditions.limits
    watermark = conditions.age(conditions.newest(catalog.WATERMARK))
    limit = (
        f"clamp_min({number(limits.source_factor)} * {conditions.stale_after}, "
        f"{number(limits.source_at_least)})"
    )
    return Alert(
        name="SourceDataStale",
        severity="warning",
        expr=f"{watermark}\n> {limit}\nand {SAME}\n{indented(bracketed(conditions.fresh))}",
        held="1h",
        keep="15m",
        summary=f"Syncs into {INTO} succeed, but bring no new data",
        description=f"{NAME}: the newest row in Braze was {AGE} old when it was last looked at, "
        f"updated at {facts.of_integration(catalog.WATERMARK, TIME)}; {facts.last_delivery()}.",
        action="Braze is fine: see whether the job that fills the source table still runs, and "
        "whether it sets UPDATED_AT.",
        dashboard=OF_INTEGRATION,
        means="Runs succeed, but the newest row that they brought is old.",
    )


def _slow(conditions: Conditions, facts: Facts) -> Alert:
    limits = conditions.limits
    duration = conditions.newest(catalog.LAST_SYNC_DURATION)
    typical = conditions.newest(catalog.TYPICAL_DURATION)
    usual = facts.of_integration(catalog.TYPICAL_DURATION, f", typical are {DURATION}")
    return Alert(
        name="SyncSlow",
        severity="info",
        expr=f"{duration} > {number(limits.slow_factor)} * {typical}\n"
        f"and\n  {duration} >= {number(limits.slow_at_least)}",
        held="5m",
        summary=f"Syncs into {INTO} took much longer than usual",
        description=f"{NAME}: the last run took {AGE}{usual}.",
        action="Compare the run's rows with those before; look at the warehouse's load.",
        dashboard=OF_INTEGRATION,
        means="The last run took many times longer than is typical for its integration.",
    )


def _rows_unusual(conditions: Conditions, facts: Facts) -> Alert:
    limits = conditions.limits
    rows = conditions.newest(catalog.LAST_SYNC_ROWS_SYNCED)
    typical = conditions.newest(catalog.TYPICAL_ROWS)
    factor = number(limits.rows_factor)
    odd = "\nor\n".join((f"  {rows} < {typical} / {factor}", f"  {rows} > {typical} * {factor}"))
    usual = facts.of_integration(catalog.TYPICAL_ROWS, f", typical are {COUNT}")
    return Alert(
        name="SyncRowsUnusual",
        severity="info",
        expr=f"(\n{odd}\n)\nand\n  {typical} >= {number(limits.rows_at_least)}\n"
        f"and\n  {conditions.status('success')}",
        held="5m",
        summary=f"Syncs into {INTO} brought an unusual number of rows",
        description=f'{NAME}: the last run synced {{{{ $value | printf "%.0f" }}}} rows{usual}.',
        action="See whether the source table was emptied, filled again, or is only half loaded.",
        dashboard=OF_INTEGRATION,
        means="A successful run brought many times fewer or more rows than is typical.",
    )


def _unknown_status(conditions: Conditions, facts: Facts) -> Alert:
    counted = increase(catalog.SYNCS, "1h", 'status="unknown"', catalog.INTEGRATION)
    return Alert(
        name="UnknownStatus",
        severity="warning",
        expr=f"{conditions.status('unknown')}\nor\n  {counted} > 0",
        held="5m",
        keep="15m",
        summary=f"Syncs into {INTO} ended with a status that cdi-exporter does not know",
        description=f"{NAME}: a run ended with a status other than success, partial, error and "
        f"config_error; {facts.last_delivery()}.",
        action="See in Braze's sync log what the run is called and whether its rows arrived; then "
        "update cdi-exporter.",
        dashboard=OF_INTEGRATION,
        means="The last run, or one of the last hour, has a status that this exporter does not "
        "know.",
    )


def _watermark_in_future(conditions: Conditions, facts: Facts) -> Alert:
    # A frequent sync soon shows another watermark: a quarter of an hour is the time that a ticket
    # waits in Alertmanager.
    highest_mark = highest(catalog.WATERMARK, "15m")
    ahead = number(conditions.limits.watermark_ahead)
    return Alert(
        name="WatermarkInFuture",
        severity="warning",
        expr=f"{highest_mark} - time()\n> {ahead}",
        held="5m",
        keep="15m",
        summary=f"The watermark of syncs into {INTO} is in the future",
        description=f"{NAME}: Braze reported a newest row (last_timestamp_synced) that is {AGE} "
        f"in the future; {facts.last_delivery()}. Braze does not sync rows that are older than its "
        "newest row.",
        action="Look in the source table for rows whose UPDATED_AT is in the future, or in local "
        "time instead of UTC, and correct them; then let the rows that were skipped sync again, as "
        "the runbook says.",
        dashboard=OF_INTEGRATION,
        means="A run reported a newest row (`last_timestamp_synced`) whose time is in the future.",
    )


def _disappeared(conditions: Conditions) -> Alert:
    before = newest(catalog.INTEGRATION_INFO, "1d", labels=catalog.INTEGRATION)
    lookback = conditions.limits.lookback
    now = newest(catalog.INTEGRATION_INFO, lookback, labels=PRESENCE)
    # An outage takes nothing from the exposition, but an exporter that starts in one knows nothing.
    read = both("or", conditions.readable, newest(catalog.LAST_REFRESH, lookback))
    return Alert(
        name="IntegrationDisappeared",
        severity="warning",
        expr=f"{before}\nunless {SAME}\n  {now}\nand on (workspace)\n{indented(bracketed(read))}",
        held="30m",
        keep="15m",
        summary=f"Integrations of {INTO} are no longer listed",
        description=f"{NAME} (ID {{{{ $labels.integration_id }}}}) was there within the last day "
        "and is no longer listed by Braze.",
        action="Ask who deleted it, or whether the exporter's configuration now excludes it. "
        "The alert ends by itself a day after.",
        dashboard=OF_WORKSPACE,
        means="An integration that was there within the last day is gone, while its workspace "
        "can be read.",
    )


def _gap(conditions: Conditions) -> Alert:
    # The gap of an exporter that did not run shows in its first sample: `increase` misses that.
    before = newest(catalog.HISTORY_GAPS, "1d", offset="1h")
    since = both("-", conditions.newest(catalog.HISTORY_GAPS), before)
    return Alert(
        name="HistoryGap",
        severity="warning",
        expr=f"{increase(catalog.HISTORY_GAPS, '1h')} > 0\nor\n{bracketed(since)} > 0",
        held="",
        keep="15m",
        summary=f"Runs of syncs into {INTO} may have gone uncounted",
        description=f"{NAME}: within the last hour the history that Braze lists ended, or was "
        "cut, before runs that were known. Counters may lack runs; the last status is right.",
        action="See how long the exporter did not run or was not scraped; give it a state file "
        "if it has none.",
        dashboard=OF_INTEGRATION,
        means="Continuity was lost: runs may be missing from the counters.",
    )


def _not_refreshed(conditions: Conditions, facts: Facts) -> Alert:
    limits = conditions.limits
    allowed = number(limits.unrefreshed_after)
    known = newest(catalog.INTEGRATION_INFO, limits.lookback, labels=catalog.INTEGRATION)
    long_ago = newest(
        catalog.INTEGRATION_INFO, limits.lookback, labels=PRESENCE, offset=f"{allowed}s"
    )
    failing = f"{conditions.newest(catalog.INTEGRATION_UP)} == 0"
    known_long = bracketed(f"{known}\nand {SAME}\n{indented(long_ago)}")
    unconfirmed = bracketed(both("or", failing, known_long))
    never = f"{unconfirmed}\nunless {SAME}\n{indented(conditions.confirmed)}"
    since = facts.of_integration(
        catalog.INTEGRATION_LAST_REFRESH, f"last confirmed at {TIME}", "never read yet"
    )
    return Alert(
        name="DataNotRefreshed",
        severity="warning",
        expr=f"{bracketed(both('or', conditions.unconfirmed, bracketed(never)))}\n"
        f"and on (workspace)\n{indented(conditions.readable)}\n"
        f"unless on (workspace)\n{indented(conditions.unread)}",
        held="15m",
        keep="15m",
        summary=f"What is known of syncs into {INTO} is old",
        description=f"{NAME}: {since}, though its workspace can be read. Whether it is late or "
        "failing is not known.",
        action="The exporter's status page and log tell why its history cannot be read: a wrong "
        "ID, an answer that is not understood, or too small a request budget.",
        dashboard=OF_INTEGRATION,
        means="An integration's own data is old although its workspace can be read.",
    )
