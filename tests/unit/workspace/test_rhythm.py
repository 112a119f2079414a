"""Scrapes that can be foreseen, and the pages of a long list that are read before them."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.workspace.rhythm import LONGEST_PATTERN, MINUTE, Bursts, Rhythm
from tests.harness import passes, rig, workspace
from tests.simulator import LIST, Simulator, many
from tests.virtual import run, virtual_clock


def rhythm(*scrapes: float) -> Rhythm:
    made = Rhythm()
    for scrape in scrapes:
        made.note(scrape)
    return made


def even(interval: float) -> Rhythm:
    """Scrapes up to now, which is 0."""
    return rhythm(*(interval * number for number in range(-4, 1)))


def test_an_even_scrape_goes_on() -> None:
    """One server scrapes each interval, a moment early or late."""
    found = rhythm(0, 30.2, 60, 89.9)
    assert found.after(90) == pytest.approx(119.8, abs=0.2)
    assert found.after(1000) == pytest.approx(1016.8, abs=0.1)


@given(
    st.lists(st.floats(3, 600).map(round), min_size=1, max_size=LONGEST_PATTERN),
    st.integers(2, 5),
    st.floats(0, 10_000),
)
def test_servers_that_take_turns_go_on(gaps: list[int], rounds: int, later: float) -> None:
    """Whatever pattern repeats, each scrape that comes is one that was expected."""
    times = [0.0, *accumulate(gaps * rounds)]
    expected = rhythm(*times).after(times[-1] + later)
    assert expected is not None
    assert expected > times[-1] + later
    for gap in gaps:
        following = rhythm(*times).after(times[-1] + 0.001)
        assert following is not None
        assert abs(following - times[-1] - gap) <= 2.0
        times.append(times[-1] + gap)


@pytest.mark.parametrize("scrapes", [[], [0], [0, 30], [0, 30, 37, 90, 93, 200], [5, 5, 5, 5]])
def test_no_rhythm_foresees_nothing(scrapes: list[float]) -> None:
    """Too few scrapes, gaps that do not repeat, or scrapes at one moment tell nothing."""
    assert rhythm(*scrapes).after(1000) is None


def test_without_a_rhythm_pages_come_evenly() -> None:
    """A minute's budget is spread over the minute."""
    bursts = Bursts(rhythm(0, 30, 37))
    times = []
    now = 100.0
    for _ in range(5):
        now = bursts.due(now, 40, 0.2)
        times.append(now)
    assert times == pytest.approx([100 + MINUTE / 40 * number for number in range(5)])
    assert not bursts.in_rhythm


@pytest.mark.parametrize("interval", [10.0, 15.0, 30.0, 60.0, 120.0, 300.0])
def test_a_burst_ends_right_before_a_scrape(interval: float) -> None:
    """Pages come together before each scrape, as many as the budget allows in a gap."""
    made = even(interval)
    bursts, slots, seconds = Bursts(made), 40, 0.2
    now, scrapes = 0.0, 0.0
    times: list[float] = []
    while len(times) < 400:
        now = bursts.due(now, slots, seconds)
        while scrapes + interval <= now:
            scrapes += interval
            made.note(scrapes)
        times.append(now)
        now += seconds
    until = {time: math.ceil((time + 1) / interval) * interval - time for time in times[50:]}
    least = min(interval, MINUTE * interval / 60 + slots * seconds + 3)
    assert all(1 <= left <= least for left in until.values())
    rate = 60 * (len(times) - 1) / (times[-1] - times[0])
    assert rate == pytest.approx(slots * 60 / MINUTE, rel=0.15)


def test_what_a_scrape_overtook_waits_for_the_next() -> None:
    """A burst that the budget held up does not go on right after the scrape."""
    bursts = Bursts(even(30))
    first = bursts.due(0, 40, 0.2)
    assert 20 < first < 30
    assert bursts.due(30.5, 40, 0.2) > 50


def test_a_long_list_is_read_right_before_scrapes() -> None:
    """The exporter spends the list's budget where its news is freshest when it is shown."""

    async def main() -> None:
        clock = virtual_clock()
        braze = Simulator(
            many(450, 1), clock.wall, limit_window="sliding", latency=0.1, key="simulated-key"
        )
        async with rig(braze, workspaces=[workspace()], clock=clock) as it:
            began = clock.wall()
            for tick in range(60):
                await passes(max(0.0, began + 30 * tick - clock.wall()))
                await it.scrape()
            later = [time - began for time in braze.traffic[LIST].times if time > began + 600]
            before = [30 - time % 30 for time in later]
            assert len(later) > 600
            assert sum(left < 8 for left in before) > 0.95 * len(before)
            assert braze.too_many == 0

    run(main())


def test_a_scrape_that_waits_for_a_long_list_is_not_kept_waiting() -> None:
    """Where Prometheus has the time to wait for the list, it is read as fast as it may be."""

    async def main() -> None:
        clock = virtual_clock()
        braze = Simulator(
            many(450, 1), clock.wall, limit_window="sliding", latency=0.1, key="simulated-key"
        )
        async with rig(braze, workspaces=[workspace()], clock=clock) as it:
            for tick in range(12):
                await passes(max(0.0, 120 * tick - clock.monotonic()))
                page = await it.scrape(seconds=110)
                assert clock.monotonic() - 120 * tick < 75
                age = clock.wall() - (page("braze_cdi_last_refresh_timestamp_seconds") or 0)
                assert age < 10
            assert braze.too_many == 0

    run(main())
