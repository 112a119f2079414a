"""Cost of a page: the library, the exporter's own writer, and kinds of compression.

    python -m benchmarks --only exposition [--quick] [--sizes 10,100,1000,10000]

CPU milliseconds of this process, as the median of the rounds. In each round every variant runs
once, one after the other. Bytes and resident memory are also measured. Values are random, which
compress worse than real ones.
"""

import gzip
import multiprocessing
import os
import random
import statistics
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path

from prometheus_client.core import Metric as Family

from benchmarks.figures import Figures, across, table
from cdi_exporter.braze.stats import DURATION_BUCKETS
from cdi_exporter.catalog import OWN
from cdi_exporter.exposition import (
    Exposition,
    Format,
    own_families,
    process_collectors,
    write_families,
)
from cdi_exporter.model import FINISHED_STATUSES, Counters, Run
from cdi_exporter.snapshot import (
    EndpointSnapshot,
    Facts,
    IntegrationSnapshot,
    WorkspaceSnapshot,
)
from tests.library_families import workspace_families

SIZES, QUICK_SIZES = (10, 100, 1000, 10_000), (10, 100)
ROUNDS, QUICK_ROUNDS = 5, 2

NOW = 1795514413.0
WORKSPACES = 5
TEXT, GZIP = Format(), Format(gzip=True)
Workspaces = list[WorkspaceSnapshot]


def random_facts(rng: random.Random, index: int) -> Facts:
    start = round(NOW - rng.random() * 86400, 6)
    duration = round(rng.lognormvariate(4.8, 1), 3)
    rows = rng.randrange(100_000)
    last = Run(
        rng.choice(FINISHED_STATUSES), start, start + duration, start - 60, rows, rows // 100
    )
    return Facts(
        id=str(uuid.UUID(int=rng.getrandbits(128))),
        name=f"users-{rng.choice(('eu', 'us', 'apac'))}-{index:05d}",
        type="scheduled",
        status="active",
        warehouse="snowflake",
        last=last,
        last_success=last.finish,
        last_delivery=last.finish,
        history_start=start - 30 * 86400,
        watermark=start - 60,
        consecutive_failures=rng.randrange(3),
        running=rng.randrange(2),
        next_scheduled=start + 900,
        typical_interval=900.0,
        typical_duration=duration,
        typical_rows=float(rows),
        stale_after=2400.0,
        counters=Counters(
            success=rng.randrange(1000),
            partial=rng.randrange(100),
            error=rng.randrange(100),
            config_error=rng.randrange(10),
            rows_synced=rng.randrange(10**9),
            rows_failed=rng.randrange(10**4),
            duration_sum=round(rng.random() * 1e5, 3),
            duration_count=rng.randrange(5000),
        ),
    )


