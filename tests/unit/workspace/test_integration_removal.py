"""When an integration is removed from the exposition, and how long its state is kept."""

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from cdi_exporter.config import ConfiguredIntegration, WorkspaceConfig
from cdi_exporter.state import Store
from cdi_exporter.workspace import REMEMBERED_FOR, Workspace
from tests.harness import Page, Rig, passes, rig, scripted, simulator, workspace
from tests.simulator import LIST, Fault, FaultKind
from tests.unit.workspace.test_restart import StatefulSetup, finish, records
from tests.virtual import run, virtual_clock

DAY = 86_400.0
SYNCED = "braze_cdi_rows_synced_total"


def shown(page: Page) -> float | None:
    """The counted rows of the integration `one`; None if it is not shown."""
    return page(SYNCED, integration_id="one")


async def refreshes(it: Rig, times: int = 2, every: float = 15.0) -> Page:
    """The page after several refreshes."""
    for _ in range(times):
        await passes(every)
        page = await it.scrape()
    return page


RENAMES = [
    pytest.param(workspace(exclude=("*-sandbox",)), "users-sandbox", id="exclude"),
    pytest.param(workspace(include=("sync-*",)), "users", id="include"),
]


@pytest.mark.parametrize(("config", "name"), RENAMES)
def test_a_renamed_integration_is_removed_if_it_is_no_longer_selected(
    config: WorkspaceConfig, name: str
) -> None:
    """It leaves within two refreshes. If it is renamed back, its counters continue."""

    async def main() -> None:
        clock = virtual_clock()
        one, two = scripted("one", 3), scripted("two", 3)
        async with rig(simulator(clock, one, two), workspaces=[config], clock=clock) as it:
            await it.scrape()
            finish(one, clock, 5)
            assert shown(await refreshes(it)) == 5
            one.name = name
            with structlog.testing.capture_logs() as logs:
                page = await refreshes(it)
            assert shown(page) is None
            assert page("braze_cdi_integrations") == 1
            assert page("braze_cdi_up") == 1
            assert [each for each in logs if each["event"] == "integration excluded"] == [
                {
                    "event": "integration excluded",
                    "log_level": "info",
                    "workspace": "w",
                    "integration_id": "one",
                    "integration_name": "sync-one",
                }
            ]
            finish(one, clock, 7)
            assert shown(await refreshes(it, 60)) is None
            one.name = "sync-one"
            assert shown(await refreshes(it)) == 12
            page = await refreshes(it, 5)
            assert page("braze_cdi_syncs_total", integration_id="one", status="success") == 2
            assert page("braze_cdi_history_gaps_total", integration_id="one") == 0

    run(main())


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(("config", "name"), RENAMES)
def test_a_deselected_integration_stays_removed_after_a_restart(
    tmp_path: Path, config: WorkspaceConfig, name: str, crash: bool
) -> None:
    """The state file keeps its counters, and each run counts once after it returns."""
    one = scripted("one", 3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one, scripted("two", 3))
        async with setup.exporter(config=config, crash=crash) as first:
            await first.scrape()
            finish(one, setup.clock, 5)
            await refreshes(first)
            one.name = name
            assert shown(await refreshes(first)) is None
            await asyncio.sleep(5)
        finish(one, setup.clock, 7)
        async with setup.exporter(config=config, crash=crash) as second:
            assert shown(await refreshes(second)) is None
            await asyncio.sleep(5)
        async with setup.exporter(config=config) as third:
            one.name = "sync-one"
            await refreshes(third)
            assert shown(await refreshes(third)) == 12

    run(scenario())


def test_an_integration_without_a_name_in_the_list_is_not_removed() -> None:
    """An item without a name is not evaluated against `include` and `exclude`."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        config = workspace(include=("sync-*",))
        async with rig(simulator(clock, one), workspaces=[config], clock=clock) as it:
            await it.scrape()
            for name in (None, "", ...):
                one.list_fields = {"integration_name": name}
                assert shown(await refreshes(it)) == 0

    run(main())


def test_a_configured_id_is_kept_whatever_its_name() -> None:
    """`include` and `exclude` apply to the configured IDs, not to the names in the list."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        config = workspace(
            integrations=(ConfiguredIntegration("one"),), exclude=("*-sandbox",), include=("one",)
        )
        braze = simulator(clock, one, scripted("two", 3))
        async with rig(braze, workspaces=[config], clock=clock) as it:
            await it.scrape()
            one.name = "users-sandbox"
            assert shown(await refreshes(it)) == 0
            braze.remove("one")
            assert shown(await refreshes(it, 100)) == 0

    run(main())


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.ITEM_WITHOUT_ID])
def test_an_incomplete_list_removes_no_integration(kind: FaultKind) -> None:
    """A list that failed or contains an unreadable item is incomplete."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, *(scripted(each, 3) for each in ("two", "three", "one")))
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            braze.remove("one")
            braze.faults = [Fault(0, 9e9, kind, endpoint=LIST)]
            assert shown(await refreshes(it, 80)) == 0
            braze.faults = []
            assert shown(await refreshes(it, 30)) == 0
            assert shown(await refreshes(it, 14)) is None

    run(main())


def test_an_integration_absent_from_two_lists_far_apart_is_removed() -> None:
    """An integration is removed if two lists and ten minutes lack it."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3), scripted("two", 3))
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            braze.remove("one")
            assert shown(await refreshes(it, 1, 7200)) == 0
            assert shown(await refreshes(it, 1, 590)) == 0
            assert shown(await refreshes(it, 1, 30)) is None

    run(main())


