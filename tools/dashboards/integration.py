"""The dashboard of one integration: state, rows, ages and durations."""

from tools.dashboards.board import INTEGRATION_UID, Section, advice, dashboard, line
from tools.dashboards.panels import (
    STACKED,
    STEPPED,
    Json,
    Query,
    coloured,
    lines,
    tile,
    timeline,
)
from tools.dashboards.promql import (
    CHOSEN,
    EACH,
    NOW,
    THEN,
    column,
    newest,
    no_data,
    rise,
    run_lane,
    series,
    since,
)
from tools.dashboards.states import (
    BLUE,
    BY_NAME,
    FAINT,
    GREY,
    LIGHT_BLUE,
    RUN_LANES,
    SALMON,
    TEXTS,
    VERMILION,
    YELLOW,
)
from tools.dashboards.tables import Column, Label, table


def integration() -> Json:
    """The dashboard."""
    return dashboard(
        INTEGRATION_UID,
        "Braze CDI / Integration",
        "One integration of Braze Cloud Data Ingestion: its state, runs, rows, freshness and "
        "durations.",
        [
            Section("", [line(3, *_tiles()), line(4, _facts()), line(5, _states())]),
            Section(
                "Is it a pattern? Is the volume normal?", [line(8, _runs(), _rows(), _failed())]
            ),
            Section(
                "Is the watermark moving? Is it getting slower?",
                [line(8, _ages(), _duration(), widths=(14, 10))],
            ),
            advice(),
        ],
        several=False,
    )


def _tiles() -> list[Json]:
    return [
        tile(
            "State",
            """The integration's most urgent state now.
            Bad: anything but success.
            First: see what to do in each state at the bottom of this page.""",
            Query(f"max({NOW.state()})"),
            unit="none",
            looks=TEXTS,
            absent="no run yet",
        ),
        tile(
            "Since",
            """When this state began. *earlier*: before the time range.
            Bad: a long time, unless the state is success.
            First: choose a time range that contains the beginning; see what changed then.""",
            Query(f"1000 * max({since()})"),
            unit="dateTimeFromNow",
            absent="earlier",
        ),
        tile(
            "Last delivery",
            """How long ago a run last delivered rows (success or partial), and the age at which the
            integration is late.
            Bad: an age above the limit, because campaigns use old data.
            First: see why runs fail or do not start; inform the campaign team.""",
            Query(f"time() - max({NOW.value('last_delivery_timestamp_seconds')})", "ago"),
            Query(f"max({NOW.limit})", "late after"),
            unit="s",
            absent="none known",
        ),
        tile(
            "Failed in a row",
            """Failed runs since the last delivery.
            Bad: two or more, because it rarely recovers by itself then.
            First: read the error of the last run in Braze.""",
            Query(f"max({NOW.value('consecutive_failures')})"),
            steps=((None, FAINT), (1, YELLOW), (2, VERMILION)),
        ),
        tile(
            "Running for",
            """How long the run in progress has taken, and how long runs typically take.
            Bad: far above the typical duration.
            First: look for the run's query in the warehouse.""",
            Query(f"time() - min({NOW.running}) or 0 * max({NOW.known}) - 1", "now"),
            Query(f"max({NOW.value('typical_sync_duration_seconds')})", "typical"),
            unit="s",
            absent="idle",
        ),
        tile(
            "Next run",
            """When Braze has scheduled the next run. *no schedule*: event-driven or paused, or the
            schedule was removed.
            Bad: a time in the past without a run in progress.
            First: check in Braze whether the integration is paused.""",
            Query(f"1000 * max({NOW.value('next_scheduled_sync_timestamp_seconds')})"),
            unit="dateTimeFromNow",
            absent="no schedule",
        ),
    ]


