"""Reloads of the configuration."""

import asyncio
import gc
from dataclasses import replace

import httpx
import pytest

from cdi_exporter.app import Exporter
from cdi_exporter.config import (
    ConfiguredIntegration,
    Settings,
    WorkspaceConfig,
)
from cdi_exporter.config.settings import RateLimits, Refresh
from cdi_exporter.errors import ConfigError
from cdi_exporter.state import Journal, SharedSource, StateError, StoredWorkspace
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import SCRAPER, Rig, inline, passes, scripted, simulator, workspace
from tests.simulation.direct import DirectTransport
from tests.simulator import HISTORY, PERMISSIONS, Fault, FaultKind, Simulator
from tests.virtual import run, virtual_clock


class Reloaded:
    """An exporter whose configuration a test can change."""

    def __init__(
        self,
        braze: Simulator,
        *configs: WorkspaceConfig,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings: Settings | ConfigError = Settings(configs)
        clock = virtual_clock()
        self.exporter = Exporter(
            Settings(configs),
            clock,
            load=self.load,
            transport=lambda _: transport or DirectTransport(braze),
            offload=inline,
        )
        app = create_app(self.exporter, WebOptions(enable_lifecycle=True))
        client = httpx.AsyncClient(
            transport=DirectTransport(app), base_url="http://e", headers=SCRAPER
        )
        self.rig = Rig(self.exporter, {"w": braze}, clock, client)

    async def load(self) -> Settings:
        if isinstance(self.settings, ConfigError):
            raise self.settings
        return self.settings

    async def reload(self) -> httpx.Response:
        return await self.rig.client.post("/-/reload")

    async def close(self) -> None:
        await self.rig.client.aclose()
        await self.exporter.close()


def test_counters_continue_after_a_reload() -> None:
    """A workspace that stays keeps its counters; a new name applies at once."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        it = Reloaded(simulator(clock, one), workspace())
        await it.rig.scrape()
        await passes(60)
        one.run(clock.wall() - 30, clock.wall() - 1, rows_synced=5)
        await it.rig.scrape()
        await passes(60)
        named = (ConfiguredIntegration(id="one", name="users"),)
        it.settings = Settings((replace(workspace(), integrations=named),))
        assert (await it.reload()).status_code == 200
        page = await it.rig.scrape()
        assert page("braze_cdi_syncs_total", status="success", integration_name="users") == 1
        assert page("cdi_exporter_config_last_reload_successful") == 1
        await it.close()

    run(main())


def test_an_integration_that_is_excluded_and_included_again_continues() -> None:
    """It disappears with the reload. When it returns, its counters continue."""

    async def main() -> None:
        clock = virtual_clock()
        one = scripted("one", runs=3)
        it = Reloaded(simulator(clock, one, scripted("two", runs=3)), workspace())
        await it.rig.scrape()
        await passes(60)
        it.settings = Settings((replace(workspace(), exclude=("sync-one",)),))
        await it.reload()
        page = await it.rig.scrape()
        assert page("braze_cdi_integrations") == 1
        one.run(clock.wall() - 30, clock.wall() - 1)
        await passes(60)
        await it.rig.scrape()
        it.settings = Settings((workspace(),))
        await it.reload()
        await passes(60)
        page = await it.rig.scrape()
        assert page("braze_cdi_syncs_total", status="success", integration_id="one") == 1
        await it.close()

    run(main())


def test_an_invalid_configuration_changes_nothing() -> None:
    """The response is 400 with all errors, a metric shows the failure, and nothing changes."""

    async def main() -> None:
        clock = virtual_clock()
        it = Reloaded(simulator(clock, scripted("one", runs=3)), workspace())
        await it.rig.scrape()
        it.settings = ConfigError(["config.yml:3: wrong", "config.yml:4: wrong too"])
        response = await it.reload()
        assert response.status_code == 400
        assert response.text == "config.yml:3: wrong\nconfig.yml:4: wrong too\n"
        page = await it.rig.scrape()
        assert page("cdi_exporter_config_last_reload_successful") == 0
        assert page("braze_cdi_last_sync_rows_synced") == 100
        it.settings = Settings((workspace(),))
        await it.reload()
        assert (await it.rig.scrape())("cdi_exporter_config_last_reload_successful") == 1
        await it.close()

    run(main())


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_removed_workspace_gets_no_more_requests(seconds: float) -> None:
    """Its series disappear with the reload, and its refresh ends."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", runs=3), latency=5)
        it = Reloaded(braze, workspace("w"), workspace("gone", endpoint="https://other.test"))
        await it.rig.scrape(seconds=1)
        await passes(seconds)
        it.settings = Settings((workspace("w"),))
        await it.reload()
        await passes(60)
        page = await it.rig.scrape()
        assert not page.all("braze_cdi_up", workspace="gone")
        assert page("braze_cdi_up", workspace="w") == 1
        await it.close()

    run(main())


