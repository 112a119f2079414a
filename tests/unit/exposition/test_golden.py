"""The page of a hand-written snapshot, byte by byte."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cdi_exporter import catalog
from cdi_exporter.exposition import (
    Exposition,
    Format,
    own_families,
    process_collectors,
    write_families,
)
from cdi_exporter.exposition.families import Values
from cdi_exporter.model import Run, Status
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.library_families import workspace_families

GOLDEN = Path(__file__).parent / "golden"


def samples_of(*workspaces: WorkspaceSnapshot) -> dict[tuple[Any, ...], float]:
    """The samples of a rendered page, by name and labels."""
    page = Exposition().render(workspaces, Format()).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def names_of(*workspaces: WorkspaceSnapshot) -> set[str]:
    """The names of the samples on a rendered page."""
    return {name for name, *_ in samples_of(*workspaces)}


def one(facts: Facts | None = None, **fields: Any) -> WorkspaceSnapshot:
    """A workspace with one integration."""
    facts = facts or Facts(id="a", name="a")
    return WorkspaceSnapshot("w", integrations=(IntegrationSnapshot(facts, **fields),))


@pytest.mark.parametrize(
    ("openmetrics", "golden"), [(False, "page.txt"), (True, "page.openmetrics.txt")]
)
def test_the_page_equals_the_golden_file(
    full: WorkspaceSnapshot, quiet: WorkspaceSnapshot, openmetrics: bool, golden: str
) -> None:
    """The page of a known snapshot equals the reviewed and committed file."""
    page = Exposition().render([full, quiet], Format(openmetrics))
    assert page.decode() == (GOLDEN / golden).read_text("utf-8")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_page_equals_that_of_prometheus_client(
    full: WorkspaceSnapshot, quiet: WorkspaceSnapshot, openmetrics: bool
) -> None:
    page = Exposition().render([full, quiet], Format(openmetrics))
    families = workspace_families([full, quiet])
    assert page == write_families(families, openmetrics=openmetrics)


def test_full_snapshot_shows_the_whole_catalog_and_nothing_else(full: WorkspaceSnapshot) -> None:
    """The page has every metric of the catalog, in its order, and those of prometheus_client."""
    own = own_families(
        {each: {("1",) * len(each.labels): 1.0} for each in catalog.OWN}, process_collectors()
    )
    page = Exposition().render([full], Format(), own=own).decode()
    shown = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    ours = [name for name in shown if not name.startswith(("process_", "python_"))]
    assert ours == [metric.name for metric in catalog.CATALOG]
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"} <= set(
        shown
    )


def test_types_and_help_texts_are_those_of_the_catalog(full: WorkspaceSnapshot) -> None:
    page = Exposition().render([full], Format()).decode()
    for metric in (*catalog.PER_INTEGRATION, *catalog.PER_WORKSPACE):
        assert f"# HELP {metric.name} {metric.help}\n" in page
        assert f"# TYPE {metric.name} {metric.type}\n" in page


def test_labels_are_those_of_the_catalog(full: WorkspaceSnapshot) -> None:
    """A sample has the catalog's labels, except for `le` of a histogram."""
    for family in workspace_families([full]):
        (metric,) = (m for m in catalog.CATALOG if m.name.removesuffix("_total") == family.name)
        for sample in family.samples:
            assert [name for name in sample.labels if name != "le"] == list(metric.labels)


def test_unknown_values_have_no_sample(quiet: WorkspaceSnapshot) -> None:
    """A new integration has counters at 0 and its info; a new workspace has almost no samples."""
    assert names_of(one()) == {
        "braze_cdi_syncs_total",
        "braze_cdi_rows_synced_total",
        "braze_cdi_rows_failed_total",
        "braze_cdi_sync_duration_seconds_count",
        "braze_cdi_sync_duration_seconds_sum",
        "braze_cdi_history_gaps_total",
        "braze_cdi_integration_info",
        "braze_cdi_integrations",
        "braze_cdi_history_reads_pending",
    }
    assert names_of(quiet) == {"braze_cdi_history_reads_pending"}
    assert Exposition().render([], Format()) == b""


def test_a_shared_database_and_its_leaders_are_shown() -> None:
    """With --state.url the samples are 0 or 1 per workspace. Without it there are none."""

    def shown(database_up: float | None = None, **leaders: bool) -> str:
        up: Values = {} if database_up is None else {(): database_up}
        leads: Values = {(name,): float(each) for name, each in leaders.items()}
        own = own_families({catalog.DATABASE_UP: up, catalog.LEADER: leads})
        return Exposition().render([], Format(), own=own).decode()

    page = shown(database_up=False, **{"produc\ntion": True, "europe": False})
    assert "\ncdi_exporter_database_up 0.0\n" in page
    assert '\ncdi_exporter_leader{workspace="produc\\ntion"} 1.0\n' in page
    assert '\ncdi_exporter_leader{workspace="europe"} 0.0\n' in page
    assert "\ncdi_exporter_database_up 1.0\n" in shown(database_up=True)
    assert "cdi_exporter_leader" not in shown(database_up=True)
    assert "cdi_exporter_database" not in shown()


def test_last_sync_status_is_1_for_exactly_one_status() -> None:
    """There is one sample per status: 1 for the status of the last run, and 0 for the others."""
    for status in (Status.SUCCESS, Status.UNKNOWN):
        page = samples_of(one(Facts(id="a", name="a", last=Run(status, start=1.0))))
        shown = {
            dict(labels)["status"]: value
            for (name, *labels), value in page.items()
            if name == "braze_cdi_last_sync_status"
        }
        assert shown == {
            each: float(each == status)
            for each in ("success", "partial", "error", "config_error", "unknown")
        }


def test_run_that_ends_before_it_starts_has_no_duration() -> None:
    """A finish before the start gives no duration, but both times are shown."""
    run = Run(Status.SUCCESS, start=20.0, finish=10.0)
    names = names_of(one(Facts(id="a", name="a", last=run)))
    assert "braze_cdi_last_sync_duration_seconds" not in names
    assert "braze_cdi_last_sync_finish_timestamp_seconds" in names


def test_known_zero_is_shown() -> None:
    """A value of 0 has a sample; an unknown value has none."""
    facts = Facts(id="a", name="a", running=0, consecutive_failures=0)
    page = samples_of(one(facts, up=False))
    labels = (("integration_id", "a"), ("integration_name", "a"), ("workspace", "w"))
    assert page["braze_cdi_syncs_running", *labels] == 0
    assert page["braze_cdi_consecutive_failures", *labels] == 0
    assert page["braze_cdi_integration_up", *labels] == 0


def test_refresh_error_is_all_zero_after_a_successful_refresh(quiet: WorkspaceSnapshot) -> None:
    """After a successful refresh each reason is 0, and `braze_cdi_up` is 1."""
    page = samples_of(replace(quiet, up=True))
    reasons = [value for (name, *_), value in page.items() if name == "braze_cdi_refresh_error"]
    assert reasons == [0.0] * 8
    assert page["braze_cdi_up", ("workspace", "staging")] == 1
    assert page["braze_cdi_integrations", ("workspace", "staging")] == 0


def test_families_stay_together_over_workspaces(full: WorkspaceSnapshot) -> None:
    """With several workspaces each family is on the page once."""
    page = Exposition().render([full, replace(full, name="other")], Format()).decode()
    families = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    order = [
        sample.labels["workspace"]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "braze_cdi_rows_synced_total"
    ]
    assert order == ["production", "production", "other", "other"]
