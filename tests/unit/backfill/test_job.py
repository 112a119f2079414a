"""A whole backfill job: its output, its files, and what a second run does."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from cdi_exporter.backfill import parse_moment
from cdi_exporter.config import StaleAfter
from cdi_exporter.errors import ConfigError, StartError
from cdi_exporter.model import Run, Status
from tests.harness import workspace
from tests.simulator import HISTORY, LIST, ScriptedIntegration
from tests.unit.backfill.backfilling import (
    LABELS,
    Printed,
    at,
    backfill,
    files,
    options,
    samples,
    simulated,
    ticking,
)
from tests.virtual import EPOCH

DAYS_AGO = 86_400.0
INSTANT = int(EPOCH // 240 * 240)
BY_DATE = {
    "since": parse_moment("2026-09-20T00:00:00Z"),
    "until": parse_moment("2026-09-21T00:00:00Z"),
}


def every(seconds: float, identifier: str = "one", days: float = 40.0) -> ScriptedIntegration:
    """Successful runs, each half as long as the interval, the last one just finished."""
    integration = ScriptedIntegration(identifier, f"sync-{identifier}", next_run=EPOCH + 60)
    for number in range(int(days * 86_400 / seconds), 0, -1):
        start = EPOCH - seconds * number
        integration.run(start, start + seconds / 2, rows_synced=number)
    return integration


def number(pattern: str, printed: Printed) -> int:
    """The number in one of the printed lines."""
    found = re.search(pattern, "\n".join(printed.lines))
    assert found, printed.lines
    return int(found[1])


def test_a_dry_run_estimates_requests_time_and_size_and_stops(tmp_path: Path) -> None:
    """Only the newest pages are read, and they are not read again later."""
    braze = ticking(every(3600.0, "hourly"), every(86_400.0, "daily", days=100))
    chosen = options(tmp_path, since=parse_moment("30d"), until=parse_moment("3h"), dry_run=True)
    printed = backfill(chosen, braze)
    assert printed.lines == [
        "listing the integrations of 1 workspace",
        "2 integrations; reading the newest page of each for the estimate",
        "2026-08-22T14:16:00Z to 2026-09-21T11:12:00Z, one sample every 4m: 10755 instants",
        "about 79 requests left, 1m58s at half of the budget share",
        f"about 104 MB of OpenMetrics text in at most 31 files in {tmp_path}",
    ]
    assert printed.progress == ["first pages: 2 of 2, 0 left, about 0s to go"]
    assert not files(tmp_path)
    assert len(braze.traffic[HISTORY].times) == 2
    backfill(options(tmp_path, since=parse_moment("30d"), until=parse_moment("3h")), braze)
    assert len(braze.traffic[HISTORY].times) <= 2 + 79 + 2


@pytest.mark.parametrize("seconds", [300.0, 3600.0, 86_400.0])
def test_the_estimate_is_close_to_the_result(tmp_path: Path, seconds: float) -> None:
    """The number of requests and bytes is close for frequent and rare syncs."""
    chosen = options(tmp_path, since=parse_moment("10d"), until=parse_moment("3h"))
    braze = simulated(every(seconds))
    printed = backfill(chosen, braze)
    requests = number(r"about (\d+) requests? left", printed)
    assert len(braze.traffic[HISTORY].times) - 1 == pytest.approx(requests, abs=2, rel=0.05)
    size = number(r"about (\d+) MB of", printed)
    assert sum(path.stat().st_size for path in files(tmp_path)) == pytest.approx(
        size * 1e6, rel=0.15
    )


def test_the_written_files_and_the_next_command_are_printed_at_the_end(tmp_path: Path) -> None:
    """It prints samples, bytes, files, and the command that creates blocks from them."""
    output = tmp_path / "a folder"
    printed = backfill(options(output, step=3600.0), simulated(every(3600.0)))
    written = sum(map(len, samples(output).values()))
    assert printed.lines[-3] == f"{written} samples, {_size(output)} kB, in 2 files in {output}"
    assert printed.lines[-2] == (
        f"next: (for file in '{output}'/braze-cdi-*.om; do"
        ' promtool tsdb create-blocks-from openmetrics "$file" BLOCKS || exit; done)'
        " && mv BLOCKS/* DATA/"
    )
    assert printed.lines[-1] == (
        "DATA: Prometheus' --storage.tsdb.path; BLOCKS: a new folder next to it"
    )
    assert [path.name for path in files(output)] == [
        "braze-cdi-2026-09-20.om",
        "braze-cdi-2026-09-21.om",
    ]


def _size(output: Path) -> int:
    return round(sum(path.stat().st_size for path in files(output)) / 1000)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"step": 600.0}, "a step of 10m leaves gaps, because Prometheus looks back 5 minutes"),
        (
            {"labels": LABELS[:1]},
            "without --label instance=... the series differ from the scraped ones",
        ),
    ],
)
def test_unusual_options_are_noted(tmp_path: Path, fields: dict[str, object], note: str) -> None:
    """The note is printed before long work starts. It is not an error."""
    given: dict[str, object] = {"until": parse_moment("3h"), "dry_run": True}
    printed = backfill(options(tmp_path, **(given | fields)), simulated(every(3600.0)))
    assert printed.lines[5:] == [f"note: {note}"]


def test_a_range_within_the_last_three_hours_is_a_warning(tmp_path: Path) -> None:
    """It needs --force and affects the other jobs of Prometheus."""
    chosen = options(tmp_path, until=parse_moment("2h"), dry_run=True)
    printed = backfill(chosen, simulated(every(3600.0)))
    assert printed.lines[-1] == (
        "WARNING: blocks newer than 3h make Prometheus drop in-memory samples of ALL jobs"
        " at its next restart"
    )


@pytest.mark.parametrize("failing", [False, True])
def test_the_next_command_moves_blocks_only_after_all_are_written(
    tmp_path: Path, failing: bool
) -> None:
    """A partially written block never appears in Prometheus' data directory."""
    printed = backfill(options(tmp_path / "out", step=3600.0), simulated(every(3600.0)))
    data, tools = tmp_path / "DATA", tmp_path / "bin"
    data.mkdir()
    tools.mkdir()
    promtool = tools / "promtool"
    last = f"[ {int(failing)} = 0 ] || case $4 in *-21.om) exit 3;; esac"
    promtool.write_text(f'#!/bin/sh\n{last}\nmkdir -p "$5" && echo made > "$5/$(basename "$4")"\n')
    promtool.chmod(0o755)
    command = printed.lines[-2].removeprefix("next: ")
    environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == (3 if failing else 0)
    moved = {path.name for path in data.iterdir()}
    assert moved == (set() if failing else {path.name for path in files(tmp_path / "out")})


