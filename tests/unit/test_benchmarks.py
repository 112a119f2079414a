"""Figures of the benchmarks, and the simulated workspace that they measure."""

import argparse
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as every
from benchmarks import latency
from benchmarks.figures import (
    Spread,
    across,
    machine,
    machine_line,
    quantile,
    shown,
    sizes,
    table,
    write_json,
)
from benchmarks.world import KNOWN_RUNS, World
from tests.virtual import EPOCH


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_the_lowest_value_that_covers_the_share(
    values: list[float], share: float
) -> None:
    """It is one of the values, and no lower value covers the share."""
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < max(1, share * len(values))


def test_quantiles_of_1_to_100_are_the_numbers_themselves() -> None:
    """The lowest value is 1, the median 50 and the 99th percentile 99."""
    assert Spread.of([*map(float, range(100, 0, -1))]) == Spread(100, 1.0, 50.0, 99.0)


def test_a_quantile_of_no_values_is_shown_as_a_dash() -> None:
    assert math.isnan(quantile([], 0.5))
    assert shown(math.nan) == shown(None) == "-"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01234, "0.012"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (12345, "12,345"),
        ("static file", "static file"),
    ],
)
def test_a_cell_has_three_digits(value: object, text: str) -> None:
    """Floats are rounded to the precision of the measurement. Whole numbers are not rounded."""
    assert shown(value) == text


def test_a_table_is_markdown_with_numbers_aligned_right() -> None:
    """All lines have the same width."""
    assert table(["server", "ms"], [["file", 1.5], ["exporter", None]]).splitlines() == [
        "| server   |   ms |",
        "|:---------|-----:|",
        "| file     | 1.50 |",
        "| exporter |    - |",
    ]


def test_a_figure_missing_for_one_size_is_none() -> None:
    """The rows are the names of all figures. The columns are the sizes."""
    rows = across({"10": {"a": 1}, "100": {"a": 2, "b": 3}}, lambda one: one)
    assert rows == [["a", 1, 2], ["b", None, 3]]


def test_the_ratios_compare_the_library_with_the_exporter() -> None:
    """The median of the library's server is divided by that of the exporter."""
    taken = {
        name: {"p50": number, "p99": 10 * number, "server_cpu_ms": 100 * number}
        for name, number in ((latency.OURS, 3.0), (latency.CHANGED, 6.0), (latency.LIBRARY, 60.0))
    }
    found = latency.ratios(taken)
    assert found[f"{latency.LIBRARY} / {latency.OURS}: p50"] == 20.0
    assert found[f"{latency.LIBRARY} / {latency.CHANGED}: server_cpu_ms"] == 10.0
    assert f"{latency.LIBRARY} / {latency.OURS}: p99" not in found


def test_sizes_without_the_library_have_no_ratio() -> None:
    """The library takes too long at large sizes."""
    names = (latency.OURS, latency.CHANGED)
    assert latency.ratios({name: {"p50": 1.0, "server_cpu_ms": 1.0} for name in names}) == {}


def test_the_machine_is_described_without_its_name(tmp_path: Path) -> None:
    """The description contains cores and versions, but no host name."""
    described = machine()
    write_json(str(tmp_path / "all.json"), {"machine": described})
    assert json.loads((tmp_path / "all.json").read_text())["machine"] == described
    assert f"{described['cores']} cores" in machine_line(described)
    assert "node" not in described
    assert "host" not in described


def test_an_unknown_benchmark_is_refused() -> None:
    """The error lists the known names."""
    assert every.names("latency,footprint") == ["latency", "footprint"]
    with pytest.raises(argparse.ArgumentTypeError, match="'latncy' is none of detection, "):
        every.names("latncy")
    assert sizes("10,100") == [10, 100]


def test_the_simulated_world_changes_only_on_request() -> None:
    """A change adds finished runs to the next integrations, one integration after another."""
    world = World(3, lambda: EPOCH)
    assert {len(each.runs) for each in world.integrations} == {KNOWN_RUNS}
    world.change(2, runs=4)
    world.change(2)
    added = sorted(len(each.runs) - KNOWN_RUNS for each in world.integrations)
    assert added == [1, 4, 5]
    for each in world.integrations:
        starts = [run.start for run in each.runs]
        assert starts == sorted(set(starts))
        assert all((run.finish or math.inf) <= EPOCH * 1e6 for run in each.runs)
