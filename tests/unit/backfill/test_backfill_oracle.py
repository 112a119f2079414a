"""The samples of any history, compared with a naive evaluation of the runs at each instant."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.backfill import parse_moment
from cdi_exporter.model import FINISHED_STATUSES, Run, Status
from tests.simulator import ScriptedIntegration
from tests.unit.backfill.backfilling import (
    Naive,
    Samples,
    at,
    backfill,
    options,
    samples,
    simulated,
)
from tests.virtual import EPOCH

HOURS = 12
STEP = 600
FIRST = -int(-(EPOCH - HOURS * 3600) // STEP) * STEP
LAST = int(EPOCH // STEP) * STEP
NOT_COMPARED = {
    "typical_sync_interval_seconds",
    "typical_sync_duration_seconds",
    "typical_sync_rows",
    "stale_after_seconds",
    "history_start_timestamp_seconds",
}

offsets = st.one_of(
    st.integers(-20 * 3600, 0),
    st.integers(-20 * 6, 0).map(lambda tens: tens * 600),
    st.floats(-20 * 3600, 0).map(lambda offset: round(offset, 3)),
)
lengths = st.one_of(
    st.none(), st.integers(0, 900), st.integers(0, 9 * 3600), st.sampled_from([0, 600, 1200])
)
rows = st.one_of(st.none(), st.integers(0, 10_000))


@st.composite
def a_run(draw: st.DrawFn, *, odd: bool) -> Run:
    """A run; an odd one may lack its start or finish, or finish before its start."""
    start: float | None = EPOCH + draw(offsets)
    assert start is not None
    length = draw(lengths)
    if length is None or start + length > EPOCH:
        return Run(Status.RUNNING, start=start)
    finish: float | None = round(start + length, 3)
    status = draw(st.sampled_from(FINISHED_STATUSES))
    oddity = draw(st.sampled_from(["", "no start", "no finish", "backwards"])) if odd else ""
    if oddity == "no start":
        start = None
    elif oddity == "no finish" and status is not Status.UNKNOWN:
        finish = None
    elif oddity == "backwards":
        finish = start - length
    watermark = draw(st.one_of(st.none(), st.just(start or finish)))
    return Run(status, start, finish, watermark, draw(rows), draw(rows))


def histories(most: int, *, odd: bool) -> st.SearchStrategy[list[Run]]:
    """Runs in any order, of which no two start or end at the same time."""
    runs = st.lists(a_run(odd=odd), max_size=most, unique_by=lambda run: run.order)
    return runs.map(lambda each: [*{run.identity: run for run in each}.values()])


def scripted(history: Sequence[Run]) -> ScriptedIntegration:
    """An integration with these runs in the simulated Braze."""
    integration = ScriptedIntegration("one", "sync-one")
    for run in history:
        known = run.start if run.start is not None else run.finish
        assert known is not None
        overrides: dict[str, object] = {}
        if run.start is None:
            overrides["sync_start_time"] = ...
        if run.finish is None and run.finished:
            overrides["sync_finish_time"] = ...
        status = "something-new" if run.status is Status.UNKNOWN else run.status.value
        integration.run(
            known,
            known if run.finish is None and run.finished else run.finish,
            status,
            rows_synced=run.rows_synced,
            rows_failed=run.rows_failed,
            watermark=run.watermark,
            overrides=overrides,
        )
    return integration


def made(history: Sequence[Run]) -> Samples:
    """The samples that a backfill writes for a history."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = options(Path(folder), since=parse_moment(f"{HOURS}h"), step=float(STEP))
        backfill(chosen, simulated(scripted(history)))
        return samples(Path(folder))


def check(history: Sequence[Run], found: Samples) -> None:
    """Compare all samples of a history with the naive evaluation."""
    naive = Naive(history, FIRST)
    instants = [instant for times in found.values() for instant in times]
    moments = [naive.seen(run) for run in history]
    if all(moment > LAST for moment in moments):
        assert not instants
        return
    start = min(instants)
    assert start == FIRST or not any(moment <= FIRST for moment in moments)
    assert max(instants) == LAST
    for instant in range(FIRST, LAST + 1, STEP):
        printed = at(found, instant)
        if instant < start:
            assert not printed
            assert not any(moment <= instant for moment in moments)
            continue
        assert printed.pop(("history_gaps_total", "")) == 0
        compared = {key: value for key, value in printed.items() if key[0] not in NOT_COMPARED}
        assert compared == pytest.approx(naive.values(instant), rel=1e-12), instant


@settings(max_examples=60, deadline=None)
@given(history=histories(45, odd=False))
def test_the_samples_match_the_runs(history: list[Run]) -> None:
    """At every instant each series has the value that follows from the runs."""
    check(history, made(history))


@settings(max_examples=60, deadline=None)
@given(history=histories(15, odd=True))
def test_runs_with_missing_times_are_placed_by_the_times_that_they_have(history: list[Run]) -> None:
    """A run without start or finish, or with its finish before its start, is shown and counted."""
    check(history, made(history))


@settings(max_examples=20, deadline=None)
@given(history=histories(45, odd=False))
def test_counters_start_at_zero_and_never_fall(history: list[Run]) -> None:
    """The first sample of each counter is 0, so that increase() misses nothing."""
    for (name, _), times in made(history).items():
        if name.endswith(("_total", "_count", "_sum")):
            values = [times[instant] for instant in sorted(times)]
            assert values[0] == 0
            assert values == sorted(values)
