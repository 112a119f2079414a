"""The real exporter with a simulated workspace, in virtual time: the basis of most tests."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import httpx

from cdi_exporter.app import Exporter
from cdi_exporter.clock import Clock
from cdi_exporter.config import Settings, WorkspaceConfig, inline_key
from cdi_exporter.state import Journal, SqliteJournal, Store
from cdi_exporter.web.routes import WebOptions, create_app
from tests.simulation.direct import DirectTransport
from tests.simulator import ScriptedIntegration, Simulator
from tests.virtual import EPOCH, virtual_clock

KEY = "simulated-key"
SCRAPER = {"Accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}
"""Headers that mark a request as a scrape, after which counters may rise."""

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Page:
    """A scraped page. It is parsed when samples are first needed."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _samples(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for name, labels, value in SAMPLE.findall(self.text):
            found.setdefault(name, []).append((dict(LABEL.findall(labels)), float(value)))
        return found

    def all(self, name: str, **labels: str) -> list[float]:
        """The values of the samples with these labels."""
        several = self._samples.get(name, ())
        return [value for carried, value in several if labels.items() <= carried.items()]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of the only sample with these labels; None if there is none."""
        found = self.all(name, **labels)
        assert len(found) <= 1, f"{name} {labels}: {found}"
        return found[0] if found else None

    def names(self) -> set[str]:
        """The names of the samples."""
        return {*self._samples}


def workspace(name: str = "w", **settings: object) -> WorkspaceConfig:
    """A workspace's configuration."""
    fields: dict[str, object] = {"endpoint": f"https://{name}.test", "key": inline_key(KEY)}
    return WorkspaceConfig(name=name, **(fields | settings))  # type: ignore[arg-type]


@dataclass
class Rig:
    """An exporter under test and its simulated workspaces."""

    exporter: Exporter
    simulators: Mapping[str, Simulator]
    clock: Clock
    client: httpx.AsyncClient

    @property
    def simulator(self) -> Simulator:
        """The only simulated workspace."""
        (simulator,) = self.simulators.values()
        return simulator

    async def scrape(self, path: str = "/metrics", *, seconds: float | None = None) -> Page:
        """The page that Prometheus gets with this scrape timeout."""
        headers = {}
        if seconds is not None:
            headers["X-Prometheus-Scrape-Timeout-Seconds"] = str(seconds)
        response = await self.client.get(path, headers=headers)
        assert response.status_code == 200, response.text
        return Page(response.text)

    def requests(self) -> int:
        """The number of requests that the simulated workspaces received."""
        return sum(
            len(traffic.times)
            for simulator in self.simulators.values()
            for traffic in simulator.traffic.values()
        )


Result = TypeVar("Result")


async def inline(work: Callable[[], Result]) -> Result:
    """Run the work at once, because the time of a thread is not virtual."""
    return work()


def journal_on(path: Path, clock: Clock) -> SqliteJournal:
    """The journal of a state file, written in virtual time."""
    return SqliteJournal(Store(str(path), clock.wall), clock, offload=inline)


@asynccontextmanager
async def rig(
    *simulators: Simulator,
    workspaces: Sequence[WorkspaceConfig] | None = None,
    clock: Clock | None = None,
    options: WebOptions | None = None,
    journal: Journal | None = None,
) -> AsyncIterator[Rig]:
    """An exporter of workspaces w0, w1 …, or of a single one named w, each with its simulator."""
    clock = clock or virtual_clock()
    if workspaces is None:
        names = ["w"] if len(simulators) == 1 else [f"w{i}" for i in range(len(simulators))]
        workspaces = [workspace(name) for name in names]
    by_name = {config.name: each for config, each in zip(workspaces, simulators, strict=True)}
    exporter = Exporter(
        Settings(tuple(workspaces)),
        clock,
        transport=lambda config: DirectTransport(by_name[config.name]),
        offload=inline,
        journal=journal,
    )
    app = create_app(exporter, options or WebOptions())
    async with httpx.AsyncClient(
        transport=DirectTransport(app), base_url="http://e", headers=SCRAPER
    ) as client:
        yield Rig(exporter, by_name, clock, client)
    await exporter.close()


def scripted(identifier: str = "one", runs: int = 0, **fields: object) -> ScriptedIntegration:
    """An integration with some successful runs an hour apart, the last one just before EPOCH."""
    integration = ScriptedIntegration(identifier, f"sync-{identifier}", **fields)  # type: ignore[arg-type]
    for number in range(runs, 0, -1):
        start = EPOCH - 3600 * number
        integration.run(start, start + 60, rows_synced=100)
    return integration


def simulator(clock: Clock, *integrations: ScriptedIntegration, **settings: object) -> Simulator:
    """A simulated workspace with strict limits, on the exporter's clock."""
    fields: dict[str, object] = {"limit_window": "sliding", "latency": 0.1}
    return Simulator(integrations, clock.wall, key=KEY, **(fields | settings))  # type: ignore[arg-type]


async def passes(seconds: float) -> None:
    """Let virtual time pass."""
    await asyncio.sleep(seconds)
