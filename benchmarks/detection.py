"""Number of requests, and delay until a finished run is shown, simulated in virtual time.

The exporter is compared with a naive exporter, which reads each integration's history at each
scrape, and with an oracle, which knows when each run ends and is limited only by the times of the
scrapes and the API's limit.
"""

import asyncio
import bisect
import random
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import structlog

from benchmarks.figures import Figures, table
from cdi_exporter.app import Exporter
from cdi_exporter.config import Settings
from tests.harness import inline, workspace
from tests.simulation.direct import DirectTransport
from tests.simulator import HISTORY, LIST, Simulator, many
from tests.virtual import EPOCH, run, virtual_clock

LATENCY = 0.2
"""The duration of an API response in seconds."""

LIMIT = 100
"""Braze's limit of history requests per minute."""


@dataclass(frozen=True)
class Delays:
    """Seconds from a run's finish to the first scrape that shows it."""

    runs: int
    p50: float
    p95: float
    worst: float

    @classmethod
    def of(cls, delays: Sequence[float]) -> "Delays":
        ordered = sorted(delays) or [float("nan")]

        def quantile(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

        return cls(len(delays), quantile(0.5), quantile(0.95), round(ordered[-1], 1))


@dataclass(frozen=True)
class Measured:
    """The results of one exporter for one population."""

    who: str
    integrations: int
    requests_per_minute: float
    delays: Delays
    cold_start: float
    """Seconds until the exposition contained every integration."""
    list_pass: float
    """Seconds that reading the list takes within the budget."""

    def row(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class _Events:
    """When runs finished, when they were counted, and when scrapes were answered."""

    counted: list[tuple[float, float]]
    scrapes: list[float]

    def delays(self, since: float, until: float) -> list[float]:
        found = []
        for finish, counted in self.counted:
            place = bisect.bisect_left(self.scrapes, counted)
            if since <= finish < until and place < len(self.scrapes):
                found.append(self.scrapes[place] - finish)
        return found


def exporter(
    number: int, *, interval: float, warm: float, length: float, seed: int = 1
) -> Measured:
    """The real exporter with `number` integrations, scraped each `interval` seconds.

    The first `warm` seconds are not measured, except for the cold start.
    """
    return run(_exporter(number, interval, warm, length, seed))


async def _exporter(
    number: int, interval: float, warm: float, length: float, seed: int
) -> Measured:
    clock = virtual_clock(seed)
    events = _Events([], [])
    structlog.configure(processors=[_Recorder(events, clock.wall)])
    simulator = Simulator(
        many(number, seed), clock.wall, limit_window="sliding", latency=LATENCY, seed=seed
    )
    made = Exporter(
        Settings((workspace("w", endpoint="https://braze"),)),
        clock,
        transport=lambda _: DirectTransport(simulator),
        offload=inline,
    )
    space = made.workspaces["w"]
    simulator.key = "simulated-key"
    cold: float | None = None
    earlier = 0
    for tick in range(int((warm + length) / interval)):
        await asyncio.sleep(max(0.0, tick * interval - clock.monotonic()))
        if clock.monotonic() >= warm and not earlier:
            earlier = _requests(simulator)
        snapshot = await space.scrape(clock.monotonic() + min(10.0, interval) - 0.5)
        space.received(snapshot)
        events.scrapes.append(clock.wall())
        known = [each for each in snapshot.integrations if each.facts.last is not None]
        if cold is None and len(known) == number:
            cold = clock.monotonic()
    requests = _requests(simulator) - earlier
    await made.close()
    assert simulator.too_many == 0, "the budget was exceeded"
    slots = 40
    pages = -(-number // 10)
    return Measured(
        "cdi-exporter",
        number,
        round(requests * 60 / length, 1),
        Delays.of(events.delays(EPOCH + warm, EPOCH + warm + length)),
        round(cold or float("inf"), 1),
        round(pages * LATENCY if pages <= slots else pages * 60 / slots, 1),
    )


class _Recorder:
    def __init__(self, events: _Events, wall: Callable[[], float]) -> None:
        self._events, self._wall = events, wall

    def __call__(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "sync finished":
            finish = datetime.fromisoformat(str(event["finished_at"])).timestamp()
            self._events.counted.append((finish, self._wall()))
        elif method == "error":
            raise AssertionError(event)
        raise structlog.DropEvent


def _requests(simulator: Simulator) -> int:
    return sum(len(simulator.traffic[name].times) for name in (LIST, HISTORY))


def finishes(number: int, *, warm: float, length: float, seed: int = 1) -> list[list[float]]:
    """When the runs of each integration finish, in seconds from the start of the measurement."""
    simulator = Simulator(many(number, seed), lambda: EPOCH, seed=seed)
    since = EPOCH + warm
    return [
        [
            (each.finish or 0.0) - since
            for each in simulator.truth.finished_runs(spec.id, since, since + length)
        ]
        for spec in many(number, seed)
    ]


def naive(number: int, *, interval: float, warm: float, length: float, seed: int = 1) -> Measured:
    """Each history at each scrape. If the limit is too low, they are read in turn."""
    period = max(interval, interval * -(-number * 60 // (LIMIT * interval)))
    rng = random.Random(seed)
    delays = []
    for each in finishes(number, warm=warm, length=length, seed=seed):
        phase = interval * rng.randrange(int(period / interval))
        delays += [(phase - finish) % period for finish in each]
    per_minute = round(number * 60 / interval, 1)
    return Measured("naive", number, per_minute, Delays.of(delays), period, 0.0)


def oracle(number: int, *, interval: float, warm: float, length: float, seed: int = 1) -> Measured:
    """One history per finished run, at the first scrape at which the limit allows it."""
    ends = sorted(
        end for each in finishes(number, warm=warm, length=length, seed=seed) for end in each
    )
    waiting: deque[float] = deque()
    sent: deque[float] = deque()
    delays = []
    place, now = 0, 0.0
    while place < len(ends) or waiting:
        while place < len(ends) and ends[place] <= now:
            waiting.append(ends[place])
            place += 1
        while sent and sent[0] <= now - 60:
            sent.popleft()
        while waiting and len(sent) < LIMIT:
            delays.append(now - waiting.popleft())
            sent.append(now)
        now += interval
    cold = max(0.0, (number / LIMIT - 1) * 60)
    return Measured(
        "oracle", number, round(len(ends) * 60 / length, 1), Delays.of(delays), cold, 0.0
    )


WARM, LENGTH = 3600.0, 7200.0
"""Simulated seconds before and during the measurement."""


SIZES, QUICK_SIZES = (10, 100, 1000, 5000), (10, 100)
INTERVAL = 30.0
"""Seconds between scrapes."""


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """The naive exporter, the oracle and the exporter with the same runs."""
    rows = [
        who(size, interval=INTERVAL, warm=WARM, length=LENGTH)
        for size in sizes or (QUICK_SIZES if quick else SIZES)
        for who in (naive, oracle, exporter)
    ]
    return {"detection": {"interval": INTERVAL, "rows": [row.row() for row in rows]}}


def show(figures: Figures) -> None:
    """Print the table."""
    head = ["integrations", "who", "requests/min", "delay p50 s", "p95 s", "max s"]
    rows = [
        [row["integrations"], row["who"], row["requests_per_minute"]]
        + [row["delays"][name] for name in ("p50", "p95", "worst")]
        + [row["cold_start"], row["list_pass"]]
        for row in figures["detection"]["rows"]
    ]
    print(table([*head, "cold start s", "list pass s"], rows), end="\n\n")
