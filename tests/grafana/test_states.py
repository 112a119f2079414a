"""The dashboards' states of an integration or workspace, evaluated over given series."""

from pathlib import Path

from tests.grafana.grafana import DASHBOARDS, expressions
from tests.grafana.promtool import check
from tools.dashboards.promql import (
    CURRENT,
    LIST_UNREADABLE,
    NOW,
    OLD,
    REASON_CODES,
    SILENT,
    UNREADABLE,
    column,
    lanes,
    limit_left,
    since,
    trust,
)
from tools.dashboards.states import CODES, NO_DATA_CODE, UNKNOWN_CODE

STATUSES = ("success", "partial", "error", "config_error", "unknown")
HOUR = 3600


def labels(name: str, **more: str) -> str:
    """The labels of an integration in promtool's notation."""
    every = {"integration_id": f"id-{name}", "integration_name": name, "workspace": "w"} | more
    return "{" + ",".join(f'{label}="{value}"' for label, value in every.items()) + "}"


def last_status(name: str, status: str) -> str:
    """The series that is 1 while this is the status of the last run."""
    return f"braze_cdi_last_sync_status{labels(name, status=status)}"


def integration(name: str, status: str = "success", **values: object) -> dict[str, str]:
    """Three hours of an integration, confirmed each minute, with a delivery at the start."""
    shown: dict[str, object] = {
        "integration_info": "1x180",
        "integration_last_refresh_timestamp_seconds": "0+60x180",
        "last_delivery_timestamp_seconds": "0x180",
        "stale_after_seconds": f"{24 * HOUR}x180",
        "last_sync_start_timestamp_seconds": "0x180",
        "syncs_running": "0x180",
    } | values
    series = {f"braze_cdi_{metric}{labels(name)}": str(each) for metric, each in shown.items()}
    for each in STATUSES:
        series[last_status(name, each)] = f"{int(each == status)}x180"
    return series


TROUBLES = (
    integration("a-well")
    | integration("b-late", stale_after_seconds=f"{HOUR}x180")
    | integration("c-late-config", "config_error", stale_after_seconds=f"{HOUR}x180")
    | integration(
        "d-stuck",
        "error",
        syncs_running="1x180",
        running_sync_start_timestamp_seconds="600x180",
        typical_sync_duration_seconds="60x180",
    )
    | integration("e-missed", next_scheduled_sync_timestamp_seconds="1200x180")
    | integration(
        "f-runs-late", next_scheduled_sync_timestamp_seconds="1200x180", syncs_running="1x180"
    )
    | integration("g-partial", "partial")
)
STATES = {
    "a-well": "success",
    "b-late": "late",
    "c-late-config": "config_error",
    "d-stuck": "stuck",
    "e-missed": "missed",
    "f-runs-late": "success",
    "g-partial": "partial",
}


def test_the_most_urgent_state_is_shown(tmp_path: Path) -> None:
    """Misconfigured ranks above late, and stuck ranks above failing."""
    states = {labels(name): float(CODES[state]) for name, state in STATES.items()}
    check(tmp_path, TROUBLES, "3h", {NOW.state(): states})


def test_the_advice_depends_on_the_cause_of_lateness(tmp_path: Path) -> None:
    """If a run of a late integration is stuck, the advice is to check that run."""
    late = f"{HOUR}x180"
    series = integration("late", "error", stale_after_seconds=late) | integration(
        "both",
        stale_after_seconds=late,
        syncs_running="1x180",
        running_sync_start_timestamp_seconds="600x180",
    )
    states = {labels("late"): float(CODES["late"]), labels("both"): float(CODES["late"])}
    causes = {labels("late"): float(CODES["error"]), labels("both"): float(CODES["late"])}
    check(tmp_path, series, "3h", {NOW.state(): states, NOW.state("stuck", "error"): causes})


def test_a_state_has_the_right_start(tmp_path: Path) -> None:
    """Late starts at the limit, stuck at the start of the run, and a status when it changes.

    A status that is older than the time range of an hour has no start.
    """
    failed = integration("h-failed", "error")
    failed[last_status("h-failed", "error")] = "0x149 1x30"
    failed[last_status("h-failed", "success")] = "1x149 0x30"
    starts = {
        labels("b-late"): HOUR,
        labels("d-stuck"): 600,
        labels("e-missed"): 1200,
        labels("h-failed"): 149 * 60,
    }
    check(tmp_path, TROUBLES | failed, "3h", {since(): starts})


def test_a_run_that_ended_is_not_running(tmp_path: Path) -> None:
    """Its start stays in the lookback for five minutes but is not shown."""
    series = integration(
        "ended",
        syncs_running="1x59 0x120",
        running_sync_start_timestamp_seconds="600x59 stale",
        typical_sync_duration_seconds="60x180",
    )
    ended = {'{integration_id="id-ended"}': UNKNOWN_CODE}
    check(tmp_path, series, "62m", {NOW.running: {}, NOW.stuck: {}, column(NOW.running): ended})
    check(tmp_path, series, "58m", {NOW.running: {labels("ended"): 600}})


