"""Generated runs of integrations: independent of the access order, and as their profiles define."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.model import Counters, Run, Status
from tests.simulator import (
    DEMO_INTEGRATIONS,
    Episode,
    IntegrationSpec,
    Profile,
    ScriptedIntegration,
    Simulator,
    demo_workspace,
    many,
    mixed,
)

NOW = 1_780_000_020.0
DAY = 86_400.0
HOUR = 3600.0


def runs_of(spec: IntegrationSpec, days: float = 5, seed: int = 0) -> tuple[Run, ...]:
    """The runs that finished in the last `days`."""
    truth = Simulator([spec], lambda: NOW, seed=seed).truth
    return truth.finished_runs(spec.id, NOW - days * DAY, NOW)


def starts(runs: Sequence[Run]) -> list[float]:
    return sorted(run.start for run in runs if run.start is not None)


def finishes(runs: Sequence[Run]) -> list[float]:
    return [run.finish for run in runs if run.finish is not None]


SPEC = IntegrationSpec("abc", "users", interval=900, phase=17)


def test_generated_runs_depend_only_on_the_seed() -> None:
    """The same seed generates the same runs; another seed or integration generates others."""
    assert runs_of(SPEC) == runs_of(SPEC)
    assert runs_of(SPEC) != runs_of(SPEC, seed=1)
    assert runs_of(SPEC)[0].duration != runs_of(replace(SPEC, id="abd"))[0].duration


@settings(max_examples=50, deadline=None)
@given(
    profile=st.sampled_from(Profile),
    scheduled=st.booleans(),
    overlap=st.booleans(),
    seed=st.integers(0, 1000),
    pace=st.sampled_from([300.0, 900.0, 7200.0]),
)
def test_the_state_at_a_time_does_not_depend_on_the_steps_to_it(
    profile: Profile, scheduled: bool, overlap: bool, seed: int, pace: float
) -> None:
    """Reading small spans in any order gives the same runs as reading the whole span."""
    spec = IntegrationSpec(
        "abc",
        "users",
        interval=pace if scheduled else None,
        mean_gap=pace,
        duration_sigma=1.0,
        profile=profile,
        overlap=overlap,
    )
    whole = Simulator([spec], lambda: NOW, seed=seed, retention=70 * pace).truth
    pieces = Simulator([spec], lambda: NOW, seed=seed).truth
    edges = [NOW - 60 * pace + number * 6 * pace for number in range(11)]
    spans = list(itertools.pairwise(edges))
    random.Random(seed).shuffle(spans)
    found = {span: pieces.finished_runs("abc", *span) for span in spans}
    ordered = [run for span in sorted(found) for run in found[span]]
    assert ordered == list(whole.finished_runs("abc", edges[0], edges[-1]))
    for moment in edges:
        finished = {run for run in whole.run_states_at("abc", moment) if run.finished}
        late = whole.finished_runs("abc", moment - 10 * pace, moment)
        assert {run for run in late if (run.start or 0) > moment - 60 * pace} <= finished


@pytest.mark.parametrize("interval", [900.0, None])
def test_runs_wait_for_each_other_unless_they_may_overlap(interval: float | None) -> None:
    """Without overlap a run starts after the previous one ended.

    With it, long runs outlast newer ones.
    """
    spec = replace(SPEC, interval=interval, duration_median=600, duration_sigma=1.0)
    alone = runs_of(spec, days=20)
    assert len(alone) > 1000
    assert all(
        (former.finish or 0) <= (run.start or 0) for former, run in itertools.pairwise(alone)
    )
    together = runs_of(replace(spec, overlap=True), days=20)
    outlasting = [
        run
        for run, younger in itertools.pairwise(sorted(together, key=lambda run: run.start or 0))
        if (run.finish or 0) > (younger.finish or 0)
    ]
    assert len(outlasting) > 50


def test_runs_start_at_the_announced_time() -> None:
    """A healthy run starts within two seconds after the time that the list announced."""
    simulator = Simulator([SPEC], lambda: NOW, retention=DAY)
    for number in range(100):
        moment = NOW + number * 901
        due = simulator.truth.integrations_at(moment)[0].next_scheduled_run
        assert due is not None
        assert moment < due <= moment + 900
        newest = simulator.truth.run_states_at("abc", due + 2)[0].start
        assert newest is not None
        assert due <= newest <= due + 2


def test_an_event_driven_integration_has_no_schedule() -> None:
    """Runs start at any time, on average once per mean gap."""
    spec = replace(SPEC, interval=None, mean_gap=600, duration_median=5)
    simulator = Simulator([spec], lambda: NOW)
    assert simulator.truth.integrations_at(NOW)[0].next_scheduled_run is None
    gaps = [after - before for before, after in itertools.pairwise(starts(runs_of(spec)))]
    assert sum(gaps) / len(gaps) == pytest.approx(600, rel=0.05)
    assert min(gaps) < 200
    assert max(gaps) > 900


@pytest.mark.parametrize(
    ("profile", "statuses"),
    [
        (Profile.HEALTHY, {"success"}),
        (Profile.PARTIAL, {"success", "partial"}),
        (Profile.FAILING, {"success", "error"}),
        (Profile.ALWAYS_FAILING, {"error"}),
        (Profile.MISCONFIGURED, {"config_error"}),
        (Profile.LATE, {"success"}),
        (Profile.STUCK, {"success"}),
        (Profile.SLOW, {"success"}),
        (Profile.ZERO_ROWS, {"success"}),
        (Profile.UNKNOWN_STATUS, {"success", "unknown"}),
    ],
)
def test_the_runs_of_a_profile_have_its_statuses(profile: Profile, statuses: set[str]) -> None:
    """Exactly these statuses occur within a few days, with matching row counts."""
    runs = runs_of(replace(SPEC, profile=profile), days=10)
    assert {run.status.value for run in runs} == statuses
    for run in runs:
        if run.status is Status.PARTIAL:
            assert (run.rows_synced or 0) >= 0
            assert (run.rows_failed or 0) > 0
        elif run.status is Status.ERROR:
            assert run.rows_synced == 0
            assert run.watermark is None
        elif run.status is Status.CONFIG_ERROR:
            assert (run.rows_synced, run.rows_failed) == (0, 0)
        else:
            assert run.rows_failed == 0


EPISODE = Episode(NOW - 6 * HOUR, 3 * HOUR)


def test_an_integration_fails_only_during_its_episode() -> None:
    """A failing integration fails from the start to the end of the episode, and then recovers."""
    runs = runs_of(replace(SPEC, profile=Profile.FAILING, episode=EPISODE), days=1)
    failed = starts([run for run in runs if run.status is Status.ERROR])
    assert len(failed) == 12
    assert failed[0] >= NOW - 6 * HOUR
    assert failed[-1] <= NOW - 3 * HOUR + 2


def test_an_episode_may_return() -> None:
    """With `every` the episode repeats."""
    episode = Episode(first=100, length=10, every=50)
    assert [episode.end(moment) for moment in (99, 100, 109, 110, 155, 161)] == [
        None,
        110,
        110,
        None,
        160,
        None,
    ]


def test_a_late_integration_misses_its_schedule() -> None:
    """No run starts during the episode, and the list still announces the missed time."""
    spec = replace(SPEC, profile=Profile.LATE, episode=EPISODE)
    gaps = [after - before for before, after in itertools.pairwise(starts(runs_of(spec, days=1)))]
    assert max(gaps) == pytest.approx(3 * HOUR + 900, abs=5)
    truth = Simulator([spec], lambda: NOW).truth
    due = truth.integrations_at(NOW - 3.5 * HOUR)[0].next_scheduled_run
    assert due == pytest.approx(NOW - 6 * HOUR, abs=900)


def test_a_stuck_run_stays_in_progress_for_hours() -> None:
    """One run lasts for the whole episode, across block boundaries. The next one follows it."""
    spec = replace(SPEC, interval=120, duration_median=20, profile=Profile.STUCK, episode=EPISODE)
    truth = Simulator([spec], lambda: NOW, retention=DAY).truth
    stuck = {
        tuple(run.start for run in truth.run_states_at("abc", NOW - hours * HOUR) if not run.finish)
        for hours in (5.9, 5, 4, 3.1)
    }
    assert len(stuck) == 1
    assert len(stuck.pop()) == 1
    longest = max(run.duration or 0 for run in runs_of(spec, days=1))
    assert longest == pytest.approx(3 * HOUR, abs=125)


@pytest.mark.parametrize("profile", [Profile.SLOW, Profile.ZERO_ROWS])
def test_an_episode_may_cause_slow_or_empty_runs(profile: Profile) -> None:
    """Slow runs take several times as long; empty ones succeed without rows."""
    spec = replace(SPEC, duration_sigma=0.1, profile=profile, episode=EPISODE)
    runs = runs_of(spec, days=0.5)
    affected = [run for run in runs if EPISODE.end(run.start or 0)]
    normal = [run for run in runs if not EPISODE.end(run.start or 0)]
    assert len(affected) == 12
    if profile is Profile.SLOW:
        assert min(run.duration or 0 for run in affected) > 3 * 120
        assert max(run.duration or 0 for run in normal) < 2 * 120
    else:
        assert {run.rows_synced for run in affected} == {0}
        assert min(run.rows_synced or 0 for run in normal) > 0


def test_rows_have_a_daily_rhythm() -> None:
    """There are more rows during the day than at night."""
    by_hour: dict[int, list[int]] = {}
    for run in runs_of(SPEC, days=20):
        by_hour.setdefault(int((run.start or 0) % DAY // HOUR), []).append(run.rows_synced or 0)
    assert sum(by_hour[14]) > 2 * sum(by_hour[2])


def test_totals_include_only_finished_runs() -> None:
    """Totals include runs by status, rows and durations, also for scripted integrations."""
    script = ScriptedIntegration("abc", "users")
    script.run(NOW - 50, NOW - 40, "partial", rows_synced=3, rows_failed=2)
    script.run(NOW - 30, NOW - 10, "odd", rows_synced=None, rows_failed=None)
    script.run(NOW - 20, NOW, rows_synced=4)
    script.run(NOW - 99, NOW - 60, rows_synced=100)
    script.run(NOW - 5)
    totals = Simulator([script], lambda: NOW).truth.totals("abc", NOW - 60, NOW)
    assert totals == Counters(
        success=1,
        partial=1,
        unknown=1,
        rows_synced=7,
        rows_failed=2,
        duration_sum=50,
        duration_count=3,
    )


def test_generated_integrations_have_the_distribution_of_the_benchmark() -> None:
    """Durations have a median of 2 and a 95th percentile of 10 minutes; phases are spread out."""
    specs = many(200, seed=4, overlap=True)
    assert specs == many(200, seed=4, overlap=True) != many(200, seed=5, overlap=True)
    assert len({spec.id for spec in specs}) == 200
    phases = sorted(spec.phase for spec in specs)
    assert phases[0] < 50
    assert phases[-1] > 850
    truth = Simulator(specs, lambda: NOW).truth
    durations = sorted(
        run.duration or 0 for spec in specs for run in truth.finished_runs(spec.id, NOW - DAY, NOW)
    )
    assert durations[len(durations) // 2] == pytest.approx(120, rel=0.1)
    assert durations[len(durations) * 95 // 100] == pytest.approx(600, rel=0.1)


def test_a_mixed_world_has_every_kind_of_integration() -> None:
    """All profiles, schedules, events and overlaps occur, and integrations that are added or
    removed.
    """
    specs = mixed(300, seed=8, start=NOW, end=NOW + DAY)
    assert specs == mixed(300, seed=8, start=NOW, end=NOW + DAY)
    assert {spec.profile for spec in specs} == set(Profile)
    for some in (
        [spec for spec in specs if spec.interval is None],
        [spec for spec in specs if spec.overlap],
        [spec for spec in specs if spec.added_at > NOW],
        [spec for spec in specs if spec.removed_at < NOW + DAY],
        [spec for spec in specs if spec.renames],
    ):
        assert 0 < len(some) < 150
    assert all(spec.added_at < spec.removed_at for spec in specs)


@pytest.mark.parametrize("seed", range(6))
def test_the_demo_shows_every_status_at_once(seed: int) -> None:
    """At any start time, each status is the newest one of some integration within a minute."""
    for number in range(25):
        start = NOW + seed * 12_345.6 + number * 61.7
        truth = demo_workspace(seed, clock=partial(float, start)).truth
        seen: set[Status] = set()
        for integration in truth.integrations_at(start):
            last = truth.finished_runs(integration.id, start - HOUR, start)[-1:]
            coming = truth.finished_runs(integration.id, start, start + 60)
            seen |= {run.status for run in (*last, *coming)}
            newest = integration.last_job_status
            seen |= {newest} if newest else set()
        assert seen == set(Status), start


@pytest.mark.parametrize("seed", range(6))
def test_in_the_demo_runs_start_or_end_all_the_time(seed: int) -> None:
    """At the default speed a run starts or ends at least every ten seconds."""
    truth = demo_workspace(seed, clock=lambda: NOW).truth
    events = {NOW}
    for integration in truth.integrations_at(NOW):
        runs = truth.finished_runs(integration.id, NOW, NOW + HOUR)
        events |= set(starts(runs)) | set(finishes(runs))
    within = sorted(event for event in events if NOW <= event <= NOW + HOUR - 60)
    assert max(after - before for before, after in itertools.pairwise(within)) < 11


def test_the_demo_has_a_history_and_the_requested_size() -> None:
    """The demo has days of history, distinct names, and schedules that match the speed."""
    simulator = demo_workspace(1, clock=lambda: NOW)
    listed = simulator.truth.integrations_at(NOW)
    assert len(listed) == DEMO_INTEGRATIONS
    for integration in listed[:3]:
        assert min(starts(simulator.truth.run_states_at(integration.id, NOW))) < NOW - 2.9 * DAY
    larger = demo_workspace(1, 40, clock=lambda: NOW).truth.integrations_at(NOW)
    assert len({integration.name for integration in larger}) == 40
    slower = demo_workspace(1, speed=1, clock=lambda: NOW).truth
    name = {integration.id for integration in slower.integrations_at(NOW)}.pop()
    assert len(slower.finished_runs(name, NOW - 10 * DAY, NOW)) < 10 * 24 * 6 + 1


def test_a_schedule_can_disappear_for_a_while() -> None:
    """The list shows no next run meanwhile, and shows one again afterwards. Runs continue."""
    spec = replace(many(1, 1)[0], unscheduled=(NOW, NOW + HOUR))
    truth = Simulator([spec], lambda: NOW).truth
    due = [
        truth.integrations_at(NOW + after)[0].next_scheduled_run for after in (-1, 0, 3599, 3600)
    ]
    assert [each is None for each in due] == [False, True, True, False]
    assert truth.finished_runs(spec.id, NOW + 900, NOW + 3000)
