"""How soon `/metrics` is answered, beside a static file and prometheus_client's own server.

    python -m benchmarks.latency [--quick] [--sizes 10,100,1000,5000] [--json FILE]

The exporter runs as `serve` runs it, warm, over a workspace in which only the benchmark
changes anything, and refreshes only when it is told to: what Braze takes to answer is not
measured here. The static file holds the same bytes and comes from the same server; so does
the same page from memory. All answers are asked for as Prometheus asks, gzip included, over
loopback by a client that parses nothing. Each round asks every server in turn.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.children import Child, Client, child, free_port, module
from benchmarks.figures import Figures, Spread, across, run_alone, table

SIZES, QUICK_SIZES = (10, 100, 1000, 5000), (10, 100)
LARGEST_FOR_THE_LIBRARY = 1000
CHANGED_SHARE = 0.01

OURS, CHANGED = "exporter, nothing changed", "exporter, 1 % changed"
FILE, MEMORY = "static file", "the same bytes in memory"
LIBRARY = "prometheus_client's server"
KEPT_HEADERS = ("content-type", "content-encoding", "vary")


@dataclass
class Server:
    """One of those that are compared: what a scrape of it took, in ms."""

    path: str
    child: Child
    client: Client
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def scrape(self, times: int) -> None:
        """Scrape so many times; the CPU time is the mean over these."""
        before = self.child.cpu
        for _ in range(times):
            began = time.perf_counter()
            self.client.get(self.path)
            self.wall.append((time.perf_counter() - began) * 1e3)
        self.cpu.append((self.child.cpu - before) / times * 1e3)

    def forget(self) -> None:
        """Drop what the warm-up took."""
        self.wall.clear()
        self.cpu.clear()

    def figures(self) -> dict[str, Any]:
        return asdict(Spread.of(self.wall)) | {"server_cpu_ms": Spread.of(self.cpu).p50}


@dataclass
class Servers:
    """All of them, warm, for one number of integrations."""

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
    """Start them, and end them."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        port, control = free_port(), free_port()
        ours = _started(stack, "ours", port, "--control", control, "--integrations", number)
        client = Client(port)
        headers, page = client.request("GET", "/metrics")
        still_port = free_port()
        (directory / "page").write_bytes(page)
        (directory / "headers").write_text(
            json.dumps({name: headers[name] for name in KEPT_HEADERS if name in headers})
        )
        files = ("--file", directory / "page", "--headers", directory / "headers")
        still = _started(stack, "still", still_port, *files)
        found = {
            OURS: Server("/metrics", ours, client),
            FILE: Server("/metrics", still, Client(still_port)),
            MEMORY: Server("/memory", still, Client(still_port)),
            CHANGED: Server("/metrics", ours, client),
        }
        if number <= LARGEST_FOR_THE_LIBRARY:
            library_port = free_port()
            library = _started(stack, "library", library_port, "--integrations", number)
            found[LIBRARY] = Server("/metrics", library, Client(library_port))
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
    """Rounds, and scrapes of each quick server in a round."""
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
        parts = json.loads(compared.control.get(f"/parts?rounds={rounds}"))
        taken = {name: server.figures() for name, server in compared.by_name.items()}
        return {
            "page_gzip_bytes": compared.page_bytes,
            "changed_integrations": compared.changed,
            "scrape_ms": taken,
            "ratios": ratios(taken),
            "parts_ms": parts,
        }


def ratios(taken: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the aims are put as: medians, and CPU time of the server."""
    found = {}
    for name in (OURS, CHANGED):
        for reference in (FILE, MEMORY):
            for figure in ("p50", "p99", "server_cpu_ms"):
                found[f"{name} / {reference}: {figure}"] = (
                    taken[name][figure] / taken[reference][figure]
                )
        if LIBRARY in taken:
            for figure in ("p50", "server_cpu_ms"):
                found[f"{LIBRARY} / {name}: {figure}"] = (
                    taken[LIBRARY][figure] / taken[name][figure]
                )
    return found


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
    parts = across(
        by_size, lambda one: {name: part["p50"] for name, part in one["parts_ms"].items()}
    )
    pages = ["gzip bytes of the page", *(one["page_gzip_bytes"] for one in by_size.values())]
    print(table(["where an unchanged scrape's ms go (p50)", *head], [*parts, pages]), end="\n\n")


def main() -> None:
    run_alone(__doc__, measure, show)


if __name__ == "__main__":
    main()