def _facts() -> Json:
    labels = f"{EACH}, integration_type, warehouse_type, integration_status"
    lost = column(f"1000 * {NOW.value('schedule_lost_timestamp_seconds')}")
    interval, duration, rows = (
        column(NOW.value(f"typical_sync_{what}"))
        for what in ("interval_seconds", "duration_seconds", "rows")
    )
    return table(
        "Facts",
        """What Braze reports about the integration, and what is typical: medians of its last 20
        runs. *schedule lost*: since when Braze lists no next run, if it did within the last 7 days.
        Bad: a status other than active; a lost schedule that nobody knows of.
        First: find the integration in Braze: the ID is the last part of its address there.""",
        newest(series("integration_info", CHOSEN), labels),
        "integration_id",
        Label("integration_name", "integration"),
        Label("workspace", "workspace", 90),
        Label("integration_id", "ID", 310),
        Label("integration_type", "type", 100),
        Label("warehouse_type", "warehouse", 95),
        Label("integration_status", "in Braze", 75),
        Column("interval", "runs every", interval, "s", 85, decimals=1),
        Column("duration", "takes", duration, "s", 75, decimals=1),
        Column("typical", "rows", rows, "short", 60),
        Column("lost", "schedule lost", lost, "dateTimeFromNow", 110),
        sort=("integration",),
    )


def _states() -> Json:
    return timeline(
        "State, and runs in progress",
        """The integration's most urgent state at each moment, and when a run was in progress.
        Faint: nothing was known, or nothing was running.
        Bad: trouble at the same hour each day; a run that never ends.
        First: compare with what changed in the warehouse; switch on the annotations above.""",
        RUN_LANES,
        Query(f"{THEN.state()}\nor {no_data()}", "state"),
        Query(run_lane(), "run"),
        points=1500,
    )


def _runs() -> Json:
    statuses = ("success", "partial", "unknown", "error", "config_error")
    finished = rise("syncs_total", "1h", step="1m", by=f"{EACH}, status")
    return lines(
        "Finished runs per hour",
        """Runs that finished within the hour that ends at each bar, by status.
        Bad: any status but success; fewer runs than usual.
        First: read the errors of these runs in Braze.""",
        "short",
        Query(f"sum by (status) ({finished})", "{{status}}"),
        interval="1h",
        custom=STACKED,
        overrides=coloured({each: BY_NAME[each].colour for each in statuses}),
    )


def _rows() -> Json:
    week_ago = f"max by ({EACH}) ({series('last_sync_rows_synced', CHOSEN)} offset 1w)"
    return lines(
        "Rows of the last run",
        """Rows that the last finished run wrote; dashed, the median of the last 20 runs and the
        same time a week earlier.
        Bad: far from the dashed lines, or zero, because the run succeeded and found no rows.
        First: check in the warehouse whether the source table was filled.""",
        "short",
        Query(THEN.value("last_sync_rows_synced"), "last run", BLUE),
        Query(THEN.value("typical_sync_rows"), "typical", GREY, dashed=True),
        Query(week_ago, "a week earlier", LIGHT_BLUE, dashed=True),
        custom=STEPPED,
    )


def _failed() -> Json:
    return lines(
        "Failed rows of the last run",
        """Rows that Braze refused in the last finished run.
        Bad: any that the campaign team does not know of.
        First: read the errors of the run in Braze; fix the rows at their source.""",
        "short",
        Query(THEN.value("last_sync_rows_failed"), "failed rows", VERMILION),
        custom=STEPPED,
    )


def _ages() -> Json:
    watermark, delivery, success = (
        f"time() - {THEN.value(f'{name}_timestamp_seconds')}"
        for name in ("watermark", "last_delivery", "last_success")
    )
    return lines(
        "Age of the newest row and of the last delivery",
        """The age of the newest row in Braze (the watermark), of the last delivery (success or
        partial) and of the last success; dashed, the age at which the integration is late. Below
        zero, the newest row is in the future.
        Bad: only the newest row ages, because the source table is not refreshed and Braze is fine;
        all age, because runs fail or do not start; or only the last success ages, because every
        run loses rows.
        First: if it is the newest row, ask who fills the table; otherwise see the state above.""",
        "s",
        Query(watermark, "newest row", LIGHT_BLUE),
        Query(delivery, "last delivery", BLUE),
        Query(success, "last success", SALMON),
        Query(THEN.value("stale_after_seconds"), "late after", GREY, dashed=True),
        custom={"fillOpacity": 0},
    )


def _duration() -> Json:
    return lines(
        "Run duration",
        """How long the last finished run took; dashed, the median of the last 20 runs.
        Bad: rising for days, or far above the dashed line.
        First: check in the warehouse whether the table has grown, or capacity has shrunk.""",
        "s",
        Query(THEN.value("last_sync_duration_seconds"), "last run", BLUE),
        Query(THEN.value("typical_sync_duration_seconds"), "typical", GREY, dashed=True),
        custom=STEPPED,
    )
