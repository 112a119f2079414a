"""Runs in progress that are hidden by a newer run, and how often the history is read for them."""

import pytest

from cdi_exporter.ledger import ABANDONED_AFTER
from tests.harness import Page, Rig, passes, rig, scripted, simulator
from tests.simulator import HISTORY
from tests.unit.workspace.test_restart import finish
from tests.virtual import run, virtual_clock

GAPS = "braze_cdi_history_gaps_total"
RUNNING = "braze_cdi_syncs_running"


async def refreshes(it: Rig, seconds: float, every: float = 30.0) -> Page:
    """The page after this time."""
    for _ in range(int(seconds / every)):
        await passes(every)
        page = await it.scrape()
    return page


@pytest.mark.parametrize("newer", [1, 25])
def test_a_hidden_run_is_found_when_it_ends(newer: int) -> None:
    """Reads happen at most every five minutes, also of older pages. The run is counted once."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            await passes(30)
            hidden = one.run(clock.wall() - 1)
            await refreshes(it, 60)
            for _ in range(newer):
                finish(one, clock, 1)
                page = await refreshes(it, 60)
            page = await refreshes(it, 600)
            assert page(RUNNING) == 1
            before = it.simulator.traffic[HISTORY].statuses[200]
            page = await refreshes(it, 3600)
            reads = it.simulator.traffic[HISTORY].statuses[200] - before
            pages = 1 + newer // 10
            assert 11 * pages <= reads <= 12 * pages + 4
            assert page(RUNNING) == 1
            hidden.end(clock.wall(), "success", rows_synced=500)
            page = await refreshes(it, 420)
            assert page(RUNNING) == 0
            assert page("braze_cdi_rows_synced_total") == 500 + newer
            assert page(GAPS) == 0
            before = it.simulator.traffic[HISTORY].statuses[200]
            await refreshes(it, 3600)
            assert it.simulator.traffic[HISTORY].statuses[200] - before <= 5

    run(main())


def test_a_hidden_run_that_is_no_longer_in_the_history_is_a_gap() -> None:
    """Its result is unknown, and the history is no longer read for it."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            await passes(30)
            hidden = one.run(clock.wall() - 1)
            await refreshes(it, 60)
            finish(one, clock, 1)
            assert (await refreshes(it, 60))(RUNNING) == 1
            one.runs.remove(hidden)
            page = await refreshes(it, 420)
            assert page(RUNNING) == 0
            assert page(GAPS) == 1

    run(main())


def test_a_hidden_run_that_never_ends_is_given_up_after_a_week() -> None:
    """It is a gap, and causes no more reads."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            await passes(30)
            one.run(clock.wall() - 1)
            await refreshes(it, 60)
            finish(one, clock, 1)
            page = await refreshes(it, ABANDONED_AFTER - 600, 600)
            assert page(RUNNING) == 1
            assert page(GAPS) == 0
            page = await refreshes(it, 1200)
            assert page(RUNNING) == 0
            assert page(GAPS) == 1
            before = it.simulator.traffic[HISTORY].statuses[200]
            page = await refreshes(it, 3600)
            assert it.simulator.traffic[HISTORY].statuses[200] - before <= 5
            assert page(GAPS) == 1

    run(main())
