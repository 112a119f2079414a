"""Resources of the exporter: CPU per 1,000 scrapes, resident memory and start time.

    python -m benchmarks --only footprint [--quick] [--sizes 10,100,1000,5000,10000]

The command `cdi-exporter serve` runs with a configuration file and without a state file, and reads
a simulated Braze in another process. The rate limits are raised, because otherwise 10,000
integrations would take hours. CPU and memory are only those of the exporter's process, as the
kernel counts them.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.children import Child, Client, child, first_answer, free_port, module
from benchmarks.figures import Figures, across, table
from benchmarks.world import KEY, KNOWN_RUNS, NO_LIMIT
from tests.e2e.processes import exporter_command

SIZES, QUICK_SIZES = (10, 100, 1000, 5000, 10_000), (10, 100)
LARGEST_FOR_THE_LIBRARY = 1000
BUSY_SHARE = 30
"""One in so many integrations has a new run at each scrape: every 15 minutes at 30 s scrapes."""

CONFIGURATION = """\
refresh:
  min_interval: {min_interval}
  rate_limit_share: 1
  rate_limits: {{integrations: {limit}, job_sync_status: {limit}}}
workspaces:
  - {{name: production, endpoint: "http://127.0.0.1:{braze}", api_key: {key}}}
"""


@dataclass
class Rig:
    """The exporter's process, and the Braze that it reads."""

    exporter: Child
    scraper: Client
    braze: Client
    number: int
    configure: Callable[[str], None]
    """Sets the time between refreshes. A reload must follow."""
    ready: float
    """Seconds from the start of the process until it was ready."""

    def refreshing(self, min_interval: str) -> None:
        """Reload with another time between refreshes."""
        self.configure(min_interval)
        self.scraper.post("/-/reload")

    def scrape(self) -> None:
        """One scrape, with enough time for everything that it waits for."""
        self.scraper.get("/metrics", timeout=60)

    def change(self, number: int, runs: int = 1) -> None:
        """Add new finished runs to this many integrations."""
        self.braze.post(f"/change?number={number}&runs={runs}")

    def requests(self) -> dict[str, int]:
        """The number of requests to Braze so far, by endpoint."""
        found: dict[str, int] = json.loads(self.braze.get("/read"))
        return found

    def until_read(self, histories: int) -> None:
        """Scrape until this many histories have been read, and then twice more."""
        while self.requests()["job_sync_status"] < histories:
            self.scrape()
        self.scrape()
        self.scrape()


@contextmanager
def rig(number: int) -> Iterator[Rig]:
    """The exporter before its first scrape, and a Braze with this many integrations."""
    with ExitStack() as stack:
        configuration = Path(stack.enter_context(TemporaryDirectory())) / "config.yml"
        braze, port = free_port(), free_port()
        world = child(module("benchmarks.braze", "--port", braze, "--integrations", number))
        stack.enter_context(world).line()

        def configure(min_interval: str) -> None:
            configuration.write_text(
                CONFIGURATION.format(
                    min_interval=min_interval, limit=NO_LIMIT, braze=braze, key=KEY
                )
            )

        configure("0s")
        exporter = stack.enter_context(child(command(configuration, port)))
        ready = first_answer(exporter, port, "/-/ready")
        yield Rig(exporter, Client(port), Client(braze), number, configure, ready)


def command(configuration: Path, port: int) -> list[str]:
    """The command that is measured."""
    return exporter_command(
        "serve",
        f"--config.file={configuration}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
    )


def measure_one(number: int, quick: bool) -> dict[str, Any]:
    """CPU and memory of one exporter with `number` integrations, from its start on."""
    with rig(number) as found:
        before = found.exporter.resident
        found.until_read(number)
        warm = found.exporter.resident
        seconds = 1.0 if quick else 10.0
        per_thousand = {"with a whole refresh, nothing changed": _refreshing(found, 0, seconds)}
        changed = max(1, number // BUSY_SHARE)
        per_thousand["with a whole refresh, 1 in 30 changed"] = _refreshing(found, changed, seconds)
        found.change(number, runs=KNOWN_RUNS - 1)
        found.until_read(found.requests()["job_sync_status"] + number)
        later = found.exporter.resident
        found.refreshing("1d")
        found.scrape()
        per_thousand["no refresh due"] = _per_thousand(found, found.scrape, seconds)
        return {
            "cpu_seconds_per_1000_scrapes": per_thousand,
            "resident_mib": {
                "nothing known": before,
                f"{KNOWN_RUNS} runs known of each": warm,
                f"{2 * KNOWN_RUNS - 1} runs known of each": later,
                "the most at any time": found.exporter.peak,
            },
        }


def _refreshing(found: Rig, changed: int, seconds: float) -> float:
    def scrape() -> None:
        if changed:
            found.change(changed)
        found.scrape()

    return _per_thousand(found, scrape, seconds)


def _per_thousand(found: Rig, scrape: Callable[[], None], seconds: float) -> float:
    """CPU seconds per 1,000 scrapes, from at least three scrapes in at least `seconds`."""
    before, until, times = found.exporter.cpu, time.monotonic() + seconds, 0
    while times < 3 or time.monotonic() < until:
        scrape()
        times += 1
    return (found.exporter.cpu - before) / times * 1e3


def library(number: int, quick: bool) -> float:
    """CPU seconds of prometheus_client's server for 1,000 scrapes of the same page."""
    port = free_port()
    served = module("benchmarks.served", "library", "--port", port, "--integrations", number)
    with child(served) as server:
        server.line()
        client = Client(port)
        client.get("/metrics")
        times = 3 if quick else 20
        before = server.cpu
        for _ in range(times):
            client.get("/metrics")
        return (server.cpu - before) / times * 1e3


def start(runs: int) -> dict[str, float]:
    """Seconds to the first responses, and the resources used by then.

    Medians over this many starts.
    """
    starts = [_start() for _ in range(runs)]
    return {key: statistics.median(each[key] for each in starts) for key in starts[0]}


def _start() -> dict[str, float]:
    with rig(10) as found:
        return {
            "ready_seconds": found.ready,
            "metrics_seconds": first_answer(found.exporter, found.scraper.port, "/metrics"),
            "cpu_seconds": found.exporter.cpu,
            "resident_mib": found.exporter.resident,
        }


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """The starts, and one entry per number of integrations."""
    wanted = sizes or (QUICK_SIZES if quick else SIZES)
    starts = start(3 if quick else 9)
    by_size = {str(number): measure_one(number, quick) for number in wanted}
    for number in wanted:
        if number <= LARGEST_FOR_THE_LIBRARY:
            scrapes = by_size[str(number)]["cpu_seconds_per_1000_scrapes"]
            scrapes["prometheus_client's server, rendering each time"] = library(number, quick)
    return {
        "footprint": {
            "command": "cdi-exporter serve --config.file=… --web.listen-address=127.0.0.1:…",
            "start": starts,
            "by_integrations": by_size,
        }
    }


def show(figures: Figures) -> None:
    """Print the tables."""
    found = figures["footprint"]
    by_size = found["by_integrations"]
    head = [f"N={number}" for number in by_size]
    start_head = ["start", "s to /-/ready", "s to /metrics", "CPU s", "MiB"]
    print(table(start_head, [["median", *found["start"].values()]]))
    for title, key in (
        ("CPU s per 1,000 scrapes", "cpu_seconds_per_1000_scrapes"),
        ("resident MiB", "resident_mib"),
    ):
        rows = across(by_size, itemgetter(key))
        print("", table([title, *head], rows), sep="\n")
    print()
