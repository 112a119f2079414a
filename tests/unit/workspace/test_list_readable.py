"""The metric `braze_cdi_list_readable`, which is separate from `braze_cdi_up`."""

from collections.abc import Sequence

import pytest
import structlog
from structlog.typing import EventDict

from cdi_exporter.config import ConfiguredIntegration, WorkspaceConfig
from tests.harness import Rig, passes, rig, scripted, simulator, workspace
from tests.simulator import HISTORY, LIST, PERMISSIONS, Fault, FaultKind
from tests.unit.workspace.test_restart import finish, reload
from tests.virtual import run, virtual_clock

READABLE = "braze_cdi_list_readable"
NAMED = workspace(integrations=(ConfiguredIntegration("one"), ConfiguredIntegration("two")))
FAULTS = [
    FaultKind.SERVER_ERROR,
    FaultKind.OUTAGE,
    FaultKind.HANG,
    FaultKind.HTML_OK,
    FaultKind.REPEATING_CURSOR,
]


def events(logs: Sequence[EventDict], *names: str) -> list[str]:
    """The logged events with one of these names, in order."""
    return [each["event"] for each in logs if each["event"] in names]


async def refreshes(it: Rig, times: int, every: float = 20.0) -> None:
    """Scrape so many times."""
    for _ in range(times):
        await passes(every)
        await it.scrape()


@pytest.mark.parametrize("config", [workspace(), NAMED], ids=["discovered", "configured"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_failed_list_is_reported_while_histories_are_read(
    config: WorkspaceConfig, kind: FaultKind
) -> None:
    """`braze_cdi_up` stays 1, runs are counted, and each change is logged once."""

    async def main() -> None:
        clock = virtual_clock()
        one, two = scripted("one", 3), scripted("two", 3)
        braze = simulator(clock, one, two)
        async with rig(braze, workspaces=[config], clock=clock) as it:
            page = await it.scrape("/-/metrics")
            assert page(READABLE) is None
            assert (await it.scrape())(READABLE) == 1
            with structlog.testing.capture_logs() as logs:
                braze.faults = [Fault(0, 9e9, kind, endpoint=LIST, delay=1e6)]
                await refreshes(it, 10, 60)
                finish(one, clock, 7)
                await refreshes(it, 4, 60)
                page = await it.scrape()
                assert page(READABLE) == 0
                assert page("braze_cdi_up") == 1
                assert page("braze_cdi_rows_synced_total", integration_id="one") == 7
                braze.faults = []
                await refreshes(it, 12)
            page = await it.scrape()
            assert page(READABLE) == 1
            names = ("list read failed", "list read recovered", "refresh failed")
            assert events(logs, *names) == ["list read failed", "list read recovered"]

    run(main())


def test_list_readable_is_absent_before_the_first_attempt() -> None:
    async def main() -> None:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted("one", 3)), clock=clock) as it:
            assert it.exporter.workspaces["w"].snapshot().list_readable is None

    run(main())


def test_list_readable_is_absent_if_the_list_is_not_needed() -> None:
    """With configured IDs the list permission is optional: there is no metric and no log line."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(
            clock, scripted("one", 3), scripted("two", 3), permissions=[PERMISSIONS[HISTORY]]
        )
        async with rig(braze, workspaces=[NAMED], clock=clock) as it:
            with structlog.testing.capture_logs() as logs:
                for _ in range(3):
                    page = await it.scrape()
                    assert page(READABLE) is None
                    assert page("braze_cdi_up") == 1
                    await passes(20)
            assert not [each for each in logs if each["log_level"] != "info"]
            braze.permissions = set(PERMISSIONS.values())
            await passes(900)
            assert (await it.scrape())(READABLE) == 1
            braze.permissions = {PERMISSIONS[HISTORY]}
            await passes(20)
            assert (await it.scrape())(READABLE) is None
            await reload(it, workspace())
            await passes(20)
            page = await it.scrape()
            assert page(READABLE) == 0
            assert page("braze_cdi_up") == 0

    run(main())


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_list_readable_is_0_while_the_whole_refresh_fails(status: int) -> None:
    """The log contains only the failed refresh."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3))
        async with rig(braze, clock=clock) as it:
            await it.scrape()
            with structlog.testing.capture_logs() as logs:
                braze.faults = [Fault(0, 9e9, FaultKind.SERVER_ERROR, status=status)]
                await refreshes(it, 3, 120)
            page = await it.scrape()
            assert page(READABLE) == 0
            assert page("braze_cdi_up") == 0
            names = ("list read failed", "refresh failed")
            assert events(logs, *names) == ["refresh failed"]
            braze.faults = []
            await refreshes(it, 3, 120)
            assert (await it.scrape())(READABLE) == 1

    run(main())


@pytest.mark.parametrize("listed", [True, False], ids=["with the list", "without the list"])
@pytest.mark.parametrize("status", [400, 404])
def test_a_workspace_whose_ids_are_all_refused_is_down(status: int, listed: bool) -> None:
    """A workspace with at least one valid configured ID is up, and shows the rejected IDs."""

    async def main() -> None:
        clock = virtual_clock()
        permissions = [PERMISSIONS[HISTORY], *([PERMISSIONS[LIST]] if listed else [])]
        braze = simulator(clock, scripted("one", 3), scripted("two", 3), permissions=permissions)
        braze.faults = [Fault(0, 9e9, FaultKind.SERVER_ERROR, HISTORY, status=status)]
        async with rig(braze, workspaces=[NAMED], clock=clock) as it:
            with structlog.testing.capture_logs() as logs:
                await it.scrape()
                for _ in range(40):
                    await refreshes(it, 1)
                    page = await it.scrape()
                    assert page("braze_cdi_up") == 0
                    assert page("braze_cdi_refresh_error", reason="other") == 1
                    assert sum(page.all("braze_cdi_refresh_error")) == 1
            assert events(logs, "all integration IDs rejected") == ["all integration IDs rejected"]
            assert f"{status}: " in (await it.client.get("/")).text
            only_two = Fault(
                0, 9e9, FaultKind.SERVER_ERROR, HISTORY, status=status, integration_id="two"
            )
            braze.faults = [only_two]
            await refreshes(it, 90)
            page = await it.scrape()
            assert page("braze_cdi_up") == 1
            assert page("braze_cdi_refresh_error", reason="other") == 0
            assert page("braze_cdi_integration_up", integration_id="one") == 1
            assert page("braze_cdi_integration_up", integration_id="two") == 0

    run(main())


def test_discovered_integrations_that_are_all_refused_leave_the_workspace_up() -> None:
    """The list was read, and each integration shows that its history is refused."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", 3), scripted("two", 3))
        braze.faults = [Fault(0, 9e9, FaultKind.SERVER_ERROR, HISTORY, status=404)]
        async with rig(braze, clock=clock) as it:
            await refreshes(it, 4)
            page = await it.scrape()
            assert page("braze_cdi_up") == 1
            assert page.all("braze_cdi_integration_up") == [0, 0]

    run(main())
