"""Several exporters with one database in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from cdi_exporter.app import Exporter
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings, WorkspaceConfig
from cdi_exporter.state import SharedJournal, StateError
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import SCRAPER, Page, inline, workspace
from tests.shared_memory import MemoryDatabase, MemoryStore
from tests.simulation.direct import DirectTransport
from tests.simulator import Simulator


@dataclass
class Replica:
    """One of the exporters."""

    name: str
    exporter: Exporter
    journal: SharedJournal
    simulator: Simulator
    client: httpx.AsyncClient
    connected: bool = True
    """Whether it can reach the database."""
    answers: bool = True
    """Whether the database's responses arrive."""

    async def scrape(self, seconds: float = 10.0) -> Page:
        """The page that Prometheus gets with this scrape timeout."""
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(seconds)}
        response = await self.client.get("/metrics", headers=headers)
        assert response.status_code == 200, response.text
        return Page(response.text)


@asynccontextmanager
async def replica(
    name: str,
    database: MemoryDatabase,
    simulator: Simulator,
    clock: Clock,
    *,
    workspaces: Sequence[WorkspaceConfig] | None = None,
    connected: bool = True,
    delay: float = 0.0,
) -> AsyncIterator[Replica]:
    """An exporter with this name. It releases its leases at the end if it is connected.

    `delay` is the duration of a call to the database, in seconds. Calls are made one after the
    other.
    """
    transport = DirectTransport(simulator)

    def fault(stage: str) -> None:
        found = it.connected if stage == "request" else it.answers
        if not found:
            raise StateError("the connection is lost")

    def connect() -> MemoryStore:
        return MemoryStore(database, name, fault=fault)

    def offload(_: str) -> Callable[..., object]:
        thread = asyncio.Lock()

        async def call(work: Callable[[], object]) -> object:
            if not delay:
                return await inline(work)
            async with thread:
                await asyncio.sleep(delay)
                return await inline(work)

        return call

    journal = SharedJournal("memory", connect, clock, offload=offload)  # type: ignore[arg-type]
    exporter = Exporter(
        Settings(tuple(workspaces or [workspace()])),
        clock,
        transport=lambda _: transport,
        offload=inline,
        journal=journal,
    )
    client = httpx.AsyncClient(
        transport=DirectTransport(create_app(exporter, WebOptions())),
        base_url="http://e",
        headers=SCRAPER,
    )
    it = Replica(name, exporter, journal, simulator, client, connected=connected)
    await exporter.start()
    yield it
    await exporter.close()
    await client.aclose()
