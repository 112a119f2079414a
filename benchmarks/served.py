"""The compared servers, each in its own process.

    python -m benchmarks.served ours --port 1 --control 2 --integrations 1000
    python -m benchmarks.served library --port 1 --integrations 1000

`ours` is `serve` with a simulated Braze in the same process. Its control port changes the simulated
workspace. `library` is prometheus_client's own server, which renders the same families at each
scrape. Each prints a line of JSON as soon as it serves.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.world import STILL, World, config
from cdi_exporter import logs
from cdi_exporter.app import Exporter, ServeOptions, serve
from cdi_exporter.catalog import OWN
from cdi_exporter.clock import system_clock
from cdi_exporter.config import Settings
from cdi_exporter.exposition import (
    own_families,
    process_collectors,
)
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.web.server import Address, Listener, listen
from cdi_exporter.workspace import Workspace
from tests.library_families import workspace_families
from tests.simulation.direct import DirectTransport

PATIENCE = 600.0


class Warm:
    """The exporter and its workspace. A refresh happens only on request."""

    def __init__(self, number: int) -> None:
        self.world = World(number)
        self._min_interval = STILL
        self.exporter = Exporter(
            self._settings(),
            system_clock(),
            load=self._load,
            transport=lambda _: DirectTransport(self.world.simulator),
        )

    async def _load(self) -> Settings:
        return self._settings()

    def _settings(self) -> Settings:
        return Settings((config("https://braze.invalid", min_interval=self._min_interval),))

    @property
    def workspace(self) -> Workspace:
        (workspace,) = self.exporter.workspaces.values()
        return workspace

    async def refresh(self) -> WorkspaceSnapshot:
        """A complete refresh, including every read that it causes."""
        self._min_interval = 0.0
        await self.exporter.reload()
        deadline = asyncio.get_running_loop().time() + PATIENCE
        under_way = asyncio.create_task(self.workspace.scrape(deadline))
        await asyncio.sleep(0)
        self._min_interval = STILL
        await self.exporter.reload()
        snapshot = await under_way
        assert not snapshot.pending_reads, "a scrape waits for the changes that it saw"
        self.workspace.received(snapshot)
        return self.workspace.snapshot()

    async def change(self, number: int) -> WorkspaceSnapshot:
        """New runs for this many integrations, known to the exporter but not rendered yet."""
        self.world.change(number)
        return await self.refresh()


async def ours(port: int, control: int, number: int) -> None:
    """`serve`, warm, and its control port."""
    logs.configure("error", "logfmt")
    warm = Warm(number)
    await warm.refresh()

    async def change(request: Request) -> Response:
        await warm.change(int(request.query_params["number"]))
        return Response()

    routes = [Route("/change", change, methods=["POST"])]
    controller = Listener(Starlette(routes=routes), [listen(Address("127.0.0.1", control))])
    control_task = asyncio.create_task(controller.serve())
    await controller.wait_started()
    options = ServeOptions(listen=[Address("127.0.0.1", port)])
    await serve(warm.exporter, options, _say)
    controller.stop()
    await control_task


class Rendering(Collector):
    """The families of the snapshots, rebuilt at each scrape."""

    def __init__(self, snapshots: Sequence[WorkspaceSnapshot]) -> None:
        self._snapshots, self._process = snapshots, process_collectors()

    def collect(self) -> Iterator[Family]:
        yield from workspace_families(self._snapshots)
        yield from own_families(
            {each: {("0",) * len(each.labels): 1.0} for each in OWN[:8]}, self._process
        )


async def _snapshots(number: int) -> list[WorkspaceSnapshot]:
    warm = Warm(number)
    found = [await warm.refresh()] if number else []
    await warm.exporter.close()
    return found


def library(port: int, number: int) -> None:
    """prometheus_client's own server."""
    logs.configure("error", "logfmt")
    registry = CollectorRegistry()
    registry.register(Rendering(asyncio.run(_snapshots(number))))
    _, thread = start_http_server(port, "127.0.0.1", registry)
    _say()
    thread.join()


def _say() -> None:
    print(json.dumps({"serving": True}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("ours", "library"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--control", type=int)
    parser.add_argument("--integrations", type=int)
    wanted = parser.parse_args()
    if wanted.kind == "ours":
        asyncio.run(ours(wanted.port, wanted.control, wanted.integrations))
    else:
        library(wanted.port, wanted.integrations)


if __name__ == "__main__":
    main()
