"""The report for people: golden files at two widths, and escaped control characters."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cdi_exporter.check import Report, show
from cdi_exporter.check.report import CheckedIntegration, LastRun
from cdi_exporter.config import ConfiguredIntegration, RateLimits, Refresh
from cdi_exporter.model import Status
from tests.harness import scripted, workspace
from tests.simulator import HISTORY, Fault, FaultKind, ScriptedIntegration, many
from tests.unit.check.checking import checked, simulated, text
from tests.virtual import EPOCH

GOLDEN = Path(__file__).parent / "golden"
HOUR = 3_600.0


def varied() -> list[ScriptedIntegration]:
    """Integrations with every status, a run in progress, and no run at all."""
    made = []
    for status in ("success", "partial", "error", "config_error", "paused"):
        each = ScriptedIntegration(f"id-{status}", f"{status.replace('_', '-')}-hourly")
        rows = (12_345, 678) if status in ("success", "partial") else (None, None)
        for hours in (3, 2, 1):
            start = EPOCH - hours * HOUR
            each.run(start, start + 95, status, rows_synced=rows[0], rows_failed=rows[1])
        made.append(each)
    made[0].run(EPOCH - 900)
    return [*made, ScriptedIntegration("id-never", "never-run")]


def works() -> Report:
    return checked(
        simulated(*varied(), scripted("left-out", runs=3)),
        workspaces=[
            workspace(
                "production", endpoint="https://rest.iad-03.braze.com", exclude=("sync-left-out",)
            )
        ],
    )


def unauthorized() -> Report:
    simulator = simulated(scripted("one"))
    simulator.key = "another"
    config = workspace("production", endpoint="https://rest.iad-03.braze.com")
    return checked(simulator, workspaces=[config])


def without_the_list() -> Report:
    names = (ConfiguredIntegration("one", "users"), ConfiguredIntegration("two"))
    simulator = simulated(
        scripted("one", runs=3), scripted("two", runs=3), permissions=["cdi.integration_job_status"]
    )
    return checked(simulator, workspaces=[workspace("production", integrations=names)])


def several() -> Report:
    hanging = [Fault(EPOCH - 1, EPOCH + 1e6, FaultKind.HANG)]
    return checked(
        simulated(scripted("one", runs=3)),
        simulated(permissions=[]),
        simulated(scripted("two"), faults=hanging),
    )


def large() -> Report:
    config = workspace("production", refresh=Refresh(rate_limits=RateLimits(4, 100)))
    faults = [Fault(EPOCH - 1, EPOCH + 1e6, FaultKind.NOT_JSON, endpoint=HISTORY, rate=0.1)]
    return checked(simulated(*many(45, seed=5), faults=faults, seed=1), workspaces=[config])


def offline() -> Report:
    config = workspace("production", endpoint="https://dashboard-03.braze.com")
    return checked(simulated(), workspaces=[config], offline=True)


CASES: list[Callable[[], Report]] = [
    works,
    unauthorized,
    without_the_list,
    several,
    large,
    offline,
]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("case", CASES)
def test_the_table_is_as_expected(case: Callable[[], Report], width: int) -> None:
    """Each line fits the width, nothing is cut, and the text equals the golden file."""
    reported = text(case(), width)
    assert all(len(line) <= width for line in reported.splitlines())
    assert "…" not in reported
    path = GOLDEN / f"{case.__name__.replace('_', '-')}-{width}.txt"
    assert reported == path.read_text("utf-8")


def test_no_colour_when_piped_and_colours_on_a_terminal() -> None:
    """A file gets text without colours."""
    assert "\x1b" not in text(works())
    out = io.StringIO()
    show(works(), Console(file=out, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[" in out.getvalue()


def test_control_characters_in_names_are_escaped() -> None:
    """Control characters are escaped, markup is text, and very long names are cut."""
    names = ["\x1b[2J\x07wiped", "[red]bold[/red]", "two\nlines", "x" * 5_000, "\u202eesrever"]
    several = [ScriptedIntegration(f"i{each}", name) for each, name in enumerate(names)]
    reported = text(checked(simulated(*several)))
    assert not any(char in reported for char in "\x1b\x07\u202e")
    assert "\\x1b[2J\\x07wiped" in reported
    assert "[red]bold[/red]" in reported
    assert reported.count("x") < 300
    assert max(len(line) for line in reported.splitlines()) <= 80


def test_the_longest_cells_leave_the_names_readable_at_80_columns() -> None:
    """The name gets its own line if the table would fold it to a few letters."""
    last = LastRun(
        Status.CONFIG_ERROR, EPOCH - 86_000, EPOCH - 1_000_000, 86_340.0, 123_456_789, 123_456_789
    )
    name = "users-and-subscriptions-of-the-loyalty-programme"
    long = CheckedIntegration("one", name, last_run=last, running_start_timestamp_seconds=1.0)
    report = works()
    narrow = replace(report.workspaces[0], integrations=(long,))
    reported = text(replace(report, workspaces=(narrow,)), 80)
    assert all(len(line) <= 80 for line in reported.splitlines())
    assert all(
        part in reported for part in ("users-and-subscriptions", "⚙ config error", "123,456,789")
    )
    assert len(reported.splitlines()) < 28
