"""The dashboard of one integration, or a few: questions 5 to 8, then 9 and 10."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from cdi_exporter import catalog
from cdi_exporter.catalog import INTEGRATION
from tools.dashboards.advice import advice
from tools.dashboards.exporter import exporter
from tools.dashboards.frame import INTEGRATION_UID, board
from tools.dashboards.layout import Section, line, place
from tools.dashboards.panels import NONE, About, Panel, Query, coded, heat, lines, tile, timeline
from tools.dashboards.promql import (
    AN_HOUR,
    CHOSEN,
    LIMITS,
    LOOKBACK,
    NOW,
    WEEK_AGO,
    column,
    last_status,
    per_integration,
    rise,
    running_over_time,
    status_over_time,
)
from tools.dashboards.rules import HOUR, MINUTE, both, by, newest
from tools.dashboards.statuses import (
    BLUE,
    FINISHED,
    LOOKS,
    TEXTS,
    TEXTS_AND_IDLE,
    VERMILION,
    YELLOW,
)
from tools.dashboards.tables import Column, Label, Rows, table_of

NAME = "{{integration_name}}"


def integration() -> Dashboard:
    """Since when, how much, how far, how fast."""
    made = board(
        INTEGRATION_UID,
        "Braze CDI / Integration",
        "One integration of Braze Cloud Data Ingestion: its runs, rows, freshness and durations. "
        "Choose it above.",
    )
    place(
        made,
        [_chosen(), _pattern(), _volume(), _watermark(), _speed(), exporter(), advice()],
    )
    return made.build()


def _chosen() -> Section:
    return Section("Which integration, and how is it now?", [line(4, *_tiles()), line(5, _facts())])


def _tiles() -> list[Panel]:
    status = tile(
        "Last run",
        About(
            "The status of the last finished run; of several integrations, the worst.",
            "a status.",
            "config error: a person must act. Error: the run failed.",
            "see what each status means at the bottom; see the error in Braze.",
        ),
        f"max(\n{last_status()}\n)",
        unit="none",
        mappings=[coded(TEXTS)],
    )
    late = tile(
        "Age ÷ limit",
        About(
            "Age of the last delivery (success or partial) in terms of what it may be; of several, "
            "the highest.",
            "share; late above 100 %.",
            "above 100 %: campaigns use old data.",
            "see below since when; tell the campaign team.",
        ),
        f"max(\n{both('/', NOW.delivery_age, NOW.stale_after)}\n)",
        unit="percentunit",
        colours=((None, BLUE), (0.75, YELLOW), (1, VERMILION)),
    )
    confirmed = tile(
        "Confirmed ago",
        About(
            "When the data of the integration was last confirmed by Braze; of several, the oldest.",
            "time ago.",
            "more than a few scrape intervals: what stands here is as old.",
            "see whether its workspace can be read, on the overview.",
        ),
        f"max(time() - {NOW.confirmed})",
        unit="s",
        colours=((None, BLUE), (15 * MINUTE, YELLOW), (HOUR, VERMILION)),
    )
    failures = tile(
        "Failed in a row",
        About(
            "Failed runs since the last other one; of several integrations, the most.",
            "runs.",
            "two and more: it does not mend itself.",
            "see the error of the last run in Braze.",
        ),
        f"max({NOW.newest(catalog.CONSECUTIVE_FAILURES)})",
        colours=((None, BLUE), (1, YELLOW), (LIMITS.failures_in_a_row, VERMILION)),
        mappings=[NONE],
    )
    running = tile(
        "Under way",
        About(
            "Runs under way.",
            "runs.",
            "several at once, or one for very long.",
            "compare *running for* with *typically*, on the overview.",
        ),
        f"sum({NOW.newest(catalog.SYNCS_RUNNING)})",
        colours=((None, BLUE),),
        mappings=[coded({0: ("none", BLUE)})],
    )
    runs = tile(
        "Successful runs",
        About(
            "Runs with status success, of all that finished within the time range.",
            "share of the runs.",
            "far below 100 %.",
            "see below when the others were.",
        ),
        _success_share(),
        unit="percentunit",
        colours=((None, VERMILION), (0.9, YELLOW), (0.99, BLUE)),
    )
    return [status, late, confirmed, failures, running, runs]


def _success_share() -> str:
    every = f"sum({rise(catalog.SYNCS, labels=catalog.SYNCS.labels)})"
    succeeded = rise(catalog.SYNCS, matchers='status="success"')
    return both("/", f"sum({succeeded})", f"({every} > 0)")


def _facts() -> Panel:
    info = newest(catalog.INTEGRATION_INFO, LOOKBACK, CHOSEN)
    return table_of(
        "What it is",
        About(
            "What Braze says of the integration, and what is typical for it: medians of its last "
            "20 runs. *late after*: the age of the last delivery at which it counts as late.",
            "each column's own: time, rows.",
            "a status other than active.",
            "the ID is the last part of the integration's address in Braze.",
        ),
        Rows("integration", info, "integration_id"),
        Label("workspace", "workspace", 110),
        Label("integration_name", "integration"),
        Label("integration_id", "ID", 280),
        Label("integration_type", "type", 100),
        Label("warehouse_type", "warehouse", 95),
        Label("integration_status", "in Braze", 75),
        _typical("interval", "every", catalog.TYPICAL_INTERVAL),
        _typical("duration", "takes", catalog.TYPICAL_DURATION),
        Column("rows", "rows", column(NOW.newest(catalog.TYPICAL_ROWS)), "short", 70),
        Column("limit", "late after", column(NOW.stale_after), "s", 90, absent="never", decimals=1),
        Column(
            "next",
            "next run",
            column(f"{NOW.newest(catalog.NEXT_SCHEDULED_SYNC)} * 1000"),
            "dateTimeFromNow",
            110,
            absent="no schedule",
        ),
        sort="integration",
    )


def _typical(ref: str, title: str, metric: catalog.Metric) -> Column:
    return Column(ref, title, column(NOW.newest(metric)), "s", 75, decimals=1)


def _pattern() -> Section:
    states = timeline(
        "Last run, and runs under way",
        About(
            "The status of the last finished run at each moment, and below it when a run was "
            "under way.",
            "a status; grey where nothing was known, faint where no run was under way.",
            "trouble at the same hour each day; a run under way that never ends.",
            "compare with the alerts that are marked, and with changes in the warehouse.",
        ),
        TEXTS_AND_IDLE,
        Query(status_over_time(), f"{NAME}, last run"),
        Query(running_over_time(), f"{NAME}, under way"),
    )
    runs = lines(
        "Finished runs by hour",
        About(
            "Runs that finished within the hour that ends at each bar, by status.",
            "runs.",
            "any colour but blue; fewer runs than usual.",
            "see the errors of these runs in Braze.",
        ),
        "short",
        Query(
            "sum by (status) (" + rise(catalog.SYNCS, AN_HOUR, labels=catalog.SYNCS.labels) + ")",
            "{{status}}",
        ),
    )
    runs.interval(AN_HOUR).stacked_bars().coloured(
        {status.value: LOOKS[status].colour for status in FINISHED}
    )
    return Section("When did it start, is it a pattern?", [line(8, states, runs, widths=(14, 10))])


def _volume() -> Section:
    rows = lines(
        "Rows of the last run",
        About(
            "Rows that the last finished run wrote; dashed, the median of the last 20 runs and "
            "the same time a week before.",
            "rows.",
            "far from the dashed lines. Zero: the run succeeded and found nothing.",
            "look in the warehouse whether the source table was filled.",
        ),
        "short",
        Query(per_integration(catalog.LAST_SYNC_ROWS_SYNCED), NAME),
        Query(per_integration(catalog.TYPICAL_ROWS), f"{NAME}, typical", dashed=True),
        Query(
            per_integration(catalog.LAST_SYNC_ROWS_SYNCED, WEEK_AGO),
            f"{NAME}, a week before",
            dashed=True,
        ),
    ).stepped()
    failed = lines(
        "Rows not written by the last run",
        About(
            "Rows that Braze refused in the last finished run.",
            "rows.",
            "any that the campaign team does not know of.",
            "see the errors of the run in Braze; correct these rows at their source.",
        ),
        "short",
        Query(per_integration(catalog.LAST_SYNC_ROWS_FAILED), NAME),
    ).stepped()
    return Section("Is the volume normal?", [line(8, rows, failed, widths=(14, 10))])


def _watermark() -> Section:
    ages = lines(
        "Age of the newest row, and of the last delivery",
        About(
            "How old the newest row is that Braze has (the watermark), how long ago the last run "
            "delivered rows (success or partial), and how long ago one succeeded; dashed, the age "
            "at which the integration is late.",
            "time; below zero, the newest row is in the future.",
            "the newest row ages while runs deliver: the warehouse is not refreshed, Braze is "
            "fine. All age: runs fail or do not start. Only the last success ages: each run loses "
            "rows. Below zero: Braze skips rows that are older than its newest.",
            "the newest row: ask who fills the table. All: see the status above.",
        ),
        "s",
        Query(f"time() - {per_integration(catalog.WATERMARK)}", f"{NAME}, newest row"),
        Query(f"time() - {per_integration(catalog.LAST_DELIVERY)}", f"{NAME}, last delivery"),
        Query(f"time() - {per_integration(catalog.LAST_SUCCESS)}", f"{NAME}, last success"),
        Query(per_integration(catalog.STALE_AFTER), f"{NAME}, late", dashed=True),
        right=True,
    )
    return Section("Is the watermark moving?", [line(8, ages)])


def _speed() -> Section:
    duration = lines(
        "Run duration",
        About(
            "How long the last finished run took, and the mean of the runs that finished within "
            "the hour before; dashed, the median of the last 20.",
            "time.",
            "rising for days, or far above the dashed line.",
            "look in the warehouse for a table that has grown, or for less capacity.",
        ),
        "s",
        Query(per_integration(catalog.LAST_SYNC_DURATION), NAME),
        Query(_mean_duration(), f"{NAME}, mean"),
        Query(per_integration(catalog.TYPICAL_DURATION), f"{NAME}, typical", dashed=True),
    ).stepped()
    all_of_workspace = heat(
        "Duration ÷ typical, all chosen",
        About(
            "How many integrations' last run took how much of their typical duration; choose "
            "*All* above to see every integration.",
            "share of the typical duration; 100 % is normal.",
            "a whole band that moves up: Braze or the warehouse is slow for all.",
            "several: see Braze's status page and the warehouse's load. One: see beside.",
        ),
        "percentunit",
        Query(
            both(
                "/",
                per_integration(catalog.LAST_SYNC_DURATION),
                f"({per_integration(catalog.TYPICAL_DURATION)} > 0)",
            ),
            NAME,
        ),
    )
    return Section("Is it getting slower?", [line(8, duration, all_of_workspace, widths=(14, 10))])


def _mean_duration() -> str:
    name = catalog.SYNC_DURATION.name
    seconds, runs = (
        f"max by {by(INTEGRATION)} (increase({name}_{part}{{{CHOSEN}}}[{AN_HOUR}]))"
        for part in ("sum", "count")
    )
    return both("/", seconds, f"({runs} > 0)")
