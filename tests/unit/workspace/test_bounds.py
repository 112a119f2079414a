"""Upper bounds on the integrations that a workspace follows and remembers."""

import traceback

import pytest

from cdi_exporter.model import Integration
from cdi_exporter.workspace import inventory as inventory_module
from cdi_exporter.workspace import list_reader as list_reader_module
from cdi_exporter.workspace.inventory import Inventory
from tests.harness import passes, rig, scripted, simulator, workspace
from tests.simulator import HISTORY, Fault, FaultKind
from tests.virtual import instant, run, virtual_clock

MOST = 30


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the bounds, because the real ones take minutes to reach."""
    monkeypatch.setattr(inventory_module, "MOST_INTEGRATIONS", MOST)
    monkeypatch.setattr(inventory_module, "MOST_REMEMBERED", MOST)


def test_with_too_many_integrations_the_first_are_watched_and_an_error_is_shown() -> None:
    """`braze_cdi_up` is 0 with a reason. The first integrations are read and counted."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"id-{number:03}", 2) for number in range(MOST + 5)]
        async with rig(simulator(clock, *several), clock=clock) as it:
            for _ in range(4):
                page = await it.scrape()
                await passes(60)
            assert page("braze_cdi_integrations") == MOST
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_refresh_error", reason="invalid_response") == 1
            assert page("braze_cdi_list_readable") == 1
            assert len(page.all("braze_cdi_last_sync_rows_synced")) == MOST
            status = (await it.client.get("/api/v1/status")).json()["workspaces"][0]
            assert "more than" in status["problem"]["text"]

    run(main())


def test_reading_an_endless_list_stops_after_a_number_of_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(list_reader_module, "MOST_LIST_PAGES", 2)

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"id-{number:03}", 1) for number in range(MOST)]
        async with rig(simulator(clock, *several), clock=clock) as it:
            page = await it.scrape()
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_integrations") == 20
            await passes(60)

    run(main())


def test_ids_that_change_with_every_list_are_forgotten() -> None:
    """Neither the followed nor the remembered integrations grow without bound."""
    inventory = Inventory(workspace())
    now = 0.0
    for refresh in range(200):
        now += 60
        listed = {f"id-{refresh}-{number}" for number in range(10)}
        for identifier in listed:
            inventory.apply_list_item(Integration(identifier), instant(now))
        inventory.complete_list(listed, instant(now))
        inventory.forget(instant(now))
        assert len(inventory) <= MOST
        assert len(inventory._gone) <= 2 * MOST
        assert len(inventory._ever_listed) <= 4 * MOST


def test_a_stored_error_does_not_keep_the_response() -> None:
    """The error of each integration is kept until its next read, without the response body."""

    async def main() -> None:
        clock = virtual_clock()
        several = [scripted(f"id-{number}", 2) for number in range(3)]
        async with rig(simulator(clock, *several), clock=clock) as it:
            await it.scrape()
            await passes(60)
            braze = it.simulator
            braze.faults = [Fault(0, 9e9, FaultKind.NOT_JSON, HISTORY)]
            for each in several:
                each.run(clock.wall() - 5, clock.wall() - 1)
            await it.scrape()
            await passes(1)
            states = [*it.exporter.workspaces["w"]._inventory]
            kept = [each.problem for each in states if each.problem is not None]
            assert kept
            for error in kept:
                frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                assert not {"_body", "_try", "_exchange"}.intersection(frames)
                assert error.__context__ is None
                assert error.__cause__ is None

    run(main())
