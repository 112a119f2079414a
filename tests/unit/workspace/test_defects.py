"""Internal errors, which are reported and retried by the next refresh."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from structlog.typing import EventDict

from cdi_exporter.workspace.integration import IntegrationState
from tests.harness import Page, Rig, passes, rig, scripted, simulator, workspace
from tests.simulator import HISTORY
from tests.unit.workspace.test_restart import StatefulSetup, finish
from tests.virtual import run, virtual_clock

BOOM = "the disk of the moon is full"


class Defect(RuntimeError):
    """An unexpected error."""


def breaks(owner: object, name: str) -> Callable[[], None]:
    """Make a method raise; return a function that restores it."""

    def broken(*args: object, **options: object) -> object:
        raise Defect(BOOM)

    own = vars(owner).get(name)
    setattr(owner, name, broken)
    return lambda: delattr(owner, name) if own is None else setattr(owner, name, own)


def part(it: Rig, path: str) -> Any:
    """An object within the workspace `w`, by its attribute path."""
    found: Any = it.exporter.workspaces["w"]
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


def defects(logs: list[EventDict]) -> list[str]:
    """The events that report a defect. Each must contain the error itself."""
    found = [each for each in logs if each.get("exc_info")]
    for each in found:
        assert isinstance(each["exc_info"], Defect), each
        assert each["workspace"] == "w"
    return [each["event"] for each in found]


@pytest.fixture(autouse=True)
def no_task_dies_silently() -> Iterator[None]:
    """Fail the test on unhandled errors of tasks."""
    found: list[object] = []
    original = asyncio.SelectorEventLoop.call_exception_handler

    def noted(self: asyncio.SelectorEventLoop, context: dict[str, Any]) -> None:
        found.append(context)

    asyncio.SelectorEventLoop.call_exception_handler = noted  # type: ignore[method-assign, assignment]
    yield
    asyncio.SelectorEventLoop.call_exception_handler = original  # type: ignore[method-assign]
    assert not found


async def refreshes(it: Rig, times: int = 2) -> Page:
    """The page after several refreshes."""
    for _ in range(times):
        await passes(12)
        page = await it.scrape()
    return page


IN_A_REFRESH = [
    ("_inventory", "forget"),
    ("_inventory", "complete_list"),
    ("_inventory", "apply_list_item"),
    ("_publisher", "note_refresh"),
    ("_publisher", "note"),
    ("_histories", "start_refresh"),
    ("_histories", "queue_due"),
    ("_refresher", "_succeeded"),
    ("_refresher._list", "_apply"),
    ("_api", "integrations"),
    ("_api", "instant"),
    ("_refresher", "start"),
    ("_publisher", "settle"),
    ("_histories", "can_progress_within"),
    ("", "_snapshot"),
    ("_api", "snapshot"),
    ("_histories._queue", "_permit"),
    ("_histories._queue", "_most_urgent"),
]


@pytest.mark.parametrize(("path", "name"), IN_A_REFRESH)
def test_a_defect_in_a_refresh_is_reported_once_until_it_is_gone(path: str, name: str) -> None:
    """`braze_cdi_up` is 0 with the reason `other`, one log line reports it, and data stays."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", 3)
        async with rig(simulator(clock, one), clock=clock) as it:
            await it.scrape()
            finish(one, clock, 5)
            restore = breaks(part(it, path), name)
            with structlog.testing.capture_logs() as logs:
                await refreshes(it, 3)
                page = await it.scrape()
                assert page("braze_cdi_up") == 0
                assert page("braze_cdi_refresh_error", reason="other") == 1
                assert page("braze_cdi_last_sync_status", status="success") == 1
                assert BOOM not in page.text
                assert len(defects(logs)) == 1, "reported once while it lasts"
            restore()
            with structlog.testing.capture_logs() as logs:
                page = await refreshes(it, 3)
            assert page("braze_cdi_up") == 1
            assert page("braze_cdi_refresh_error", reason="other") == 0
            assert page("braze_cdi_rows_synced_total") == 5
            assert not defects(logs)
            finish(one, clock, 7)
            assert (await refreshes(it))("braze_cdi_rows_synced_total") == 12

    run(main())


