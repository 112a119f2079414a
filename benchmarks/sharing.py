"""Cost of a follower compared with a leader, and time until another exporter leads.

    python -m benchmarks --only sharing [--quick] [--sizes 10,100,1000]

Two exporters, which run like `serve`, share a real PostgreSQL on this machine. In each cycle some
runs end, the leader is scraped until it has committed them, and then both are scraped: the first
scrape reads the changes, and the next ones find nothing new. Then the leader is stopped: with
SIGKILL, so that its lease must expire, and with SIGTERM, so that it releases the lease.
"""

import gzip
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.children import Child, Client, child, free_port, module
from benchmarks.figures import Figures, Spread, across, table
from benchmarks.world import KEY
from tests.e2e.processes import eventually, exporter_command, serves
from tests.postgres_server import PostgresServer

SIZES, QUICK_SIZES = (10, 100, 1000), (10,)
CHANGED_SHARE = 0.01
MIN_INTERVAL = 3.0
"""Seconds between two refreshes, so that the measured scrapes do not start any."""

COMMITTED_WITHIN = 1.5
"""Seconds within which the leader commits what it has read."""

LEADS, FOLLOWS = "leader", "follower"
COUNTER = b"\nbraze_cdi_rows_synced_total{"
LEADER = b'cdi_exporter_leader{workspace="w"} 1'


@dataclass
class Exporter:
    """One of the two exporters, and the durations of its scrapes in ms."""

    process: Child
    port: int
    client: Client
    first: list[float] = field(default_factory=list)
    """Scrapes with changes."""
    others: list[float] = field(default_factory=list)

    def scrape(self) -> float:
        """The duration of one scrape in milliseconds."""
        started_at = time.perf_counter()
        self.client.get("/metrics")
        return (time.perf_counter() - started_at) * 1e3

    def page(self) -> bytes:
        """The response to a scrape."""
        client = Client(self.port)
        try:
            return gzip.decompress(client.get("/metrics"))
        finally:
            client.close()

    def leads(self) -> bool:
        """Whether it reports that it is the leader."""
        return LEADER in self.page()

    def counts(self, number: int) -> bool:
        """Whether it exposes the counters of this many integrations."""
        return self.page().count(COUNTER) == number


@contextmanager
def server() -> Iterator[PostgresServer]:
    """A separate PostgreSQL server."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        found = PostgresServer(Path(folder))
        found.start()
        try:
            yield found
        finally:
            found.stop()


@contextmanager
def pair(number: int, url: str) -> Iterator[tuple[Exporter, Exporter, Client]]:
    """The leader, the follower, and a client that controls the simulated Braze."""
    with ExitStack() as stack:
        braze = free_port()
        command = module("benchmarks.braze", "--port", braze, "--integrations", number)
        stack.enter_context(child(command)).line()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "config.yml"
        config.write_text(f"""
refresh:
  min_interval: {MIN_INTERVAL:g}s
  rate_limits: {{integrations: 100000, job_sync_status: 100000}}
workspaces: [{{name: w, endpoint: "http://127.0.0.1:{braze}", api_key: {KEY}}}]
""")
        exporters = []
        for _ in range(2):
            port = free_port()
            flags = (f"--config.file={config}", f"--state.url={url}", "--log.level=error")
            address = f"--web.listen-address=127.0.0.1:{port}"
            process = stack.enter_context(child(exporter_command(*flags, address)))
            serves(f"http://127.0.0.1:{port}/-/healthy")
            exporters.append(Exporter(process, port, Client(port)))
            if len(exporters) == 1:
                eventually(exporters[0].leads, "the first one leads")
        yield exporters[0], exporters[1], Client(braze)


def measure_one(number: int, quick: bool, postgres: PostgresServer) -> dict[str, Any]:
    name = f"sharing_{number}"
    postgres.execute(f"CREATE DATABASE {name}")
    with pair(number, postgres.url(name)) as (leader, follower, braze):
        for each in (leader, follower):
            eventually(partial(each.counts, number), "all integrations are shown")
        changed = max(1, round(number * CHANGED_SHARE))
        before = leader.process.cpu, follower.process.cpu
        for _ in range(3 if quick else 12):
            braze.post(f"/change?number={changed}&runs=1")
            time.sleep(MIN_INTERVAL)
            leader.scrape()
            time.sleep(COMMITTED_WITHIN)
            for each in (leader, follower):
                each.first.append(each.scrape())
                each.others += [each.scrape() for _ in range(5)]
        cpu = leader.process.cpu - before[0], follower.process.cpu - before[1]
        scrapes = {
            f"{name}, {what}": asdict(Spread.of(times))
            for name, each in ((LEADS, leader), (FOLLOWS, follower))
            for what, times in (("1 % changed", each.first), ("nothing changed", each.others))
        }
        found = {
            "scrape_ms": scrapes,
            "ratios": {
                f"{FOLLOWS} / {LEADS}, {what}: p50": scrapes[f"{FOLLOWS}, {what}"]["p50"]
                / scrapes[f"{LEADS}, {what}"]["p50"]
                for what in ("1 % changed", "nothing changed")
            }
            | {f"{FOLLOWS} / {LEADS}: CPU in all": cpu[1] / cpu[0]},
            "failover_s": failover(leader, follower),
        }
        braze.close()
    return found


def failover(leader: Exporter, follower: Exporter) -> float:
    """Seconds from SIGKILL of the leader until the other exporter leads."""
    started_at = time.monotonic()
    leader.process.process.send_signal(signal.SIGKILL)
    eventually(follower.leads, "the other one leads")
    return time.monotonic() - started_at


def handover(postgres: PostgresServer) -> float:
    """Seconds from SIGTERM of the leader until the other exporter leads."""
    postgres.execute("CREATE DATABASE handover")
    with pair(10, postgres.url("handover")) as (leader, follower, _):
        started_at = time.monotonic()
        leader.process.process.send_signal(signal.SIGTERM)
        eventually(follower.leads, "the other one leads")
        return time.monotonic() - started_at


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """One entry per number of integrations."""
    wanted = sizes or (QUICK_SIZES if quick else SIZES)
    with server() as postgres:
        by_size = {str(number): measure_one(number, quick, postgres) for number in wanted}
        return {"sharing": by_size, "handover_s": handover(postgres)}


def show(figures: Figures) -> None:
    """Print the tables, ratios first."""
    by_size = figures["sharing"]
    head = [f"N={number}" for number in by_size]
    print(table(["ratio", *head], across(by_size, lambda one: one["ratios"])), end="\n\n")
    rows = [
        [int(number), name, taken["p50"], taken["p99"], taken["samples"]]
        for number, one in by_size.items()
        for name, taken in one["scrape_ms"].items()
    ]
    columns = ["integrations", "exporter", "p50 ms", "p99 ms", "scrapes"]
    print(table(columns, rows), end="\n\n")
    seconds = ["after SIGKILL", *(one["failover_s"] for one in by_size.values())]
    stopped = ["after SIGTERM", figures["handover_s"], *[None] * (len(head) - 1)]
    print(table(["seconds until the other one leads", *head], [seconds, stopped]), end="\n\n")
