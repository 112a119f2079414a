"""The exporter against a simulated workspace in the same process: no key, no network."""

import asyncio
from collections.abc import Callable

import httpx

from cdi_exporter.app import Exporter, ServeOptions, serve
from cdi_exporter.clock import Clock, system_clock
from cdi_exporter.config import Refresh, Settings, WorkspaceConfig, inline_key
from cdi_exporter.simulator import demo_workspace
from cdi_exporter.web.server import Address

WORKSPACE = "demo"
SCRAPE_EVERY = 5.0
"""Seconds between the scrapes that the demo makes itself, since no Prometheus need run."""


def demo_exporter(clock: Clock, *, integrations: int, seed: int, speed: float) -> Exporter:
    """An exporter of one simulated workspace; `speed` divides schedules and durations."""
    simulated = demo_workspace(seed, integrations, speed, clock=clock.wall)
    workspace = WorkspaceConfig(
        name=WORKSPACE,
        endpoint="https://demo.invalid",
        key=inline_key(simulated.key),
        refresh=Refresh(min_interval=2.0),
    )
    return Exporter(
        Settings((workspace,)), clock, transport=lambda _: httpx.ASGITransport(simulated)
    )


async def run(
    options: ServeOptions,
    *,
    integrations: int,
    seed: int,
    speed: float,
    say: Callable[[str], object],
) -> None:
    """Serve the demo until it is stopped; `say` prints the URLs."""
    exporter = demo_exporter(system_clock(), integrations=integrations, seed=seed, speed=speed)

    def serving() -> None:
        path = options.web.telemetry_path
        say(what_to_open(options.listen[0], path, tls=exporter.serves_tls))
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


def what_to_open(address: Address, telemetry_path: str, *, tls: bool = False) -> str:
    """A few lines for the terminal."""
    base = address.url(tls=tls).removesuffix("/")
    return f"""
  A simulated Braze workspace is running, with syncs that succeed, fail, lose rows and get stuck.

    {base}/  status page
    {base}{telemetry_path}  metrics for Prometheus

  In Prometheus:  increase(braze_cdi_rows_failed_total[5m])
  Stop with Ctrl-C.
"""
