"""Questions 1 and 2: what is stale, what failed, and whether a person must act."""

from cdi_exporter import catalog
from cdi_exporter.model import Status
from tools.dashboards.frame import INTEGRATION_PAGE
from tools.dashboards.layout import Section, line
from tools.dashboards.panels import NONE, About, Panel, coded, tile
from tools.dashboards.promql import KNOWN, NOW, column, count, last_status, share_failed
from tools.dashboards.rules import both
from tools.dashboards.statuses import BLUE, LOOKS, TEXTS, VERMILION, YELLOW
from tools.dashboards.tables import Column, Label, Rows, table_of


def freshness() -> Section:
    """What is late and what failed, then each integration."""
    late = tile(
        "Late",
        About(
            "Integrations whose last delivery (success or partial) is older than it may be: "
            "`stale_after` of the configuration, else derived from schedule and durations. "
            "Misconfigured ones count, too. Ages are measured to when an integration was last "
            "confirmed, as in the alerts.",
            "integrations.",
            "any: campaigns use old data.",
            "see the top of the table below; tell the campaign team.",
        ),
        count(NOW.late),
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
        count(NOW.status(status)),
        colours=((None, BLUE), (1, LOOKS[status].colour)),
        mappings=[NONE],
    )


def _integrations() -> Panel:
    failed = NOW.newest(catalog.LAST_SYNC_ROWS_FAILED)
    synced = NOW.newest(catalog.LAST_SYNC_ROWS_SYNCED)
    return table_of(
        "Integrations",
        About(
            "Each integration, the latest first: *age ÷ limit* is the age of its last delivery "
            "(success or partial) in terms of what it may be, late above 100 %. *status*, *rows* "
            "and *failed* are of the last finished run.",
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
            column(both("/", NOW.delivery_age, NOW.stale_after)),
            "percentunit",
            110,
            absent="never late",
            decimals=0,
            colours=((None, BLUE), (0.75, YELLOW), (1, VERMILION)),
        ),
        Column(
            "age",
            "last delivery ago",
            column(f"time() - {NOW.newest(catalog.LAST_DELIVERY)}"),
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