def random_workspaces(size: int) -> Workspaces:
    rng = random.Random(size)
    bounds = DURATION_BUCKETS
    buckets = tuple((bound, 10 * index) for index, bound in enumerate(bounds))
    endpoints = tuple(
        EndpointSnapshot(name, {"200": 100, "timeout": 1}, buckets, 12.5, 100, 80, NOW)
        for name in ("integrations", "job_sync_status")
    )
    return [
        WorkspaceSnapshot(
            f"workspace-{number}",
            tuple(
                IntegrationSnapshot(random_facts(rng, index), NOW, up=True)
                for index in range(size // WORKSPACES)
            ),
            up=True,
            last_refresh=NOW,
            refresh_duration=1.25,
            endpoints=endpoints,
        )
        for number in range(WORKSPACES)
    ]


def after_a_refresh(rng: random.Random, workspaces: Workspaces, share: float) -> Workspaces:
    """All integrations confirmed by a new refresh, and a share of them with new facts."""
    return [
        replace(
            workspace,
            last_refresh=NOW + rng.random(),
            integrations=tuple(
                replace(
                    old,
                    refreshed=NOW + rng.random(),
                    facts=random_facts(rng, index) if rng.random() < share else old.facts,
                )
                for index, old in enumerate(workspace.integrations)
            ),
        )
        for workspace in workspaces
    ]


def cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1e3


class Page:
    """The pages of one size: what is timed, and what must be prepared for it."""

    def __init__(self, size: int) -> None:
        self.rng = random.Random(size)
        self.workspaces = random_workspaces(size)
        self.text = write_families(workspace_families(self.workspaces), openmetrics=False)
        self.warm = Exposition()
        self.packed = self.warm.render(self.workspaces, GZIP)
        self.collectors = process_collectors()

    def own(self) -> list[Family]:
        return list(
            own_families(
                {each: {("0",) * len(each.labels): NOW} for each in OWN[:8]}, self.collectors
            )
        )

    def library(self, *, openmetrics: bool = False) -> bytes:
        return write_families(workspace_families(self.workspaces), openmetrics=openmetrics)

    def changed(self, share: float, *, packed: bool = True) -> float:
        self.workspaces = after_a_refresh(self.rng, self.workspaces, share)
        return cpu_ms(lambda: self.warm.render(self.workspaces, GZIP if packed else TEXT))

    def figures(self) -> Iterator[tuple[str, float]]:
        yield "library, text", cpu_ms(self.library)
        yield "library, OpenMetrics", cpu_ms(lambda: self.library(openmetrics=True))
        yield (
            "library, text, gzip as its server does",
            cpu_ms(lambda: gzip.compress(self.library())),
        )
        yield (
            "ours, nothing kept, gzip",
            cpu_ms(lambda: Exposition().render(self.workspaces, GZIP)),
        )
        yield "ours, nothing kept, text", cpu_ms(lambda: Exposition().render(self.workspaces, TEXT))
        yield "ours, 10 % changed, gzip", self.changed(0.1)
        yield "ours, 1 % changed, gzip", self.changed(0.01)
        yield "ours, only freshness changed, gzip", self.changed(0)
        yield "ours, 1 % changed, text", self.changed(0.01, packed=False)
        yield "ours, unchanged, text", cpu_ms(lambda: self.warm.render(self.workspaces, TEXT))
        self.warm.render(self.workspaces, GZIP)
        yield "ours, unchanged, gzip", cpu_ms(lambda: self.warm.render(self.workspaces, GZIP))
        yield (
            "ours, unchanged, gzip, new own families",
            cpu_ms(lambda: self.warm.render(self.workspaces, GZIP, own=self.own())),
        )
        for level in (1, 6, 9):
            yield (
                f"gzip of the whole, level {level}",
                cpu_ms(partial(zlib.compress, self.text, level, 31)),
            )

    def sizes(self) -> dict[str, int]:
        whole = {
            f"gzip of the whole, level {level}": len(zlib.compress(self.text, level, 31))
            for level in (1, 6, 9)
        }
        return {
            "text": len(self.text),
            "ours, gzip": len(self.packed),
            **whole,
        }


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(size: int, sent: Connection) -> None:
    """Send the resident memory that an exposition adds, by the format that is requested."""
    workspaces = random_workspaces(size)
    rng = random.Random(size)
    before = resident_mib()
    exposition = Exposition()
    grown = {}
    for name, packed in (("gzip alone", True), ("gzip and text", False)):
        for _ in range(3):
            workspaces = after_a_refresh(rng, workspaces, 0.01)
            exposition.render(workspaces, GZIP)
            if not packed:
                exposition.render(workspaces, TEXT)
        grown[name] = resident_mib() - before
    sent.send(grown)


def memory_in_a_fresh_process(size: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=memory, args=(size, sender))
    process.start()
    grown: dict[str, float] = receiver.recv()
    process.join()
    return grown


def measure_one(size: int, rounds: int) -> dict[str, dict[str, float]]:
    page = Page(size)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, figure in page.figures():
            taken.setdefault(name, []).append(figure)
    return {
        "cpu_ms": {name: statistics.median(figures) for name, figures in taken.items()},
        "bytes": dict(page.sizes()),
        "resident_mib": memory_in_a_fresh_process(size),
    }


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """One entry per number of integrations."""
    wanted = sizes or (QUICK_SIZES if quick else SIZES)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return {"exposition": {str(size): measure_one(size, rounds) for size in wanted}}


def show(figures: Figures) -> None:
    """Print the tables."""
    by_size = figures["exposition"]
    head = [f"N={size}" for size in by_size]
    for kind in ("cpu_ms", "bytes", "resident_mib"):
        rows = across(by_size, itemgetter(kind))
        print(table([kind, *head], rows), end="\n\n")