def test_errors_are_reported_before_any_request(tmp_path: Path) -> None:
    """No request is sent for an invalid range."""
    braze = simulated(every(3600.0))
    with pytest.raises(ConfigError, match="the range contains no sample"):
        backfill(options(tmp_path, since=parse_moment("1h"), until=parse_moment("2h")), braze)
    assert not braze.traffic[LIST].times


def test_a_selection_without_integrations_is_an_error(tmp_path: Path) -> None:
    """For example, no name matches --include."""
    with pytest.raises(StartError, match=r"^there are no integrations to read$"):
        backfill(options(tmp_path, include=("nobody*",)), simulated(every(3600.0)))


def test_include_matches_names_and_ids_of_configured_integrations(tmp_path: Path) -> None:
    """Several patterns are allowed. Integrations excluded by the configuration stay excluded."""
    braze = simulated(*(every(3600.0, each, days=2) for each in ("a1", "a2", "b1", "c1")))
    config = workspace("w0", exclude=("*a2",))
    backfill(options(tmp_path, include=("sync-a*", "b1")), braze, workspaces=[config])
    ids = {dict(labels)["integration_id"] for _, labels in samples(tmp_path)}
    assert ids == {"a1", "b1"}
    assert {request.integration_id for request in braze.traffic[HISTORY].recent} == ids


def test_the_configured_stale_after_is_written(tmp_path: Path) -> None:
    """As in a scrape, it is `stale_after` of the configuration, or two typical intervals."""
    braze = simulated(every(3600.0, "a"), every(3600.0, "b"))
    config = workspace("w0", stale_after=(StaleAfter("*a", 7200.0),))
    backfill(options(tmp_path), braze, workspaces=[config])
    found = samples(tmp_path)
    name = "stale_after_seconds", ""
    assert at(found, INSTANT, integration_id="a")[name] == 7200
    assert at(found, INSTANT, integration_id="b")[name] == 2 * 3600 + 2 * 1800