def test_a_defect_in_a_check_between_refreshes_is_reported() -> None:
    """Reads that become due between refreshes are queued by a separate task."""

    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted("one", 3)), clock=clock) as it:
            await it.scrape()
            await passes(6)
            restore = breaks(part(it, "_histories"), "queue_due")
            with structlog.testing.capture_logs() as logs:
                await it.scrape()
                await passes(2)
                page = await it.scrape()
            assert page("braze_cdi_up") == 0
            assert page("braze_cdi_refresh_error", reason="other") == 1
            assert defects(logs) == ["internal error"]
            restore()
            assert (await refreshes(it))("braze_cdi_up") == 1

    run(main())


class BreaksBeforeTheRequest(IntegrationState):
    """A read of this integration fails before its request."""

    @property
    def fingerprint(self) -> NoReturn:
        """Raise Defect."""
        raise Defect(BOOM)


class BreaksAfterTheRequest(IntegrationState):
    """A read of this integration fails after its request."""

    def apply_newest_page(self, *args: object) -> NoReturn:
        """Raise Defect."""
        raise Defect(BOOM)


@pytest.mark.parametrize("broken", [BreaksBeforeTheRequest, BreaksAfterTheRequest])
def test_a_defect_in_one_history_read_does_not_delay_others(
    broken: type[IntegrationState],
) -> None:
    """The integration is down, and no request permit is lost."""

    async def main() -> None:
        clock = virtual_clock()
        one, two = scripted("one", 3), scripted("two", 3)
        async with rig(simulator(clock, one, two), clock=clock) as it:
            await it.scrape()
            finish(one, clock, 5)
            state = part(it, "_inventory").get("one")
            state.__class__ = broken
            for _ in range(120):
                finish(two, clock, 1)
                page = await refreshes(it, 1)
                await passes(3)
            assert page("braze_cdi_integration_up", integration_id="one") == 0
            assert page("braze_cdi_rows_synced_total", integration_id="two") == 120
            state.__class__ = IntegrationState
            await passes(900)
            page = await refreshes(it, 3)
            assert page("braze_cdi_rows_synced_total", integration_id="one") == 5
            assert part(it, "_api").client.budgets[HISTORY].running == 0

    run(main())


def test_a_defect_while_preparing_a_state_write_loses_nothing(tmp_path: Path) -> None:
    """The counters stay at the committed values, and catch up once the defect is gone."""
    one = scripted("one", 3)

    async def scenario() -> None:
        setup = StatefulSetup(tmp_path, one)
        async with setup.exporter() as it:
            await it.scrape()
            await passes(5)
            restore = breaks(part(it, "_inventory").get("one"), "record")
            with structlog.testing.capture_logs() as logs:
                finish(one, setup.clock, 5)
                page = await refreshes(it, 4)
                assert page("braze_cdi_last_sync_rows_synced") == 5
                assert page("braze_cdi_rows_synced_total") == 0
                failed = page("cdi_exporter_state_writes_failed_total")
                assert failed is not None
                assert failed > 0
            events = [each["event"] for each in logs if each.get("exc_info")]
            assert events == ["state write failed"]
            restore()
            finish(one, setup.clock, 7)
            page = await refreshes(it, 3)
            assert page("braze_cdi_rows_synced_total") == 12

    run(scenario())


def test_a_broken_workspace_does_not_hide_others() -> None:
    """The other workspace's data on `/metrics` stays fresh."""

    async def main() -> None:
        clock = virtual_clock()
        healthy, failing = (
            simulator(clock, scripted("one", 3)),
            simulator(clock, scripted("two", 3)),
        )
        configs = [workspace("w0"), workspace("w1")]
        async with rig(healthy, failing, workspaces=configs, clock=clock) as it:
            await it.scrape()
            breaks(it.exporter.workspaces["w1"]._refresher, "start")
            page = await refreshes(it)
            assert page("braze_cdi_up", workspace="w0") == 1
            assert page("braze_cdi_up", workspace="w1") == 0

    run(main())
