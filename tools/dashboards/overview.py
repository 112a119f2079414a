"""The dashboard of all workspaces: what is broken, since when, and what to do."""

from tools.dashboards.board import (
    INTEGRATION_PAGE,
    OVERVIEW_UID,
    RUNBOOK,
    Section,
    advice,
    dashboard,
    line,
)
from tools.dashboards.exporter import TRUST, exporter
from tools.dashboards.panels import Json, Query, bars, lines, tile, timeline
from tools.dashboards.promql import (
    NOW,
    SAME,
    SHOWN,
    column,
    count,
    lanes,
    rise,
    share,
    since,
    trust,
)
from tools.dashboards.states import (
    BLUE,
    BY_NAME,
    CODES,
    FAINT,
    GREY,
    LANES,
    STATES,
    TEXTS,
    VERMILION,
    YELLOW,
)
from tools.dashboards.tables import Column, Label, table

NAME = "{{workspace}} / {{integration_name}}"
LANE_POINTS = 300
"""5 minutes per point in a day. More would cost Prometheus seconds of CPU with 200 integrations."""
CLOCK = "dateTimeAsIsoNoDateIfToday"


def overview() -> Json:
    """The dashboard."""
    first_screen = [
        line(2, _trust()),
        line(3, *map(_count, _TILES)),
        line(9, _table()),
        line(8, _timeline()),
    ]
    return dashboard(
        OVERVIEW_UID,
        "Braze CDI / Overview",
        "Syncs of Braze Cloud Data Ingestion: what is broken, since when, and what to do.",
        [
            Section("", first_screen),
            Section(
                "How many rows did not reach Braze?", [line(7, _failed_rows(), _failed_share())]
            ),
            Section(
                "Are volume and duration normal?",
                [line(6, _volume()), line(8, _small(), _slow())],
            ),
            exporter(),
            advice(),
        ],
        several=True,
    )


def _trust() -> Json:
    return tile(
        "Can this page be trusted?",
        """Whether the data of each workspace is current: the exporter answers Prometheus, and its
        last refresh succeeded. Workspaces with a problem come first; at most six are shown.
        Bad: anything but *data is current*, because what this page shows of that workspace is old.
        First: open the section on Braze's API below, then the exporter's status page.""",
        Query(f"sort_desc(topk(6,\n{trust()}\n))", "{{workspace}}"),
        unit="none",
        looks=TRUST,
        absent="No data: Prometheus has no series of cdi-exporter in this time range",
    )


_TILES = {
    "late": """Integrations whose last delivery (success or partial) is older than their limit:
        `stale_after` in the configuration, else derived from schedule and durations.
        Bad: any, because campaigns use old data.""",
    "error": """Integrations whose last finished run ended with `error`.
        Bad: one that stays; after a single failed run the next attempt often succeeds.""",
    "config_error": """Integrations whose last finished run ended with `config_error`.
        Bad: any, because no later run can succeed until somebody fixes the configuration.""",
    "partial": """Integrations whose last finished run delivered, but lost some rows.
        Bad: any that stays, because rows are lost run after run.""",
    "stuck": """Integrations with a run that has been in progress for more than 3 times its typical
        duration and at least an hour; 6 hours if no typical duration is known.
        Bad: any, because later runs may not start before it ends.""",
    "missed": """Integrations whose scheduled time passed at least 20 minutes ago, with no run
        started since then and none in progress.
        Bad: any, because nothing fails, and yet no data arrives.""",
}
_TITLES = {"error": "Failing", "config_error": "Config errors"}


def _count(name: str) -> Json:
    """The number of integrations in a state, in the colour of its lane."""
    state = BY_NAME[name]
    return tile(
        _TITLES.get(name, name.title()),
        f"{_TILES[name]} An integration can count in several tiles. First: {state.act}; click for "
        f"the runbook of BrazeCDI{state.alert}.",
        Query(count(NOW.condition(name))),
        steps=((None, FAINT), (1, state.colour)),
        link=f"{RUNBOOK}BrazeCDI{state.alert}.md",
    )


