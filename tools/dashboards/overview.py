"""The dashboard of all workspaces: questions 0 to 6, then 9 and 10."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from cdi_exporter import catalog
from cdi_exporter.model import Status
from tools.dashboards.advice import advice
from tools.dashboards.exporter import exporter
from tools.dashboards.frame import INTEGRATION_PAGE, OVERVIEW_UID, board
from tools.dashboards.layout import Section, line, place
from tools.dashboards.panels import About, Panel, Query, bars, coded, lines, tile, timeline
from tools.dashboards.promql import (
    SHOWN,
    WEEK_AGO,
    Chosen,
    column,
    count,
    last_status,
    rise,
    share_failed,
    status_over_time,
    with_most_trouble,
)
from tools.dashboards.statuses import BLUE, LOOKS, TEXTS, TEXTS_OVER_TIME, VERMILION, YELLOW
from tools.dashboards.tables import Column, Label, Rows, table_of
from tools.dashboards.trust import trust
from tools.prometheus_rules.promql import both
from tools.prometheus_rules.thresholds import Thresholds

LIMITS = Thresholds()
NOW = Chosen(LIMITS)
KNOWN = NOW.newest(catalog.INTEGRATION_INFO)
NONE = coded({0: ("✔ none", BLUE)})
IN_HOUR = "1h"


def overview() -> Dashboard:
    """What is late, failed, lost, hanging; since when; and whether volumes are normal."""
    made = board(
        OVERVIEW_UID,
        "Braze CDI / Overview",
        "Syncs of Braze Cloud Data Ingestion: what is late, what failed, how many rows were lost, "
        "what hangs, since when.",
    )
    place(
        made,
        [
            trust(),
            _stale_or_failed(),
            _lost_rows(),
            _hanging(),
            _pattern(),
            _volume(),
            exporter(),
            advice(),
        ],
    )
    return made.build()


def _stale_or_failed() -> Section:
    late = tile(
        "Late",
        About(
            "Integrations whose last success is older than they may be: `stale_after` of the "
            "configuration, else two typical intervals and durations. Misconfigured ones count, "
            "too. Ages are measured to when an integration was last confirmed, as in the alerts.",
            "integrations.",
            "any: campaigns use old data.",
            "see the top of the table below; tell the campaign team.",
        ),
        count(NOW.late, KNOWN),
        mappings=[NONE],
    )
    tiles = [late, *(_with_status(status) for status in _TROUBLES)]
    return Section(
        "Is any audience data stale? What failed, and is it mine to fix?",
        [line(4, *tiles), line(11, _integrations())],
    )


_TROUBLES = {
    Status.CONFIG_ERROR: (
        "Config errors",
        "any: they never mend themselves, and it is yours to fix.",
        "open the integration in Braze and test its connection.",
    ),
    Status.ERROR: (
        "Failing",
        "one that stays: a single failed run often mends itself at the next.",
        "see how many runs in a row failed, in the table below.",
    ),
    Status.PARTIAL: (
        "Partial",
        "many: rows are lost run after run.",
        "see how many rows, in the section on lost rows.",
    ),
}


def _with_status(status: Status) -> Panel:
    title, bad, first = _TROUBLES[status]
    return tile(
        title,
        About(
            f"Integrations whose last finished run ended with `{status}`.",
            "integrations.",
            bad,
            first,
        ),
        count(NOW.status(status), KNOWN),
        colours=((None, BLUE), (1, LOOKS[status].colour)),
        mappings=[NONE],
    )


def _integrations() -> Panel:
    failed = NOW.newest(catalog.LAST_SYNC_ROWS_FAILED)
    synced = NOW.newest(catalog.LAST_SYNC_ROWS_SYNCED)
    return table_of(
        "Integrations",
        About(
            "Each integration, the latest first: *age ÷ limit* is the age of its last success in "
            "terms of what it may be, late above 100 %. *status*, *rows* and *failed* are of the "
            "last finished run.",
            "each column's own: share, time, runs, rows.",
            "an age above 100 %; a config error; failures in a row.",
            "click the name: its own dashboard shows since when and what else changed.",
        ),
        Rows("integration", KNOWN, "integration_id"),
        Label("workspace", "workspace", 130),
        Label("integration_name", "integration", link=INTEGRATION_PAGE),
        Column("status", "status", column(last_status()), "none", 130, mapping=coded(TEXTS)),
        Column(
            "late",
            "age ÷ limit",
            column(both("/", NOW.success_age, NOW.stale_after)),
            "percentunit",
            110,
            absent="never late",
            decimals=0,
            colours=((None, BLUE), (0.75, YELLOW), (1, VERMILION)),
        ),
        Column(
            "age",
            "last success ago",
            column(f"time() - {NOW.newest(catalog.LAST_SUCCESS)}"),
            "s",
            130,
            absent="none known",
            decimals=1,
        ),
        Column(
            "limit", "late after", column(NOW.stale_after), "s", 100, absent="never", decimals=1
        ),
        Column(
            "failures",
            "failed in a row",
            column(NOW.newest(catalog.CONSECUTIVE_FAILURES)),
            "short",
            120,
        ),
        Column("rows", "rows", column(synced), "short", 90),
        Column(
            "lost", "failed", column(share_failed(failed, synced)), "percentunit", 80, decimals=1
        ),
        sort="age ÷ limit",
    )


def _lost_rows() -> Section:
    failed, synced = rise(catalog.ROWS_FAILED), rise(catalog.ROWS_SYNCED)
    total = tile(
        "Rows not written",
        About(
            "Rows that Braze refused in runs that finished within the time range.",
            "rows.",
            "any number of rows that the campaign team does not know of.",
            "find the integration beside; see the errors of its runs in Braze.",
        ),
        f"sum({failed})",
        colours=((None, BLUE), (1, YELLOW)),
        mappings=[NONE],
    )
    share = tile(
        "Share not written",
        About(
            "Rows that Braze refused, of all rows of the time range. Without any row there is "
            "nothing to show.",
            "share of the rows.",
            "more than a few percent.",
            "find the integration beside; see the errors of its runs in Braze.",
        ),
        share_failed(f"sum({failed})", f"sum({synced})"),
        unit="percentunit",
        colours=((None, BLUE), (0.001, YELLOW), (LIMITS.failed_share, VERMILION)),
    )
    most = bars(
        "Most rows not written, top 10",
        About(
            "The integrations that lost most rows within the time range.",
            "rows.",
            "a bar that was not there yesterday.",
            "see the errors of its runs in Braze; correct these rows at their source.",
        ),
        "short",
        f"topk(10, {failed})",
        "{{workspace}} / {{integration_name}}",
        (None, BLUE),
        (1, YELLOW),
    )
    shares = bars(
        "Largest share not written, top 10",
        About(
            "The integrations that lost the largest share of their rows within the time range.",
            "share of the integration's rows.",
            "100 %: nothing arrives, though runs may end as *partial*.",
            "see the errors of its runs in Braze; a changed column type loses every row.",
        ),
        "percentunit",
        f"topk(10,\n{share_failed(failed, synced)}\n)",
        "{{workspace}} / {{integration_name}}",
        (None, BLUE),
        (0.001, YELLOW),
        (LIMITS.failed_share, VERMILION),
    ).max(1)
    return Section(
        "How many rows did not reach Braze?",
        [line(8, (total, share), most, shares, widths=(4, 10, 10))],
    )


def _hanging() -> Section:
    stuck = tile(
        "Hanging runs",
        About(
            f"Integrations with a run under way for more than {LIMITS.stuck_factor:g} times its "
            "typical duration, at least an hour; 6 hours where none is known.",
            "integrations.",
            "any: later runs may not start before it ends.",
            "look in the warehouse whether its query waits for a lock, or for capacity.",
        ),
        count(NOW.stuck, KNOWN),
        mappings=[NONE],
    )
    missed = tile(
        "Missed starts",
        About(
            "Integrations whose scheduled time passed 20 minutes ago or more, with no run "
            "started since and none under way.",
            "integrations.",
            "any: nothing fails, and no data comes.",
            "see in Braze whether the integration is paused; start it by hand.",
        ),
        count(NOW.missed, KNOWN),
        mappings=[NONE],
    )
    return Section(
        "Does a run hang, or did one never start?",
        [line(8, (stuck, missed), _schedule(), widths=(4, 20))],
    )


def _schedule() -> Panel:
    running = NOW.newest(catalog.RUNNING_SYNC_START)
    typical = NOW.newest(catalog.TYPICAL_DURATION)
    scheduled = NOW.newest(catalog.NEXT_SCHEDULED_SYNC)
    return table_of(
        "Runs under way, and next runs",
        About(
            "What runs and since when, beside how long it typically takes; when the next run is "
            "scheduled, and by how much one is overdue. *event-driven*: Braze lists no schedule.",
            "time.",
            "*running for* far above *typically*; *overdue by* without anything running.",
            "look at the query in the warehouse, or whether the integration is paused in Braze.",
        ),
        Rows("integration", KNOWN, "integration_id"),
        Label("workspace", "workspace", 130),
        Label("integration_name", "integration", link=INTEGRATION_PAGE),
        Column(
            "running",
            "running for",
            column(f"time() - {running}"),
            "s",
            120,
            absent="not running",
            decimals=1,
        ),
        Column("typical", "typically", column(typical), "s", 110, absent="not known", decimals=1),
        Column(
            "next",
            "next run",
            column(f"{scheduled} * 1000"),
            "dateTimeFromNow",
            140,
            absent="event-driven",
        ),
        Column("overdue", "overdue by", column(NOW.overdue), "s", 120, decimals=1),
        Column(
            "finished",
            "last finish ago",
            column(f"time() - {NOW.newest(catalog.LAST_SYNC_FINISH)}"),
            "s",
            130,
            absent="none known",
            decimals=1,
        ),
        sort="running for",
    )


def _pattern() -> Section:
    states = timeline(
        f"Status over time, the {SHOWN} with most trouble",
        About(
            "The status of each integration's last finished run, at each moment. Shown are those "
            f"that spent most of the time range in another status than success, at most {SHOWN}.",
            "a status; grey where nothing was known, as through an outage of the exporter.",
            "the same colour at the same hour each day; several that turn at one moment.",
            "several at once: look at the warehouse or at a change of that moment. One alone: "
            "choose it above.",
        ),
        TEXTS_OVER_TIME,
        Query(with_most_trouble(status_over_time()), "{{workspace}} / {{integration_name}}"),
    )
    return Section("When did it start, is it a pattern?", [line(11, states)])


def _volume() -> Section:
    hourly = f"sum by (workspace) ({rise(catalog.ROWS_SYNCED, IN_HOUR)})"
    before = f"sum by (workspace) ({rise(catalog.ROWS_SYNCED, IN_HOUR, modifier=WEEK_AGO)})"
    volume = lines(
        "Rows synced within an hour, and a week before",
        About(
            "Rows that runs wrote to Braze within the hour before each moment, by workspace; "
            "dashed, the same a week before.",
            "rows in an hour.",
            "far from the dashed line, or zero: the warehouse gives no rows, though syncs succeed.",
            "see beside which integration is small; ask who fills its table.",
        ),
        "short",
        Query(hourly, "{{workspace}}"),
        Query(before, "{{workspace}}, a week before", dashed=True),
    ).interval("5m")
    small = bars(
        "Smallest last runs, share of typical rows",
        About(
            "Rows of the last finished run, of the median of the last 20: the ten that are "
            "smallest. Only integrations that typically have rows.",
            "share of the typical rows; 100 % is normal.",
            "0 %: the run succeeded and found nothing, which is the failure of what fills the "
            "table.",
            "look in the warehouse whether the source table was filled.",
        ),
        "percentunit",
        "bottomk(10,\n"
        + both(
            "/",
            NOW.newest(catalog.LAST_SYNC_ROWS_SYNCED),
            f"({NOW.newest(catalog.TYPICAL_ROWS)} > 0)",
        )
        + "\n)",
        "{{workspace}} / {{integration_name}}",
        (None, VERMILION),
        (1 / LIMITS.rows_factor, YELLOW),
        (0.5, BLUE),
    )
    return Section("Is the volume normal?", [line(9, volume, small, widths=(14, 10))])
