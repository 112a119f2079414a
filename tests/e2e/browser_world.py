"""A simulated workspace, the real exporter and its web server, with a stopped wall clock."""

import asyncio
import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpx

from cdi_exporter.app import Exporter
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings, WorkspaceConfig, inline_key
from cdi_exporter.config.settings import RateLimits, Refresh
from cdi_exporter.web.routes import WebOptions, create_app
from cdi_exporter.web.server import Address, Listener, listen
from tests.e2e.processes import eventually
from tests.harness import SCRAPER
from tests.shown import NOW
from tests.simulator import (
    HISTORY,
    LIST,
    IntegrationSpec,
    ScriptedIntegration,
    SimulatedTransport,
    Simulator,
)

WORKSPACE = "production"
LIMIT = 100_000
"""Requests per minute: high enough that the limit never matters."""


class World:
    """The simulated workspace and the exporter. `now`, in Unix seconds, can be changed."""

    def __init__(self, integrations: Iterable[IntegrationSpec | ScriptedIntegration]) -> None:
        self.now = NOW
        self.url = ""
        self.simulator = Simulator(
            integrations, self.wall, limits={LIST: LIMIT, HISTORY: LIMIT}, retention=3 * 86_400.0
        )

    def wall(self) -> float:
        """The wall clock of the exporter and of the simulated Braze."""
        return self.now

    def requests(self) -> int:
        """The number of requests that the simulated Braze received."""
        return sum(len(traffic.times) for traffic in self.simulator.traffic.values())

    def scrape(self) -> None:
        """Scrape like Prometheus until everything has been read."""
        eventually(self._read, "all histories are read")

    def _read(self) -> bool:
        httpx.get(f"{self.url}/metrics", headers=SCRAPER).raise_for_status()
        (shown,) = httpx.get(f"{self.url}/api/v1/status").json()["workspaces"]
        return shown["state"] in ("ok", "failing") and not shown["history_reads_pending"]

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        """Serve on a free loopback port until `stop` is set."""
        loop = asyncio.get_running_loop()
        clock = Clock(self.wall, loop.time, asyncio.sleep, random.Random(1))
        exporter = Exporter(
            Settings((_config(self.simulator),)),
            clock,
            transport=lambda _: SimulatedTransport(self.simulator),
        )
        sock = listen(Address("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        listener = Listener(create_app(exporter, WebOptions()), [sock])
        task = asyncio.create_task(listener.serve())
        await listener.wait_started()
        started.set()
        await stop.wait()
        listener.stop()
        await task
        await exporter.close()


def _config(simulator: Simulator) -> WorkspaceConfig:
    return WorkspaceConfig(
        name=WORKSPACE,
        endpoint="https://simulated.invalid",
        key=inline_key(simulator.key),
        refresh=Refresh(min_interval=0.05, rate_limits=RateLimits(LIMIT, LIMIT)),
    )


@contextmanager
def living(*integrations: IntegrationSpec | ScriptedIntegration) -> Iterator[World]:
    """Run the world in a thread. Nothing has been scraped yet."""
    world = World(integrations)
    started, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=[world.serve(started, stop)])
    thread.start()
    try:
        assert started.wait(30)
        yield world
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()
