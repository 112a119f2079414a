"""Refused histories: a single one affects its integration, all of them affect the workspace."""

import pytest

from tests.harness import Rig, passes, rig, scripted, simulator
from tests.simulator import HISTORY, LIST, Fault, FaultKind
from tests.unit.workspace.test_restart import finish
from tests.virtual import EPOCH, run, virtual_clock

REFUSALS = (400, 401, 403, 404)
OTHERS = ("two", "three")


def refuses(status: int, integration_id: str | None = None) -> Fault:
    """All histories, or only one of them, return this status."""
    return Fault(
        0, 9e9, FaultKind.SERVER_ERROR, HISTORY, status=status, integration_id=integration_id
    )


def answered_with(it: Rig, status: int) -> int:
    """The number of history reads with this status."""
    return it.simulator.traffic[HISTORY].statuses[status]


@pytest.mark.parametrize("first_seen", [False, True], ids=["known before", "first seen"])
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_history_does_not_delay_others(status: int, *, first_seen: bool) -> None:
    """The other histories are read and counted. The refused one is rarely requested again."""

    async def main() -> None:
        clock = virtual_clock()
        one, *others = (scripted(each, 3) for each in ("one", *OTHERS))
        braze = simulator(clock, one, *others)
        async with rig(braze, clock=clock) as it:
            if not first_seen:
                await it.scrape()
            braze.faults = [refuses(status, "one")]
            for _ in range(4):
                await passes(12)
                await it.scrape()
            for each in (one, *others):
                finish(each, clock, 7)
            for _ in range(20):
                await passes(12)
                page = await it.scrape()
            for other in OTHERS:
                assert page("braze_cdi_rows_synced_total", integration_id=other) == 7
                assert page("braze_cdi_integration_up", integration_id=other) == 1
            assert page("braze_cdi_integration_up", integration_id="one") == 0
            assert page("braze_cdi_up") == 1
            assert answered_with(it, status) < 12, "in 24 refreshes"
            braze.faults = []
            await passes(900)
            await it.scrape()
            await passes(12)
            page = await it.scrape()
            assert page("braze_cdi_integration_up", integration_id="one") == 1
            assert page("braze_cdi_last_sync_rows_synced", integration_id="one") == 7

    run(main())


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("number", [1, 3, 40])
def test_a_key_that_may_read_no_history_gets_one_request_per_refresh(
    number: int, status: int
) -> None:
    """One history is tried in each refresh, and all of them once the key works."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"{each:03}", 3) for each in range(number)]
        braze = simulator(clock, *several)
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            braze.faults = [refuses(status)]
            for each in several:
                finish(each, clock, 7)
            before = answered_with(it, status)
            for number_of_refreshes in range(1, 31):
                await passes(10)
                page = await it.scrape()
                assert answered_with(it, status) - before <= number_of_refreshes + 10
            assert page("braze_cdi_up") == 0
            reason = {401: "unauthorized", 403: "forbidden"}[status]
            assert page("braze_cdi_refresh_error", reason=reason) == 1
            braze.faults = []
            for _ in range(95):
                await passes(10)
                page = await it.scrape()
            assert page("braze_cdi_up") == 1
            assert page.all("braze_cdi_rows_synced_total") == [7] * number

    run(main())


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_history_is_not_read_again_within_a_refresh(status: int) -> None:
    """This holds for any number of scrapes until the next refresh is due."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, *(scripted(each, 3) for each in ("one", *OTHERS)))
        braze.faults = [refuses(status, "two")]
        async with rig(braze, clock=clock) as it:
            for _ in range(8):
                await it.scrape()
                await passes(1)
            assert answered_with(it, status) == 1
            assert it.simulator.traffic[LIST].statuses[200] == 1

    run(main())


def test_a_scrape_does_not_wait_for_histories_the_key_may_not_read() -> None:
    """The last attempt failed, so a scrape is answered with the known data."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        braze = simulator(clock, one)
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            braze.faults = [refuses(403), Fault(0, 9e9, FaultKind.SLOW, LIST, delay=4)]
            finish(one, clock, 7)
            await passes(12)
            assert (await it.scrape())("braze_cdi_up") == 0
            for _ in range(3):
                await passes(12)
                began = clock.monotonic()
                page = await it.scrape()
                assert clock.monotonic() == began
                assert page("braze_cdi_last_sync_rows_synced") == 100
                assert page("braze_cdi_up") == 0

    run(main())


def test_a_scrape_during_a_refresh_starts_no_other() -> None:
    """It waits for the running refresh. The next refresh starts with the next scrape."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, *(scripted(f"{each:02}", 3) for each in range(25)))
        braze.faults = [Fault(0, 9e9, FaultKind.SLOW, LIST, delay=4)]
        async with rig(braze, clock=clock) as it:
            await it.scrape(seconds=2)
            await passes(EPOCH + 9.5 - clock.wall())
            await it.scrape(seconds=30)
            assert EPOCH + 12 < clock.wall() < EPOCH + 13
            await passes(60)
            assert it.simulator.traffic[LIST].statuses[200] == 3

    run(main())