def test_other_labels_need_no_requests(tmp_path: Path) -> None:
    """Adding a forgotten label needs no new requests. The earlier files are replaced."""
    braze = simulated(every(3600.0))
    backfill(options(tmp_path, labels=()), braze)
    requests = len(braze.traffic[HISTORY].times)
    printed = backfill(options(tmp_path), braze)
    assert "2 files of an earlier job removed" in printed.lines
    assert len(braze.traffic[HISTORY].times) == requests
    assert all(set(LABELS) <= set(labels) for _, labels in samples(tmp_path))


def test_a_shorter_range_leaves_no_file_of_the_longer_one(tmp_path: Path) -> None:
    """Otherwise loading the folder would load samples of two jobs."""
    braze = simulated(every(3600.0))
    backfill(options(tmp_path, since=parse_moment("5d")), braze)
    assert len(files(tmp_path)) == 6
    backfill(options(tmp_path), braze)
    assert len(files(tmp_path)) == 2


def test_the_same_command_writes_a_lost_file_again(tmp_path: Path) -> None:
    """No history is requested. If no file is missing, there is nothing to do."""
    braze = simulated(every(3600.0))
    backfill(options(tmp_path, **BY_DATE), braze)
    requests, before = len(braze.traffic[HISTORY].times), samples(tmp_path)
    files(tmp_path)[0].unlink()
    backfill(options(tmp_path, **BY_DATE), braze)
    assert samples(tmp_path) == before
    printed = backfill(options(tmp_path, **BY_DATE), braze)
    assert printed.lines == [f"everything is already written: {tmp_path}"]
    assert len(braze.traffic[HISTORY].times) == requests


def test_a_run_stuck_for_a_week_is_given_up_as_by_serve(tmp_path: Path) -> None:
    """It is shown as running until then, and counts as a gap afterwards."""
    integration = every(3600.0)
    stuck = EPOCH - 10 * DAYS_AGO - 100
    integration.run(stuck)
    backfill(options(tmp_path, since=parse_moment("12d"), step=3600.0), simulated(integration))
    found = samples(tmp_path)
    given_up = int((stuck + 7 * DAYS_AGO) // 3600 * 3600)
    since = "running_sync_start_timestamp_seconds", ""
    assert at(found, given_up)[since] == stuck
    assert at(found, given_up)["history_gaps_total", ""] == 0
    assert at(found, given_up + 3600).get(since, 0) != stuck
    assert at(found, given_up + 3600)["history_gaps_total", ""] == 1


def test_a_run_stuck_long_before_the_range_is_not_a_gap(tmp_path: Path) -> None:
    """A run given up before the first instant is neither running nor a gap."""
    integration = every(3600.0)
    integration.run(EPOCH - 30 * DAYS_AGO)
    backfill(options(tmp_path, since=parse_moment("12d"), step=3600.0), simulated(integration))
    gaps = next(times for (name, _), times in samples(tmp_path).items() if "gaps" in name)
    assert set(gaps.values()) == {0}


def test_each_of_many_runs_between_two_instants_counts(tmp_path: Path) -> None:
    """An event-driven sync with a long step may have more runs than the ledger keeps."""
    backfill(options(tmp_path, step=3600.0), simulated(every(30.0, days=2)))
    found = samples(tmp_path)
    last = int(EPOCH // 3600 * 3600)
    assert at(found, last)["syncs_total", "success"] == 23 * 120
    assert at(found, last)["history_gaps_total", ""] == 0


def test_samples_of_the_past_do_not_contain_present_facts(tmp_path: Path) -> None:
    """A run that is running now is not shown as running before its start."""
    integration = every(3600.0)
    integration.run(EPOCH - 1)
    backfill(options(tmp_path, until=parse_moment("3h")), simulated(integration))
    running = next(
        times for (name, _), times in samples(tmp_path).items() if name.endswith("syncs_running")
    )
    assert running[max(running)] in (0, 1)
    last = Run(Status.RUNNING, start=EPOCH - 1)
    starts = {
        value
        for (name, _), times in samples(tmp_path).items()
        if "running_sync_start" in name
        for value in times.values()
    }
    assert last.start not in starts
