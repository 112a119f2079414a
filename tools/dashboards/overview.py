"""The dashboard of all workspaces: questions 0 to 6, then 9 and 10."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from cdi_exporter import catalog
from tools.dashboards.advice import advice
from tools.dashboards.exporter import exporter
from tools.dashboards.frame import OVERVIEW_UID, board
from tools.dashboards.freshness import freshness
from tools.dashboards.layout import Section, line, place
from tools.dashboards.loss import loss
from tools.dashboards.panels import About, Query, bars, lines, timeline
from tools.dashboards.promql import (
    AN_HOUR,
    LIMITS,
    NOW,
    SHOWN,
    WEEK_AGO,
    rise,
    status_over_time,
    with_most_trouble,
)
from tools.dashboards.rules import both
from tools.dashboards.schedule import schedule
from tools.dashboards.statuses import BLUE, TEXTS_OVER_TIME, VERMILION, YELLOW
from tools.dashboards.trust import trust


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
            freshness(),
            loss(),
            schedule(),
            _pattern(),
            _volume(),
            exporter(),
            advice(),
        ],
    )
    return made.build()


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
    hourly = f"sum by (workspace) ({rise(catalog.ROWS_SYNCED, AN_HOUR)})"
    before = f"sum by (workspace) ({rise(catalog.ROWS_SYNCED, AN_HOUR, modifier=WEEK_AGO)})"
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
