"""The servers that are compared, each in a process of its own.

    python -m benchmarks.served ours --port 1 --control 2 --integrations 1000
    python -m benchmarks.served still --port 1 --file page.gz --headers headers.json
    python -m benchmarks.served library --port 1 --integrations 1000

`ours` is `serve` over a simulated Braze in the same process; its control port changes that
world. `still` gives one file, on /metrics from the disk and on /memory from memory, by the
same server as `ours`. `library` is prometheus_client's own server, which renders the same
families at each scrape. Each prints a line of JSON as soon as it serves.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from benchmarks.children import ACCEPT
from benchmarks.figures import Spread
from benchmarks.world import STILL, World, config
from cdi_exporter import logs
from cdi_exporter.app import Exporter, ServeOptions, serve
from cdi_exporter.clock import system_clock
from cdi_exporter.config import Settings
from cdi_exporter.exposition import (
    Format,
    own_families,
    process_collectors,
    workspace_families,
)
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.web.routes import WebOptions, create_app
from cdi_exporter.web.server import Address, Listener, listen
from cdi_exporter.workspace import Workspace
from tests.simulation.direct import DirectTransport

PATIENCE = 600.0


class Warm:
    """The exporter, and the world that it watches; a refresh happens only when asked for."""

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
        """A whole refresh, and every read that it brings."""
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
        """New runs of so many integrations, known to the exporter and not rendered yet."""
        self.world.change(number)
        return await self.refresh()


async def ours(port: int, control: int, number: int) -> None:
    """`serve`, warm, and its control."""
    logs.configure("error", "logfmt")
    warm = Warm(number)
    await warm.refresh()

    async def change(request: Request) -> Response:
        await warm.change(int(request.query_params["number"]))
        return Response()

    async def parts(request: Request) -> Response:
        return JSONResponse(await _parts(warm.exporter, int(request.query_params["rounds"])))

    routes = [Route("/change", change, methods=["POST"]), Route("/parts", parts)]
    controller = Listener(Starlette(routes=routes), [listen(Address("127.0.0.1", control))])
    beside = asyncio.create_task(controller.serve())
    await controller.wait_started()
    options = ServeOptions(listen=[Address("127.0.0.1", port)])
    await serve(warm.exporter, options, _say)
    controller.stop()
    await beside


async def _parts(exporter: Exporter, rounds: int) -> dict[str, dict[str, float]]:
    """Where the time of an unchanged scrape goes, layer within layer."""
    (workspace,) = exporter.workspaces.values()
    app = create_app(exporter, WebOptions())
    form = Format(openmetrics=True, gzip=True)
    loop = asyncio.get_running_loop()

    async def scrape() -> None:
        await workspace.scrape(loop.time() + 9.5)

    async def render() -> None:
        await exporter.render([workspace.snapshot()], form, own=True)

    async def thread() -> None:
        await exporter.render_page(bytes)

    async def snapshot() -> None:
        workspace.snapshot()

    async def application() -> None:
        await app(_scope(), _nothing, _nowhere)

    works = {
        "the ASGI application in all": application,
        "Workspace.scrape": scrape,
        "Workspace.snapshot alone": snapshot,
        "Exporter.render, with a snapshot": render,
        "a thread, there and back": thread,
    }
    return {name: asdict(await _timed(work, rounds)) for name, work in works.items()}


async def _timed(work: Callable[[], Awaitable[None]], rounds: int) -> Spread:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        taken.append((time.perf_counter() - began) * 1e3)
    return Spread.of(taken)


def _scope() -> dict[str, object]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "raw_path": b"/metrics",
        "query_string": b"",
        "headers": [
            (b"accept", ACCEPT.encode()),
            (b"accept-encoding", b"gzip"),
            (b"x-prometheus-scrape-timeout-seconds", b"10"),
        ],
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }


async def _nothing() -> dict[str, object]:
    await asyncio.Event().wait()
    return {}


async def _nowhere(message: object) -> None:
    return


async def still(port: int, file: str, page: bytes, kept: dict[str, str]) -> None:
    """The page as a file and as bytes in memory, with the headers that `ours` gave it."""

    async def from_disk(request: Request) -> Response:
        return FileResponse(file, headers=kept)

    async def from_memory(request: Request) -> Response:
        return Response(page, headers=kept)

    routes = [Route("/metrics", from_disk), Route("/memory", from_memory)]
    listener = Listener(Starlette(routes=routes), [listen(Address("127.0.0.1", port))])
    serving = asyncio.create_task(listener.serve())
    await listener.wait_started()
    _say()
    await serving


class Rendering(Collector):
    """The families of the snapshots, built anew at each scrape."""

    def __init__(self, snapshots: Sequence[WorkspaceSnapshot]) -> None:
        self._snapshots, self._process = snapshots, process_collectors()

    def collect(self) -> Iterator[Family]:
        yield from workspace_families(self._snapshots)
        yield from own_families(
            "0",
            reload_successful=True,
            reloaded=0.0,
            state_writes_failed=0,
            collectors=self._process,
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
    parser.add_argument("kind", choices=("ours", "still", "library"))
    parser.add_argument("--port", type=int)
    parser.add_argument("--control", type=int)
    parser.add_argument("--integrations", type=int)
    parser.add_argument("--file")
    parser.add_argument("--headers")
    wanted = parser.parse_args()
    match wanted.kind:
        case "ours":
            asyncio.run(ours(wanted.port, wanted.control, wanted.integrations))
        case "still":
            page, kept = Path(wanted.file).read_bytes(), Path(wanted.headers).read_text()
            asyncio.run(still(wanted.port, wanted.file, page, json.loads(kept)))
        case "library":
            library(wanted.port, wanted.integrations)


if __name__ == "__main__":
    main()
