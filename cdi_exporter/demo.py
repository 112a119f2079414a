"""Runs the exporter with a simulated workspace, without an API key or a network."""

import asyncio

import click
import httpx

from cdi_exporter.app import Exporter, ServeOptions, serve
from cdi_exporter.clock import system_clock
from cdi_exporter.config import Refresh, Settings, WorkspaceConfig, inline_key
from cdi_exporter.simulator import demo_workspace

WORKSPACE = "demo"
SCRAPE_EVERY = 5.0
"""Seconds between the demo's own scrapes, so that it works without Prometheus."""

WELCOME = """
  A simulated Braze workspace is running, with syncs that succeed, fail, lose rows and get stuck.

    {base}/  status page
    {base}{path}  metrics for Prometheus

  In Prometheus:  increase(braze_cdi_rows_failed_total[5m])
  Stop with Ctrl-C.
"""


async def run(options: ServeOptions, *, integrations: int, seed: int, speed: float) -> None:
    """Serve the demo until it is stopped. `speed` shortens schedules and durations."""
    clock = system_clock()
    simulated = demo_workspace(seed, integrations, speed, clock=clock.wall)
    workspace = WorkspaceConfig(
        name=WORKSPACE,
        endpoint="https://demo.invalid",
        key=inline_key(simulated.key),
        refresh=Refresh(min_interval=2.0),
    )
    exporter = Exporter(
        Settings((workspace,)), clock, transport=lambda _: httpx.ASGITransport(simulated)
    )

    def serving() -> None:
        base = options.listen[0].url(tls=exporter.serves_tls).removesuffix("/")
        click.echo(WELCOME.format(base=base, path=options.web.telemetry_path))
        scrapes.append(asyncio.create_task(_scrape_forever(exporter)))

    scrapes: list[asyncio.Task[None]] = []
    try:
        await serve(exporter, options, serving)
    finally:
        for task in scrapes:
            task.cancel()


async def _scrape_forever(exporter: Exporter) -> None:
    workspace = exporter.workspaces[WORKSPACE]
    while True:
        workspace.received(await workspace.scrape(asyncio.get_running_loop().time() + SCRAPE_EVERY))
        await asyncio.sleep(SCRAPE_EVERY)
