"""Integrations that lost their schedule, which is shown for seven days."""

import asyncio
from pathlib import Path

import pytest
import structlog

from tests.harness import Page, Rig, passes, rig, scripted, simulator
from tests.simulator import HISTORY, LIST, Fault, FaultKind, ScriptedIntegration
from tests.unit.workspace.test_restart import StatefulSetup
from tests.virtual import EPOCH, run, virtual_clock

DAY = 86_400.0
LOST = "braze_cdi_schedule_lost_timestamp_seconds"
NEXT = "braze_cdi_next_scheduled_sync_timestamp_seconds"
NO_SCHEDULE = [None, "", "  ", ...]
UNREADABLE = ["soon", 1_790_000_000, [], {}, False, "2026-13-01T00:00:00Z"]


def scheduled(identifier: str = "one", after: float = 600.0) -> ScriptedIntegration:
    """An integration whose next run is so many seconds after EPOCH."""
    return scripted(identifier, 3, next_run=EPOCH + after)


def show(one: ScriptedIntegration, value: object) -> None:
    """From now on the list returns this value as the next scheduled run."""
    one.list_fields = {"next_scheduled_run": value}


async def after(it: Rig, seconds: float) -> Page:
    """The page after this time, with refreshes in between."""
    for _ in range(4):
        await passes(seconds / 4)
        page = await it.scrape()
    return page


@pytest.mark.parametrize("value", NO_SCHEDULE, ids=repr)
@pytest.mark.parametrize("ahead", [0.0, 3600.0])
def test_a_lost_schedule_is_shown_for_a_week(value: object, ahead: float) -> None:
    """The metric is the API time of the first list without a schedule. One warning is logged."""

    async def main() -> None:
        clock = virtual_clock()
        one = scheduled()
        braze = simulator(clock, one)
        braze._clock = lambda: clock.wall() + ahead
        async with rig(braze, clock=clock) as it:
            assert (await after(it, 400))(LOST) is None
            with structlog.testing.capture_logs() as logs:
                show(one, value)
                await passes(100)
                page = await it.scrape()
                lost = page(LOST)
                assert lost == pytest.approx(EPOCH + ahead + 500, abs=2)
                assert page(NEXT) is None
                assert (await after(it, 6.9 * DAY))(LOST) == lost
                assert (await after(it, 0.2 * DAY))(LOST) is None
                assert (await after(it, 9 * DAY))(LOST) is None
            found = [each for each in logs if "schedule" in each["event"]]
            assert [(each["event"], each["log_level"]) for each in found] == [
                ("schedule lost", "warning")
            ]
            assert found[0]["workspace"] == "w"
            assert found[0]["integration_id"] == "one"
            assert found[0]["integration_name"] == "sync-one"

    run(main())


def test_a_returning_schedule_removes_the_metric() -> None:
    """The return is logged once, and the schedule can be lost again."""

    async def main() -> None:
        clock = virtual_clock()
        one = scheduled()
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            with structlog.testing.capture_logs() as logs:
                show(one, None)
                first = (await after(it, 3600))(LOST)
                one.list_fields, one.next_run = {}, clock.wall() + 900
                page = await after(it, 60)
                assert page(LOST) is None
                assert page(NEXT) == pytest.approx(one.next_run)
                show(one, None)
                again = (await after(it, 3600))(LOST)
            assert first is not None
            assert again is not None
            assert again > first + 3600
            events = [each["event"] for each in logs if "schedule" in each["event"]]
            assert events == ["schedule lost", "schedule returned", "schedule lost"]

    run(main())


def test_an_integration_that_never_had_a_schedule_has_not_lost_it() -> None:
    """For example, an S3 integration runs when a file arrives."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3, warehouse="s3")
        async with rig(simulator(clock, one), clock=clock) as it:
            with structlog.testing.capture_logs() as logs:
                for value in (..., None, "", "soon", None):
                    show(one, value)
                    assert (await after(it, 60))(LOST) is None
            assert not [each for each in logs if "schedule" in each["event"]]

    run(main())


@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
def test_a_schedule_that_cannot_be_read_is_not_lost(value: object) -> None:
    """While the schedule is unreadable, the last readable value is kept for comparison."""

    async def main() -> None:
        clock = virtual_clock()
        one = scheduled()
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            with structlog.testing.capture_logs() as logs:
                show(one, value)
                assert (await after(it, 3600))(LOST) is None
                assert not [each for each in logs if "schedule" in each["event"]]
                show(one, None)
                lost = (await after(it, 3600))(LOST)
                assert lost is not None
                show(one, value)
                assert (await after(it, 3600))(LOST) == lost
            events = [each["event"] for each in logs if "schedule" in each["event"]]
            assert events == ["schedule lost"]

    run(main())


@pytest.mark.parametrize("crash", [False, True])
def test_a_lost_schedule_survives_restarts(tmp_path: Path, crash: bool) -> None:
    """This also holds if the schedule is lost while the exporter is down."""
    one, two = scheduled("one"), scheduled("two", 2 * DAY)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one, two)
        async with setup.exporter(crash=crash) as first:
            await first.scrape()
            show(one, None)
            lost = (await after(first, 3600))(LOST, integration_id="one")
            assert lost is not None
            await asyncio.sleep(5)
        show(two, None)
        await asyncio.sleep(DAY)
        with structlog.testing.capture_logs() as logs:
            async with setup.exporter(crash=crash) as second:
                came = setup.clock.wall()
                page = await second.scrape()
                assert page(LOST, integration_id="one") == lost
                other = page(LOST, integration_id="two")
                assert other == pytest.approx(came, abs=2)
                await asyncio.sleep(5)
        events = [each for each in logs if "schedule" in each["event"]]
        assert [each["integration_id"] for each in events] == ["two"]
        async with setup.exporter() as third:
            page = await after(third, 5.8 * DAY)
            assert page(LOST, integration_id="one") == lost
            page = await after(third, 0.4 * DAY)
            assert page(LOST, integration_id="one") is None
            assert page(LOST, integration_id="two") == other
            assert (await after(third, 2 * DAY))(LOST, integration_id="two") is None

    run(scenario())


def test_a_schedule_last_seen_long_ago_is_not_reported_as_lost(tmp_path: Path) -> None:
    """The last known schedule is more than seven days old when the exporter restarts."""
    one = scheduled()

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as first:
            await first.scrape()
            await asyncio.sleep(5)
        show(one, None)
        await asyncio.sleep(8 * DAY)
        async with setup.exporter() as second:
            assert (await second.scrape())(LOST) is None
            assert (await after(second, 3600))(LOST) is None

    run(scenario())


def test_a_lost_schedule_stays_while_the_list_cannot_be_read() -> None:
    """The metric still ends after seven days, while only histories are read."""

    async def main() -> None:
        clock = virtual_clock()
        one = scheduled()
        braze = simulator(clock, one)
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            show(one, None)
            lost = (await after(it, 3600))(LOST)
            braze.faults = [Fault(0, 9e12, FaultKind.SERVER_ERROR, LIST)]
            assert (await after(it, DAY))(LOST) == lost
            assert (await after(it, 7 * DAY))(LOST) is None
            assert braze.traffic[HISTORY].statuses[200] > 2

    run(main())
