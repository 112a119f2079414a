"""The lines of the day files: those of a scrape, with additional labels and a timestamp."""

import re
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter import catalog
from cdi_exporter.backfill.day_files import FAMILIES, Lines, day_parts, segments_of
from cdi_exporter.backfill.plan import Grid
from cdi_exporter.exposition.writer import IntegrationLines
from cdi_exporter.model import Counters, Run, Status
from cdi_exporter.snapshot import Facts

FACTS = Facts(
    "one",
    "users",
    last=Run(Status.PARTIAL, 100.0, 160.5, 90.0, 12, 3),
    last_success=50.0,
    last_delivery=160.5,
    history_start=10.0,
    watermark=90.0,
    consecutive_failures=0,
    running=1,
    running_since=170.0,
    typical_interval=60.0,
    typical_duration=30.0,
    typical_rows=7.5,
    stale_after=900.0,
    counters=Counters(success=2, partial=1, rows_synced=30_000_000, duration_sum=4.5),
)


@settings(deadline=None)
@given(name=st.text(), workspace=st.text(min_size=1))
def test_a_line_equals_that_of_a_scrape_with_a_timestamp(name: str, workspace: str) -> None:
    """Names, labels, escapes and values equal those of the exposition, for any label text."""
    facts = Facts("one", name, counters=Counters(success=1), running=0)
    written = Lines(workspace, {})
    scraped = IntegrationLines(workspace, [facts])
    for metric in FAMILIES:
        served = scraped.of_facts(metric)
        count, text = written.of_family(metric, [(range(60, 61, 60), facts)])
        assert text == served.replace("\n", " 60\n")
        assert count == served.count("\n")


def test_the_labels_of_prometheus_are_sorted_with_the_others() -> None:
    """All labels are in alphabetical order, and their values are escaped."""
    lines = Lines("production", {"job": 'a"b', "cluster": "c"})
    _, text = lines.of_family(catalog.SYNCS_RUNNING, [(range(60, 61), FACTS)])
    assert text == (
        'braze_cdi_syncs_running{cluster="c",integration_id="one",integration_name="users",'
        'job="a\\"b",workspace="production"} 1.0 60\n'
    )


def test_the_lines_of_a_metric_are_grouped_and_in_order_of_time() -> None:
    """OpenMetrics requires all instants per status, and both parts of a summary per instant."""
    later = range(120, 241, 60)
    lines = Lines("w", {})
    count, text = lines.of_family(catalog.SYNCS, [(range(60, 61), FACTS), (later, FACTS)])
    found = re.findall(r'status="(\w+)".* (\d+)$', text, re.MULTILINE)
    statuses = ["success", "partial", "error", "config_error", "unknown"]
    assert found == [(each, str(at)) for each in statuses for at in (60, 120, 180, 240)]
    assert count == 20
    _, text = lines.of_family(catalog.SYNC_DURATION, [(later, FACTS)])
    found = re.findall(r"seconds_(\w+)\{.* (\d+)$", text, re.MULTILINE)
    assert found == [(part, str(at)) for at in later for part in ("count", "sum")]


def test_only_metrics_that_follow_from_runs_are_written() -> None:
    """Schedule, refresh and API series are not written, because their past is unknown."""
    names = {metric.name for metric in FAMILIES}
    assert names == {
        *(f"braze_cdi_last_sync_{each}" for each in ("status", "rows_synced", "rows_failed")),
        "braze_cdi_last_sync_duration_seconds",
        "braze_cdi_last_sync_start_timestamp_seconds",
        "braze_cdi_last_sync_finish_timestamp_seconds",
        "braze_cdi_last_success_timestamp_seconds",
        "braze_cdi_last_delivery_timestamp_seconds",
        "braze_cdi_history_start_timestamp_seconds",
        "braze_cdi_watermark_timestamp_seconds",
        "braze_cdi_consecutive_failures",
        "braze_cdi_syncs_running",
        "braze_cdi_running_sync_start_timestamp_seconds",
        *(f"braze_cdi_{each}_total" for each in ("syncs", "rows_synced", "rows_failed")),
        "braze_cdi_history_gaps_total",
        "braze_cdi_sync_duration_seconds",
        "braze_cdi_typical_sync_interval_seconds",
        "braze_cdi_typical_sync_duration_seconds",
        "braze_cdi_typical_sync_rows",
        "braze_cdi_stale_after_seconds",
    }


def test_a_state_lasts_until_the_next_one_and_across_midnight() -> None:
    """There are no samples before the first state, and each instant belongs to one state."""
    day = 86_400
    grid = Grid(day - 600, day + 600, 300)
    other = Facts("one", "other")
    past = [(day - 300, FACTS), (day + 300, other)]
    found = [
        (name, [(list(instants), facts) for instants, facts in segments])
        for (name, _), segments in segments_of(past, grid.days())
    ]
    assert found == [
        ("1970-01-01", [([day - 300], FACTS)]),
        ("1970-01-02", [([day], FACTS), ([day + 300, day + 600], other)]),
    ]


def test_parts_contain_their_number_of_samples() -> None:
    """These numbers are reported at the end, and compared with promtool."""
    grid = Grid(0, 600, 300)
    made = [*day_parts(Lines("w", {}), [(0, FACTS)], grid.days())]
    assert {each.day for each in made} == {"1970-01-01"}
    assert [each.family for each in made] == [*range(len(FAMILIES))]
    for each in made:
        assert zlib.decompress(each.text).count(b"\n") == each.samples