class CountingTransport(DirectTransport):
    """A transport that counts requests which were cancelled before their response."""

    def __init__(self, app: Simulator) -> None:
        super().__init__(app)
        self.started, self.ended, self.cancelled = 0, 0, 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.started += 1
        try:
            response = await super().handle_async_request(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        return response


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "refused"])
@pytest.mark.parametrize("round_robin", [False, True], ids=["list", "round robin"])
def test_a_request_in_flight_completes_after_its_workspace_was_removed(
    round_robin: bool, fails: bool
) -> None:
    """After a reload it completes, its response is ignored, and no request follows."""

    async def main() -> None:
        unhandled: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, each: unhandled.append(each))
        clock = virtual_clock()
        several = [scripted(f"{number:02}", 3) for number in range(30)]
        braze = simulator(clock, *several, latency=5)
        if round_robin:
            braze.permissions = {PERMISSIONS[HISTORY]}
        if fails:
            braze.faults = [Fault(0, 9e9, FaultKind.SERVER_ERROR, status=404)]
        named = tuple(ConfiguredIntegration(each.id) for each in several) if round_robin else None
        transport = CountingTransport(braze)
        it = Reloaded(braze, workspace("gone", integrations=named), transport=transport)
        await it.rig.scrape(seconds=1)
        await passes(6 if round_robin else 1)
        started = transport.started
        assert started > transport.ended
        it.settings = Settings((workspace("other"),))
        await it.reload()
        await passes(60)
        assert transport.cancelled == 0
        assert transport.started == transport.ended == started
        gc.collect()
        assert not unhandled
        await it.close()

    run(main())


def test_a_removed_workspace_that_waits_for_the_budget_makes_no_request() -> None:
    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, *(scripted(f"{number:02}", 3) for number in range(30)))
        refresh = Refresh(rate_limits=RateLimits(integrations=2))
        it = Reloaded(braze, workspace("gone", refresh=refresh))
        await it.rig.scrape(seconds=5)
        before = it.rig.requests()
        it.settings = Settings((workspace("other"),))
        await it.reload()
        await passes(300)
        assert it.rig.requests() == before
        await it.close()

    run(main())


class HalfReadable(Journal):
    """A journal that cannot read the state of one workspace."""

    def attach(self, source: SharedSource) -> StoredWorkspace:
        if source.name == "broken":
            raise StateError("unreadable record")
        return StoredWorkspace()


def test_a_reload_that_fails_at_its_last_step_changes_nothing() -> None:
    """The state of a new workspace is unreadable, so the other's rate limit share is unchanged."""

    async def main() -> None:
        clock = virtual_clock()
        it = Reloaded(simulator(clock, scripted("one", runs=3)), workspace())
        it.exporter._journal = HalfReadable()
        await it.rig.scrape()
        before = it.exporter._clients.by_workspace["w"]
        shares = [budget.share for budget in before.budgets.values()]
        small = Refresh(rate_limit_share=0.1, rate_limits=RateLimits(1, 1))
        it.settings = Settings((workspace(refresh=small), workspace("broken")))
        response = await it.reload()
        assert (response.status_code, response.text) == (400, "unreadable record\n")
        assert it.exporter._clients.by_workspace["w"] is before
        assert [budget.share for budget in before.budgets.values()] == shares
        assert list(it.exporter.workspaces) == ["w"]
        assert (await it.rig.scrape())("cdi_exporter_config_last_reload_successful") == 0
        await it.close()

    run(main())


def test_a_configuration_that_cannot_be_read_in_time_is_rejected() -> None:
    """The file is on a mount that hangs: the reload fails after 30 s, and the next one works."""

    async def main() -> None:
        clock = virtual_clock()
        it = Reloaded(simulator(clock, scripted("one", runs=3)), workspace())
        working = it.exporter._load

        async def hang() -> Settings:
            await asyncio.sleep(1e6)
            raise AssertionError

        it.exporter._load = hang
        response = await it.reload()
        assert response.status_code == 400
        assert "could not be read in 30 s" in response.text
        assert clock.monotonic() == 30
        it.exporter._load = working
        assert (await it.reload()).status_code == 200
        await it.close()

    run(main())


def test_closing_waits_for_the_workspaces_that_are_leaving() -> None:
    """A reload just before shutdown leaves no running task."""

    async def main() -> None:
        clock = virtual_clock()
        braze = simulator(clock, scripted("one", runs=3), latency=3)
        it = Reloaded(braze, workspace("w"), workspace("gone", endpoint="https://other.test"))
        await it.rig.scrape(seconds=1)
        it.settings = Settings((workspace(),))
        assert (await it.reload()).status_code == 200
        leaving = [*it.exporter._background]
        assert leaving
        await it.close()
        assert all(task.done() for task in leaving)

    run(main())


def test_many_signals_cause_two_reloads() -> None:
    """The first signal starts a reload; one more follows for all signals received during it."""

    async def main() -> None:
        clock = virtual_clock()
        it = Reloaded(simulator(clock, scripted("one", runs=3)), workspace())
        loads: list[float] = []
        settings = Settings((workspace(),))

        async def load() -> Settings:
            loads.append(clock.monotonic())
            await asyncio.sleep(1)
            return settings

        it.exporter._load = load
        for _ in range(1_000):
            it.exporter.reload_soon()
        await asyncio.sleep(0.5)
        for _ in range(1_000):
            it.exporter.reload_soon()
        assert len(it.exporter._background) == 2
        await asyncio.sleep(5)
        assert loads == [0, 1]
        await it.close()

    run(main())