def test_nothing_becomes_late_or_missed_while_braze_cannot_be_read(tmp_path: Path) -> None:
    """Ages stop when Braze last confirmed the data. A missed schedule needs a readable list."""
    series = integration(
        "blind",
        stale_after_seconds=f"{HOUR}x180",
        integration_last_refresh_timestamp_seconds="0+60x30 1800x150",
    ) | integration("unlisted", next_scheduled_sync_timestamp_seconds="1200x180")
    series['braze_cdi_list_readable{workspace="w"}'] = "0x180"
    check(tmp_path, series, "3h", {NOW.late: {}, NOW.missed: {}})


def test_the_worst_lane_comes_first(tmp_path: Path) -> None:
    """The label that sorts before all others has the lowest value for the most urgent state."""
    ranks = {"a-well": 889, "c-late-config": 119, "g-partial": 779, "f-runs-late": 889}
    lane = {
        labels(each, _rank=str(rank)): float(CODES[STATES[each]]) for each, rank in ranks.items()
    }
    steady = {
        key: values for key, values in TROUBLES.items() if any(f'"{each}"' in key for each in ranks)
    }
    check(tmp_path, steady, "3h", {lanes(): lane})


def test_a_lane_without_samples_shows_no_data(tmp_path: Path) -> None:
    """The exporter was last scraped ten minutes ago."""
    series = {key: f"{values.split()[0]} stale" for key, values in integration("gone").items()}
    series = {key: values.replace("x180", "x170") for key, values in series.items()}
    expected = {labels("gone", _rank="889"): float(NO_DATA_CODE)}
    check(tmp_path, series, "3h", {lanes(): expected})


def test_a_workspace_shows_why_its_data_is_unreliable(tmp_path: Path) -> None:
    """If there are two instances, the state of the one that can read counts."""
    series = {
        'braze_cdi_up{workspace="well"}': "1x60",
        'braze_cdi_last_refresh_timestamp_seconds{workspace="well"}': "0+60x60",
        'braze_cdi_list_readable{workspace="well"}': "1x60",
        'braze_cdi_up{workspace="by ID"}': "1x60",
        'braze_cdi_up{workspace="no list"}': "1x60",
        'braze_cdi_list_readable{workspace="no list"}': "0x60",
        'braze_cdi_up{workspace="old"}': "1x60",
        'braze_cdi_last_refresh_timestamp_seconds{workspace="old"}': "60x60",
        'braze_cdi_up{workspace="one of two",instance="a"}': "0x60",
        'braze_cdi_refresh_error{workspace="one of two",instance="a",reason="timeout"}': "1x60",
        'braze_cdi_up{workspace="one of two",instance="b"}': "1x60",
        'braze_cdi_up{workspace="down"}': "0x60",
        'braze_cdi_list_readable{workspace="down"}': "0x60",
        'braze_cdi_refresh_error{workspace="down",reason="timeout"}': "1x60",
        'braze_cdi_up{workspace="for no reason"}': "0x60",
        'braze_cdi_up{workspace="gone"}': "1x40 stale",
    }
    states = {
        "well": CURRENT,
        "by ID": CURRENT,
        "no list": LIST_UNREADABLE,
        "old": OLD,
        "one of two": CURRENT,
        "down": REASON_CODES["timeout"],
        "for no reason": UNREADABLE,
        "gone": SILENT,
    }
    expected = {f'{{workspace="{name}"}}': float(code) for name, code in states.items()}
    check(tmp_path, series, "1h", {trust(): expected})


def test_the_rate_limit_shown_is_the_leaders(tmp_path: Path) -> None:
    """Of two exporters that share a database, the former leader still has old values."""
    of, shown = 'workspace="w",endpoint="integrations"', 'workspace="w", endpoint="integrations"'
    series = {
        f'braze_cdi_api_rate_limit{{instance="a",{of}}}': "50x60",
        f'braze_cdi_api_rate_limit{{instance="b",{of}}}': "50x60",
        f'braze_cdi_api_rate_limit_remaining{{instance="a",{of}}}': "45x60",
        f'braze_cdi_api_rate_limit_remaining{{instance="b",{of}}}': "10x60",
        f'braze_cdi_api_rate_limit_reset_timestamp_seconds{{instance="a",{of}}}': "600x60",
        f'braze_cdi_api_rate_limit_reset_timestamp_seconds{{instance="b",{of}}}': "60+60x60",
    }
    after = {f"{{{shown}}}": 0.2}
    expected = {limit_left(): after, limit_left(lookback="5m"): after}
    check(tmp_path, series, "30m", expected)
    drawn = "\n".join(expressions(DASHBOARDS["braze-cdi-overview"]).values())
    assert limit_left(endpoint="integrations") in drawn
    assert limit_left(lookback="5m") in drawn