def _table() -> Json:
    actions = {CODES[each.name]: (each.act, "") for each in STATES}
    act = column(NOW.state("config_error", "stuck", "missed", "error"))
    lost = f"{rise('rows_failed_total')} and {SAME} {NOW.known}"
    age = f"time() - {NOW.value('last_delivery_timestamp_seconds')}"
    return table(
        "Integrations, the most urgent first",
        """Each integration, its most urgent state, when this state began, and what to do.
        *failures* is failed runs in a row, *running* the duration of the run in progress, *late
        after* the age of the last delivery at which the integration is late. *failed rows* and
        *since* cover the time range; *earlier* is before it.
        Bad: anything but success.
        First: do what the column says; click the name to see the integration's history.""",
        NOW.known,
        "integration_id",
        Label("integration_name", "integration", link=INTEGRATION_PAGE),
        Label("workspace", "workspace", 90),
        Column(
            "state",
            "state",
            column(NOW.state()),
            "none",
            115,
            "no run yet",
            looks=TEXTS,
            coloured=True,
            words=True,
        ),
        Column("since", "since", column(f"1000 * ({since()})"), CLOCK, 145, "earlier"),
        Column("act", "what to do", act, "none", 225, looks=actions, words=True),
        Column("failures", "failures", column(NOW.value("consecutive_failures")), "short", 75),
        Column("running", "running", column(f"time() - {NOW.running}"), "s", 85, decimals=1),
        Column("age", "last delivery", column(age), "s", 115, "none known", decimals=1),
        Column("limit", "late after", column(NOW.limit), "s", 85, "never", decimals=1),
        Column("lost", "failed rows", column(lost), "short", 85),
        sort=("state", "last delivery"),
    )


def _timeline() -> Json:
    return timeline(
        f"State over time, the {SHOWN} in most trouble",
        """The most urgent state of each integration at each moment. The integrations that are in
        most trouble now come first, then those that were in the time range. Faint: nothing was
        known, as during an outage of the exporter.
        Bad: the same colour at the same hour each day; several lanes that change together.
        First: if it is several, look at the warehouse, or at what changed then; if it is one, click
        its name above.""",
        LANES,
        Query(lanes(), NAME),
        points=LANE_POINTS,
    )


def _failed_rows() -> Json:
    return bars(
        "Failed rows, top 10",
        """Rows that Braze refused in runs that finished within the time range.
        Bad: a bar that was not there yesterday.
        First: read the errors of the integration's runs in Braze; fix the rows at their source.""",
        Query(f"topk(10, {rise('rows_failed_total')} > 0)", NAME),
        (None, VERMILION),
        unit="short",
    )


def _failed_share() -> Json:
    lost = share(rise("rows_failed_total"), rise("rows_synced_total"))
    made = bars(
        "Share of rows that failed, top 10",
        """Rows that Braze refused, of all rows of the integration's runs in the time range.
        Bad: 100 %, because nothing arrives, although runs may end as *partial*.
        First: read the errors in Braze; a changed column type fails every row.""",
        Query(f"topk(10, ({lost}) > 0)", NAME),
        (None, YELLOW),
        (0.05, VERMILION),
    )
    made["fieldConfig"]["defaults"]["max"] = 1
    return made


def _volume() -> Json:
    hour = rise("rows_synced_total", "1h", step="1m")
    before = rise("rows_synced_total", "1h", step="1m", offset=" offset 1w")
    return lines(
        "Rows synced per hour",
        """Rows that finished runs wrote to Braze within the hour before each moment; dashed, the
        same a week earlier.
        Bad: far from the dashed line, or zero although runs succeed.
        First: see below which integration is small; ask who fills its table.""",
        "short",
        Query(f"sum({hour})", "rows per hour", BLUE),
        Query(f"sum({before})", "a week earlier", GREY, dashed=True),
        interval="5m",
    )


def _small() -> Json:
    rows, typical = NOW.value("last_sync_rows_synced"), NOW.value("typical_sync_rows")
    return bars(
        "Fewest rows, of the typical number",
        """Rows of the last finished run, if it succeeded, as a share of the median of the last 20
        runs: the ten lowest.
        Bad: 0 %, because the run succeeded and found no rows: nobody filled the table.
        First: check in the warehouse whether the source table was filled.""",
        Query(
            f"bottomk(10, {rows} / ({typical} > 0) and {SAME} {NOW.status('success')})",
            NAME,
        ),
        (None, VERMILION),
        (0.1, YELLOW),
        (0.5, BLUE),
    )


def _slow() -> Json:
    took, typical = (NOW.value(f"{which}_sync_duration_seconds") for which in ("last", "typical"))
    return bars(
        "Longest runs, of the typical duration",
        """Duration of the last finished run as a share of the median of the last 20 runs: the
        ten highest.
        Bad: several far above 100 %, because Braze or the warehouse is slow for all.
        First: if it is several, check the warehouse's load and Braze's status page; if it is one,
        open its dashboard from the table above.""",
        Query(f"topk(10, {took} / ({typical} > 0))", NAME),
        (None, BLUE),
        (2, YELLOW),
        (3, VERMILION),
    )
