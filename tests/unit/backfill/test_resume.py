"""Interrupted backfills, which produce the same files when they are resumed."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.backfill import BackfillOptions, Progress, parse_moment
from cdi_exporter.backfill.plan import utc
from cdi_exporter.errors import StartError
from cdi_exporter.model import Run
from tests.simulator import HISTORY
from tests.unit.backfill.backfilling import (
    FaultySimulator,
    Printed,
    after,
    backfill,
    files,
    options,
    samples,
    simulated,
)
from tests.unit.backfill.test_backfill_oracle import histories, scripted
from tests.unit.backfill.test_job import every
from tests.virtual import EPOCH

LATER = 6 * 3600.0


def job(output: Path, since: float, until: float) -> BackfillOptions:
    """A job for this range, in seconds before EPOCH."""
    return options(
        output,
        since=parse_moment(utc(EPOCH - since)),
        until=parse_moment(utc(EPOCH - until)),
        step=600.0,
    )


def cut(chosen: BackfillOptions, history: Sequence[Run], requests: int, later: float) -> None:
    """Run a job that fails after this number of requests, unless it ends earlier."""
    braze = FaultySimulator(simulated(scripted(history), later=later), after(requests, 401))
    with suppress(StartError):
        backfill(chosen, braze, later=later)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    history=histories(60, odd=False),
    cuts=st.lists(st.integers(0, 6), max_size=3),
    earlier=st.tuples(st.sampled_from([6, 12, 18]), st.sampled_from([7, 9, 12])),
)
def test_interruptions_do_not_change_the_files(
    history: list[Run], cuts: list[int], earlier: tuple[int, int]
) -> None:
    """This includes an earlier job with another range, whose runs in progress have ended since."""
    with tempfile.TemporaryDirectory() as folder:
        broken, whole = Path(folder, "broken"), Path(folder, "whole")
        since, until = earlier
        for requests in cuts[:1]:
            cut(job(broken, until * 3600 + since * 3600, until * 3600), history, requests, -LATER)
        wanted = job(broken, 12 * 3600, 0)
        for requests in cuts[1:]:
            cut(wanted, history, requests, 0.0)
        backfill(wanted, simulated(scripted(history)))
        backfill(job(whole, 12 * 3600, 0), simulated(scripted(history)))
        assert samples(broken) == samples(whole)


def test_a_run_that_was_in_progress_is_read_again_after_its_end(tmp_path: Path) -> None:
    """A later job also reads the pages of known runs, back to the running one."""
    short = every(600.0, days=2)
    long = short.run(EPOCH - LATER - 5 * 3600)
    chosen = options(tmp_path / "a", step=600.0)
    backfill(chosen, simulated(short, later=-LATER), later=-LATER)
    long.end(EPOCH - LATER + 3600, "error", rows_synced=7)
    braze = simulated(short)
    backfill(chosen, braze)
    assert len(braze.traffic[HISTORY].times) == 7  # of 18, back to the page of the long run
    backfill(options(tmp_path / "b", step=600.0), braze)
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


class Interrupting(Printed):
    """Records progress and raises KeyboardInterrupt at one point."""

    def __init__(self, stage: str, done: int) -> None:
        super().__init__()
        self.progress = _InterruptingList(f"{stage}: {done} of")


class _InterruptingList(list[str]):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def append(self, line: str) -> None:
        if line.startswith(self._text):
            raise KeyboardInterrupt
        super().append(line)


@pytest.mark.parametrize("stage", ["sampling", "writing"])
def test_ctrl_c_at_the_end_of_a_stage_loses_nothing(tmp_path: Path, stage: str) -> None:
    """Kept parts are reused, no partial file is left, and no request is repeated."""
    chosen = options(tmp_path / "a", since=parse_moment("3d"), step=3600.0)
    braze = simulated(every(3600.0, "a"), every(7200.0, "b"))
    done = {"sampling": 2, "writing": 4}[stage]
    with pytest.raises(KeyboardInterrupt):
        backfill(chosen, braze, printed=Interrupting(stage, done))
    assert len(files(tmp_path / "a")) == (4 if stage == "writing" else 0)
    requests = len(braze.traffic[HISTORY].times)
    printed = backfill(chosen, braze)
    assert "about 0 requests left, 0s at half of the budget share" in printed.lines
    assert len(braze.traffic[HISTORY].times) == requests
    backfill(options(tmp_path / "b", since=parse_moment("3d"), step=3600.0), braze)
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


class Copying(Progress):
    """Progress that copies the folder at each step, as a crash would leave it."""

    def __init__(self, output: Path, copies: Path) -> None:
        super().__init__(print, monotonic)
        self._output, self._copies = output, copies
        self._stage = ""

    def start(self, stage: str, total: int) -> None:
        self._stage = stage

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        shutil.copytree(self._output, self._copies / f"{self._stage} {done}")

    def end(self) -> None:
        pass


def test_a_crash_after_any_step_is_resumed(tmp_path: Path) -> None:
    """No request is repeated, and the files are the same."""
    span = {"since": parse_moment("2d"), "step": 3600.0}
    braze = simulated(every(3600.0, "a"), every(7200.0, "b"))
    output, copies = tmp_path / "output", tmp_path / "copies"
    backfill(options(output, **span), braze, progress=Copying(output, copies))
    whole = {path.name: path.read_bytes() for path in files(output)}
    at_once = len(braze.traffic[HISTORY].times)
    requests = []
    for crashed in copies.iterdir():
        before = len(braze.traffic[HISTORY].times)
        backfill(options(crashed, **span), braze)
        assert {path.name: path.read_bytes() for path in files(crashed)} == whole, crashed
        requests.append(len(braze.traffic[HISTORY].times) - before)
    stages = {path.name.rpartition(" ")[0] for path in copies.iterdir()}
    assert stages == {"first pages", "reading", "sampling", "writing"}
    assert sorted(requests)[:6] == [0] * 6  # all pages were read before the last ones were kept
    assert max(requests) == at_once - 1


def test_a_resumed_job_keeps_its_original_plan(tmp_path: Path) -> None:
    """`30d` is counted from the first attempt, so that the files match."""
    chosen = options(tmp_path, since=parse_moment("2d"), step=3600.0)
    braze = FaultySimulator(simulated(every(3600.0)), after(3, 401))
    with pytest.raises(StartError):
        backfill(chosen, braze)
    printed = backfill(chosen, simulated(every(3600.0), later=LATER), later=LATER)
    assert "resuming what was started at 2026-09-21T14:13:20Z" in printed.lines
    assert (
        "2026-09-19T15:00:00Z to 2026-09-21T14:00:00Z, one sample every 1h: 48 instants"
        in printed.lines
    )
