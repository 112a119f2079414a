"""Response times of `/metrics`, compared with prometheus_client's own server.

    python -m benchmarks --only latency [--quick] [--sizes 10,100,1000,5000]

The exporter runs like `serve` and is warm. Only the benchmark changes its workspace, and it
refreshes only on request, so the response time of Braze is not included. A client that parses
nothing sends requests like those of Prometheus, with gzip, over the loopback. Each round scrapes
every server in turn.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.children import Child, Client, child, free_port, module
from benchmarks.figures import Figures, Spread, across, table

SIZES, QUICK_SIZES = (10, 100, 1000, 5000), (10, 100)
LARGEST_FOR_THE_LIBRARY = 1000
CHANGED_SHARE = 0.01

OURS, CHANGED = "exporter, nothing changed", "exporter, 1 % changed"
LIBRARY = "prometheus_client's server"


@dataclass
class Server:
    """One of the compared servers, and the durations of its scrapes in ms."""

    child: Child
    client: Client
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def scrape(self, times: int) -> None:
        """Scrape this many times. The CPU time is the mean over these scrapes."""
        before = self.child.cpu
        for _ in range(times):
            started_at = time.perf_counter()
            self.client.get("/metrics")
            self.wall.append((time.perf_counter() - started_at) * 1e3)
        self.cpu.append((self.child.cpu - before) / times * 1e3)

    def forget(self) -> None:
        """Drop the durations of the warm-up."""
        self.wall.clear()
        self.cpu.clear()

    def figures(self) -> dict[str, Any]:
        return asdict(Spread.of(self.wall)) | {"server_cpu_ms": Spread.of(self.cpu).p50}


@dataclass
class Servers:
    """All servers, warm, for one number of integrations."""

    by_name: dict[str, Server]
    control: Client
    changed: int
    page_bytes: int

    def round(self, batch: int) -> None:
        for name, server in self.by_name.items():
            if name == CHANGED:
                self.control.post(f"/change?number={self.changed}")
            server.scrape(1 if name in (CHANGED, LIBRARY) else batch)


@contextmanager
def servers(number: int) -> Iterator[Servers]:
    """Start the servers, and stop them at the end."""
    with ExitStack() as stack:
        port, control = free_port(), free_port()
        ours = _started(stack, "ours", port, "--control", control, "--integrations", number)
        client = Client(port)
        page = client.get("/metrics")
        found = {OURS: Server(ours, client), CHANGED: Server(ours, client)}
        if number <= LARGEST_FOR_THE_LIBRARY:
            library_port = free_port()
            library = _started(stack, "library", library_port, "--integrations", number)
            found[LIBRARY] = Server(library, Client(library_port))
        changed = max(1, round(number * CHANGED_SHARE))
        yield Servers(found, Client(control), changed, len(page))
        for server in found.values():
            server.client.close()


def _started(stack: ExitStack, kind: str, port: int, *arguments: object) -> Child:
    command = module("benchmarks.served", kind, "--port", port, *arguments)
    started = stack.enter_context(child(command))
    started.line()
    return started


def plan(number: int, quick: bool) -> tuple[int, int]:
    """The number of rounds, and of scrapes of each fast server in a round."""
    if quick:
        return 10, 10
    return (100, 10) if number <= 100 else (60, 5) if number <= 1000 else (30, 5)


def measure_one(number: int, quick: bool) -> dict[str, Any]:
    rounds, batch = plan(number, quick)
    with servers(number) as compared:
        for _ in range(3):
            compared.round(batch)
        for server in compared.by_name.values():
            server.forget()
        for _ in range(rounds):
            compared.round(batch)
        taken = {name: server.figures() for name, server in compared.by_name.items()}
        return {
            "page_gzip_bytes": compared.page_bytes,
            "changed_integrations": compared.changed,
            "scrape_ms": taken,
            "ratios": ratios(taken),
        }


def ratios(taken: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The ratio to the library's server, for medians and for CPU time of the server."""
    if LIBRARY not in taken:
        return {}
    return {
        f"{LIBRARY} / {name}: {figure}": taken[LIBRARY][figure] / taken[name][figure]
        for name in (OURS, CHANGED)
        for figure in ("p50", "server_cpu_ms")
    }


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """One entry per number of integrations."""
    wanted = sizes or (QUICK_SIZES if quick else SIZES)
    return {"latency": {str(number): measure_one(number, quick) for number in wanted}}


def show(figures: Figures) -> None:
    """Print the tables, ratios first."""
    by_size = figures["latency"]
    head = [*(f"N={number}" for number in by_size)]
    print(table(["ratio", *head], across(by_size, lambda one: one["ratios"])), end="\n\n")
    rows = [
        [int(number), name, taken["p50"], taken["p99"], taken["server_cpu_ms"], taken["samples"]]
        for number, one in by_size.items()
        for name, taken in one["scrape_ms"].items()
    ]
    columns = ["integrations", "server", "p50 ms", "p99 ms", "server CPU ms", "scrapes"]
    print(table(columns, rows), end="\n\n")
    pages = ["gzip bytes of the page", *(one["page_gzip_bytes"] for one in by_size.values())]
    print(table(["page", *head], [pages]), end="\n\n")
