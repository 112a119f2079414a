"""A reload replaces the configuration; what is known stays."""

from dataclasses import replace

import httpx
import pytest

from cdi_exporter.app import Exporter
from cdi_exporter.config import ConfiguredIntegration, Settings, WorkspaceConfig
from cdi_exporter.errors import ConfigError
from cdi_exporter.simulator import Simulator
from cdi_exporter.web.app import WebOptions, create_app
from tests.harness import SCRAPER, Rig, inline, passes, scripted, simulator, workspace
from tests.simulation.direct import DirectTransport
from tests.virtual import run, virtual_clock


class Reloaded:
    """An exporter whose configuration a test changes."""

    def __init__(self, braze: Simulator, *configs: WorkspaceConfig) -> None:
        self.settings: Settings | ConfigError = Settings(configs)
        clock = virtual_clock()
        self.exporter = Exporter(
            Settings(configs),
            clock,
            load=self.load,
            transport=lambda _: DirectTransport(braze),
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


def test_counters_go_on_over_a_reload() -> None:
    """A workspace that stays keeps its ledger; a rule for staleness applies at once."""

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


def test_an_integration_that_is_excluded_and_included_again_goes_on() -> None:
    """It leaves the exposition at the reload, and its counters continue when it is back."""

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


def test_a_wrong_configuration_is_rejected_whole() -> None:
    """400 with the mistakes, a metric that says so, and everything goes on as before."""

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
def test_a_workspace_that_left_is_not_asked_again(seconds: float) -> None:
    """Its series are gone with the reload, and what it had under way ends."""

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