@pytest.mark.parametrize("keeps", [True, False])
def test_ids_that_keep_changing_are_forgotten(tmp_path: Path, keeps: bool) -> None:
    """Integrations removed more than 30 days ago use neither memory nor space in the file."""
    configs = {"followed": workspace(), "excluded": workspace(exclude=("*",))}

    async def scenario(config: WorkspaceConfig, folder: Path) -> None:
        setup = StatefulSetup(folder)
        setup.simulator.add(scripted("constant", 3))
        if not keeps:
            async with rig(setup.simulator, workspaces=[config], clock=setup.clock) as it:
                await days(setup, it, range(45))
            return
        for first in range(0, 45, 9):  # with restarts
            async with setup.exporter(config=config) as it:
                await days(setup, it, range(first, first + 9))
        assert len(records(setup)) <= 34
        with sqlite3.connect(setup.path) as connection:
            (many,) = connection.execute("SELECT count(*) FROM workspaces").fetchone()
        connection.close()
        assert many == 1

    async def days(setup: StatefulSetup, it: Rig, several: Sequence[int]) -> None:
        for number in several:
            setup.simulator.add(scripted(f"day-{number}", 1))
            await refreshes(it, 6, 4 * 3600)
            setup.simulator.remove(f"day-{number}")
        assert len(remembered(it.exporter.workspaces["w"])) <= 34

    for name, config in configs.items():
        (tmp_path / name).mkdir()
        run(scenario(config, tmp_path / name))


def remembered(one: Workspace) -> set[str]:
    """All IDs that a workspace holds anywhere."""
    inventory, publisher = one._inventory, one._publisher
    parts = (
        inventory._followed,
        inventory._absent,
        inventory._gone,
        inventory._ever_listed,
        inventory.moved,
        publisher._changed,
        publisher._watermarks_ahead,
    )
    return set().union(*parts)


@pytest.mark.parametrize("restart", [False, True])
def test_a_forgotten_integration_that_returns_counts_no_run_twice(
    tmp_path: Path, restart: bool
) -> None:
    """Runs before its removal are not counted again; later runs are counted once."""
    one, two = scripted("one"), scripted("two", 3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path)
        setup.simulator = simulator(setup.clock, two, retention=400 * DAY)
        async with setup.exporter() as first:
            await first.scrape()
            setup.simulator.add(one)
            for _ in range(15):
                finish(one, setup.clock, 5)
                page = await refreshes(first)
            assert shown(page) == 75
            setup.simulator.remove("one")
            await refreshes(first, 60)
            await refreshes(first, 2, REMEMBERED_FOR)
            assert remembered(first.exporter.workspaces["w"]) == {"two"}
            if not restart:
                await returns(setup, first)
        if restart:
            async with setup.exporter() as second:
                await returns(setup, second)

    async def returns(setup: StatefulSetup, it: Rig) -> None:
        finish(one, setup.clock, 7)
        setup.simulator.add(one)
        assert shown(await refreshes(it, 1)) == 0
        page = await refreshes(it, 4)
        assert shown(page) == 7
        assert page("braze_cdi_history_gaps_total", integration_id="one") == 0

    run(scenario())


def test_all_runs_of_a_new_integration_count_after_others_were_forgotten(tmp_path: Path) -> None:
    """Its runs finished after the other integration was removed."""
    one, new = scripted("one", 3), scripted("new")

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one, scripted("two", 3))
        async with setup.exporter() as it:
            await it.scrape()
            setup.simulator.remove("one")
            await refreshes(it, 60)
            await refreshes(it, 2, REMEMBERED_FOR)
            for _ in range(25):
                await asyncio.sleep(600)
                finish(new, setup.clock, 1)
            setup.simulator.add(new)
            await it.scrape()
            page = await refreshes(it, 4)
            assert page(SYNCED, integration_id="new") == 25
            assert page("braze_cdi_history_gaps_total", integration_id="new") == 0

    run(scenario())


def test_an_integration_excluded_for_long_is_not_new() -> None:
    """It was listed all the time, so its earlier runs are the baseline."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        config = workspace(exclude=("*-sandbox",))
        async with rig(simulator(clock, one), workspaces=[config], clock=clock) as it:
            await it.scrape()
            finish(one, clock, 5)
            assert shown(await refreshes(it)) == 5
            one.name = "one-sandbox"
            await refreshes(it)
            await refreshes(it, 62, DAY / 2)
            one.name = "one"
            assert shown(await refreshes(it, 4)) == 0
            finish(one, clock, 7)
            assert shown(await refreshes(it)) == 7

    run(main())


def test_ids_that_keep_changing_do_not_make_the_state_file_grow(tmp_path: Path) -> None:
    """Each integration is removed after a day and forgotten after 30 days."""

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, scripted("stays", 3))
        async with setup.exporter() as it:
            sizes = []
            for day in range(70):
                for number in range(5):
                    setup.simulator.add(scripted(f"{day}-{number}"))
                await refreshes(it, 3)
                for number in range(5):
                    setup.simulator.remove(f"{day}-{number}")
                await refreshes(it, 4, DAY / 4)
                sizes.append(setup.path.stat().st_size)
        store = Store(str(setup.path), setup.clock.wall)
        assert len(store.load("w").rows) <= 1 + 5 * 32
        assert sizes[-1] <= 1.1 * max(sizes[:40])
        store.close()

    run(scenario())
