"""Simulated hours of several exporters that share one database, in virtual time, by seed.

Exporters are killed, stopped, frozen and cut off from the database, the database becomes
unreachable, and clocks differ. Prometheus scrapes each exporter, one of them, or all in turn
through a load balancer. `simulate` returns the violated promises as text.
"""

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import httpx
import structlog

from cdi_exporter.app import Exporter
from cdi_exporter.change_signal import ChangeSignal
from cdi_exporter.config import Refresh, Settings, WorkspaceConfig, inline_key
from cdi_exporter.model import Run
from cdi_exporter.simulator.simulated_workspace import Call
from cdi_exporter.state import Role, SharedJournal, StateError
from cdi_exporter.state.commit_queue import Offload
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import SCRAPER, Page
from tests.shared_memory import MemoryDatabase, MemoryStore
from tests.simulation.direct import DirectTransport
from tests.simulation.world import COUNTER, HOUR
from tests.simulator import HISTORY, LIST, ChangingSpec, Simulator, mixed
from tests.virtual import EPOCH, run, virtual_clock

CALM = HOUR / 2
"""Seconds without trouble at the start."""

SETTLED = HOUR
"""Seconds without trouble at the end, in which everything must be counted."""

LEADS_WITHIN = 30.0
"""Seconds after which another exporter must lead, if one is able to."""


TRIES = 30
"""Rounds of scrapes at the end: a leader may commit, or a slow database fail, between them."""

QUICK_ENOUGH = 1.0
"""The longest round trip to the database, in seconds, with which an exporter can lead in time."""


class Kind(Enum):
    """The kinds of trouble."""

    KILL = "kill"
    STOP = "stop"
    FREEZE = "freeze"
    CUT_OFF = "cut off"
    OUTAGE = "outage of the database"


class Scraping(Enum):
    """The targets that Prometheus scrapes."""

    EACH = "each exporter"
    ONE = "the first exporter"
    BALANCED = "a load balancer"


@dataclass(frozen=True)
class Trouble:
    """A trouble of an exporter or the database."""

    kind: Kind
    at: float
    seconds: float
    exporter: int
    during_a_commit: bool = False
    """Whether it waits for the exporter's next commit and happens during it."""


@dataclass(frozen=True)
class Scenario:
    """A simulated world and everything that happens in it."""

    seed: int
    hours: float
    integrations: Sequence[ChangingSpec]
    exporters: int
    troubles: Sequence[Trouble]
    scraping: Scraping
    interval: float
    latency: float
    """The maximum seconds of a request to Braze."""
    database: float
    """The maximum seconds before and after a database call is executed."""
    ahead: Sequence[float]
    """Seconds by which the clock of each exporter is ahead."""
    limits_shown: bool
    """Whether Braze reports the remaining limit; otherwise only the exporters keep to it."""


@dataclass
class Outcome:
    """The result of a scenario."""

    violations: list[str] = field(default_factory=list)
    scrapes: int = 0
    leads: int = 0
    """How often an exporter took the lead."""
    counted: int = 0
    requests: dict[str, int] = field(default_factory=dict)

    def check(self, holds: bool, what: str) -> None:
        """Record a violation if the condition does not hold."""
        if not holds and len(self.violations) < 20:
            self.violations.append(what)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"shared/{seed}")
    number = rng.choice([1, 5, 20, 60, 150])
    hours = 5.0 if number <= 20 else 3.0
    end = EPOCH + hours * HOUR
    exporters = rng.choice([2, 2, 3])
    integrations = [
        replace(spec, removed_at=math.inf, renames=(), unscheduled=None)
        for spec in mixed(number, seed, EPOCH + CALM, end - SETTLED)
    ]
    return Scenario(
        seed=seed,
        hours=hours,
        integrations=integrations,
        exporters=exporters,
        troubles=_troubles(rng, exporters, EPOCH + CALM, end - SETTLED),
        scraping=rng.choice([*Scraping, Scraping.EACH]),
        interval=rng.choice([15.0, 30.0, 60.0]),
        latency=rng.choice([0.05, 0.5, 2.0]),
        database=rng.choice([0.005, 0.05, 1.0, 4.0]),
        ahead=[rng.choice([0.0, 0.0, -120.0, 3600.0]) for _ in range(exporters)],
        limits_shown=rng.random() < 0.3,
    )


def _troubles(rng: random.Random, exporters: int, start: float, end: float) -> list[Trouble]:
    troubles = []
    for _ in range(rng.choice([1, 4, 12])):
        at = rng.uniform(start, end - 600)
        seconds = min(end - at, rng.choice([5.0, 20.0, 60.0, 300.0, 2 * HOUR]))
        kind, exporter = rng.choice([*Kind]), rng.randrange(exporters)
        troubles.append(Trouble(kind, at, seconds, exporter, rng.random() < 0.6))
    return sorted(troubles, key=lambda each: each.at)


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario to its end."""
    return run(SharedWorld(scenario).run())


class _Life:
    """One process of an exporter, which is suspended while it is frozen."""

    def __init__(self, world: "SharedWorld", number: int) -> None:
        self.world, self.number = world, number
        self.rng = random.Random(f"{world.scenario.seed}/{number}/{world.lives}")
        self.awake = asyncio.Event()
        self.awake.set()
        self.dead = False
        self.commits = ChangeSignal()
        self.cut_off_since: float | None = None
        self.fine_since = world.clock.monotonic()
        """The time since when nothing prevents it from leading."""
        ahead = world.scenario.ahead[number]
        self.clock = virtual_clock(world.scenario.seed + number, ahead)
        name = f"exporter-{number}/{world.lives}"
        world.lives += 1
        self.journal = SharedJournal(
            "memory",
            lambda: MemoryStore(world.database, name),
            self.clock,
            offload=self.offload,
        )
        self.exporter = Exporter(
            world.settings,
            self.clock,
            transport=lambda _: _Network(self),
            offload=_inline,
            journal=self.journal,
        )
        app = create_app(self.exporter, WebOptions())
        self.client = httpx.AsyncClient(
            transport=DirectTransport(app), base_url="http://e", headers=SCRAPER
        )

    @property
    def in_trouble(self) -> bool:
        """Whether it is already frozen or cut off."""
        return not self.awake.is_set() or self.cut_off_since is not None

    @property
    def connected(self) -> bool:
        """Whether it can reach the database."""
        return self.cut_off_since is None and not self.world.outage

    def offload(self, name: str) -> Offload:
        """A connection on which calls are made one after the other."""
        busy = asyncio.Lock()

        async def offload(work: Callable[[], None]) -> None:
            await busy.acquire()
            call = asyncio.create_task(self._call(name, work))
            call.add_done_callback(lambda _: busy.release())
            call.add_done_callback(lambda call: call.cancelled() or call.exception())
            await asyncio.shield(call)  # like a thread, it continues even if no task waits for it

        return offload

    async def _call(self, name: str, work: Callable[[], None]) -> None:
        """A database call with a delay; the connection may be lost before and after it."""
        if name == "state":
            self.commits.notify()
            await asyncio.sleep(0)
        await self._travel(self.world.scenario.database)
        work()
        await self._travel(self.world.scenario.database)

    async def _travel(self, seconds: float) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, seconds))
        await self.awake.wait()
        if self.dead or not self.connected:
            raise StateError("the connection is lost")


class _WithoutLimits(Simulator):
    """A workspace without rate limit headers, as behind a gateway."""

    def _limit_headers(self, call: Call, status: int) -> list[tuple[bytes, bytes]]:
        return []


class _Network(httpx.AsyncBaseTransport):
    """The connection of one exporter to Braze."""

    def __init__(self, life: _Life) -> None:
        self._life = life
        self._way = DirectTransport(life.world.simulator)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._life.awake.wait()
        if self._life.dead:
            raise httpx.ConnectError("the process is gone", request=request)
        parts = request.url.path.split("/")
        if len(parts) == 5 and not request.url.query:
            self._life.world.reads[parts[3]].append(self._life.world.clock.wall())
        response = await self._way.handle_async_request(request)
        await self._life.awake.wait()
        return response


class SharedWorld:
    """One running scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.outcome = scenario, Outcome()
        self.end = EPOCH + scenario.hours * HOUR
        self.settings = Settings(())
        self.lives = 0
        self.outages = 0
        self.alive: list[_Life | None] = [None] * scenario.exporters
        self.reads: dict[str, list[float]] = defaultdict(list)
        self.logged: dict[str, Counter[str]] = defaultdict(Counter)
        self.shown: dict[int, dict[bytes, float]] = defaultdict(dict)
        """By scraped target, the last value of each series."""
        self.final: dict[bytes, bytes] = {}
        """The counters of the first exporter at the end."""

    @property
    def outage(self) -> bool:
        """Whether no exporter can reach the database."""
        return self.outages > 0

    async def run(self) -> Outcome:
        """Run the world to its end, and check the promises."""
        scenario = self.scenario
        self.clock = clock = virtual_clock(scenario.seed)
        self.database = MemoryDatabase(clock.wall)
        simulator = Simulator if scenario.limits_shown else _WithoutLimits
        self.simulator = simulator(
            scenario.integrations,
            clock.wall,
            seed=scenario.seed,
            latency=scenario.latency,
            limit_window="sliding",
        )
        key = inline_key(self.simulator.key)
        config = WorkspaceConfig(name="w", endpoint="https://braze", key=key, refresh=Refresh())
        self.settings = Settings((config,))
        structlog.configure(processors=[self._record])
        await asyncio.gather(*map(self._begin, range(scenario.exporters)))
        tasks = [asyncio.create_task(each) for each in (*self._scrapers(), self._watch())]
        tasks += [asyncio.create_task(self._happen(each)) for each in scenario.troubles]
        await asyncio.sleep(self.end - clock.wall())
        await asyncio.gather(*tasks)
        await self._check_agreement()
        for life in self.alive:
            if life is not None:
                await self._close(life)
        self._check_database()
        self._check_budget()
        self._check_counting()
        self.outcome.requests = {
            name: len(each.times) for name, each in self.simulator.traffic.items()
        }
        return self.outcome

    # Events

    async def _begin(self, number: int) -> None:
        life = self.alive[number] = _Life(self, number)
        await life.exporter.start()

    async def _close(self, life: _Life) -> None:
        await life.exporter.close()
        await life.client.aclose()

    async def _happen(self, trouble: Trouble) -> None:
        await asyncio.sleep(trouble.at - self.clock.wall())
        if trouble.kind is Kind.OUTAGE:
            self.outages += 1
            await asyncio.sleep(trouble.seconds)
            self.outages -= 1
            for each in self.alive:
                if each is not None:
                    each.fine_since = max(each.fine_since, self.clock.monotonic())
            return
        life = self.alive[trouble.exporter]
        if trouble.during_a_commit and life is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(120):
                    await life.commits.wait()
        if life is None or life is not self.alive[trouble.exporter] or life.in_trouble:
            return
        if trouble.kind is Kind.CUT_OFF:
            life.cut_off_since = self.clock.monotonic()
            await asyncio.sleep(trouble.seconds)
            life.cut_off_since = None
            life.fine_since = self.clock.monotonic()
        elif trouble.kind is Kind.FREEZE:
            life.awake.clear()
            await asyncio.sleep(trouble.seconds)
            life.fine_since = self.clock.monotonic()
            life.awake.set()
        else:
            await self._end(life, trouble)

    async def _end(self, life: _Life, trouble: Trouble) -> None:
        self.alive[life.number] = None
        life.dead = trouble.kind is Kind.KILL
        await self._close(life)
        await asyncio.sleep(trouble.seconds)
        await self._begin(life.number)

    async def _watch(self) -> None:
        """If any exporter is able to lead, one leads. Two never lead at the same time."""
        unled_since = math.inf
        while self.clock.wall() < self.end:
            now = self.clock.monotonic()
            lives = [each for each in self.alive if each is not None and not each.dead]
            leading = [each for each in lives if each.journal.role("w") is Role.LEADS]
            self.outcome.check(len(leading) <= 1, f"{len(leading)} exporters lead at {now}")
            able = [each for each in lives if each.awake.is_set() and each.connected]
            led = any(each in able for each in leading)
            if led or not able:
                unled_since = math.inf
            else:
                fine_since = min(each.fine_since for each in able)
                unled_since = min(unled_since, max(now, fine_since))
                since = now - max(unled_since, fine_since)
                late = since > LEADS_WITHIN and self.scenario.database <= QUICK_ENOUGH
                self.outcome.check(not late, f"no exporter leads for {since} s at {now}")
            await asyncio.sleep(1.0)

    # Scrapes

    def _scrapers(self) -> list[Any]:
        scenario = self.scenario
        if scenario.scraping is Scraping.EACH:
            apart = scenario.interval / scenario.exporters
            return [self._scrape(n, apart * n, [n]) for n in range(scenario.exporters)]
        if scenario.scraping is Scraping.ONE:
            return [self._scrape(0, 0.0, [0])]
        return [self._scrape(0, 0.0, [*range(scenario.exporters)])]

    async def _scrape(self, target: int, offset: float, exporters: Sequence[int]) -> None:
        await asyncio.sleep(offset)
        timeout = min(10.0, self.scenario.interval)
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(timeout)}
        turn = 0
        while self.clock.wall() < self.end:
            began = self.clock.monotonic()
            turn += 1
            life = self.alive[exporters[turn % len(exporters)]]
            if life is not None and life.awake.is_set():
                page = await self._page(life, timeout, headers)
                took = self.clock.monotonic() - began
                if page is not None and life.awake.is_set() and not life.dead:
                    self.outcome.scrapes += 1
                    self.outcome.check(took <= timeout - 0.5 + 1e-6, f"a scrape took {took} s")
                    balanced = self.scenario.scraping is Scraping.BALANCED
                    if not balanced or (life.connected and life.journal.database_up):
                        self._check_page(target, life, page)
            await asyncio.sleep(max(0.0, began + self.scenario.interval - self.clock.monotonic()))

    async def _page(self, life: _Life, within: float, headers: Mapping[str, str]) -> bytes | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                response = await life.client.get("/metrics", headers=dict(headers))
                self.outcome.check(response.status_code == 200, f"status {response.status_code}")
                return response.content
        return None

    def _check_page(self, target: int, life: _Life, page: bytes) -> None:
        shown = self.shown[target]
        for name, labels, value in COUNTER.findall(page):
            series, new = name + labels, float(value)
            old = shown.get(series)
            if old is None:
                first = not any(series in each for each in self.shown.values())
                self.outcome.check(new == 0 or not first, f"{series!r} starts at {new}")
            else:
                self.outcome.check(new >= old, f"{series!r} fell from {old} to {new}")
            shown[series] = new
        now = self.clock.monotonic()
        if life.cut_off_since is not None and now - life.cut_off_since > 900:
            refreshed = Page(page.decode())("braze_cdi_last_refresh_timestamp_seconds")
            age = life.clock.wall() - (refreshed or 0.0)
            self.outcome.check(age < 600, f"an exporter that is cut off is {age} s old")

    async def _check_agreement(self) -> None:
        """All exporters show the same, once they have read the same data."""
        for _ in range(TRIES):
            await asyncio.sleep(1)
            before = self.database.workspaces["w"].version
            counters = [await self._counters(life) for life in self.alive]
            equal = all(each == counters[0] for each in counters)
            if equal and before == self.database.workspaces["w"].version:
                break
        self.final = counters[0]
        for number, other in enumerate(counters[1:], start=1):
            different = {*self.final.items()} ^ {*other.items()}
            self.outcome.check(not different, f"exporter {number} differs: {different}")

    async def _counters(self, life: _Life | None) -> dict[bytes, bytes]:
        assert life is not None
        page = await self._page(life, 10.0, {})
        return {name + labels: value for name, labels, value in COUNTER.findall(page or b"")}

    # Checks

    def _record(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "sync finished":
            run_ = f"{event.get('finished_at')} {event.get('duration_seconds')} {event['status']}"
            self.logged[str(event["integration_id"])][run_] += 1
        elif event["event"] == "lead taken":
            self.outcome.leads += 1
        elif event["event"] in ("internal error", "state unreadable"):
            self.outcome.check(False, f"logged {event}")
        raise structlog.DropEvent

    def _check_database(self) -> None:
        """Each epoch has commits of one exporter, and none after the next epoch."""
        authors: dict[int, set[str]] = defaultdict(set)
        epochs = [commit.epoch for commit in self.database.commits]
        self.outcome.check(epochs == sorted(epochs), "a replaced leader has committed")
        for number, commit in enumerate(self.database.commits, start=1):
            authors[commit.epoch].add(commit.exporter)
            self.outcome.check(commit.version == number, f"commit {number}: {commit}")
        for epoch, names in authors.items():
            self.outcome.check(len(names) == 1, f"epoch {epoch} has commits of {names}")

    def _check_budget(self) -> None:
        for endpoint, limit in ((LIST, 40), (HISTORY, 80)):
            busiest = self.simulator.traffic[endpoint].busiest(60)
            self.outcome.check(busiest <= limit, f"{busiest} requests a minute to {endpoint}")
        self.outcome.check(self.simulator.too_many == 0, f"{self.simulator.too_many} times 429")

    def _check_counting(self) -> None:
        """Each run was counted once, according to the counters at the end."""
        for spec in self.scenario.integrations:
            truth = self.simulator.truth.finished_runs(spec.id, EPOCH - 40 * 86_400, self.end + 60)
            shown, gaps = self._total("syncs", spec), self._total("history_gaps", spec)
            since = self._first_read(spec)
            due = self._finished(truth, since, self.end - SETTLED / 2)
            reads = self.reads[spec.id]
            first = reads[0] - 60 if reads and spec.added_at <= EPOCH else -math.inf
            most = self._finished(truth, first, math.inf)
            self.outcome.check(gaps == 0, f"{spec.name} has {gaps} gaps")
            self.outcome.check(due <= shown <= most, f"{spec.name}: {shown}, not {due} to {most}")
            self.outcome.counted += int(shown)
            for run_, times in self.logged[spec.id].items():
                self.outcome.check(times == 1, f"{spec.name} {run_} was logged {times} times")

    @staticmethod
    def _finished(truth: Sequence[Run], since: float, until: float) -> int:
        return sum(run.finish is not None and since < run.finish <= until for run in truth)

    def _first_read(self, spec: ChangingSpec) -> float:
        """The time of its first read that no trouble could undo."""
        for read in self.reads[spec.id]:
            troubled = any(
                each.at - 60 <= read <= each.at + each.seconds + 180
                for each in self.scenario.troubles
            )
            if not troubled:
                return read
        return math.inf

    def _total(self, what: str, spec: ChangingSpec) -> float:
        prefix = f"braze_cdi_{what}_total".encode()
        return sum(
            float(value)
            for series, value in self.final.items()
            if series.startswith(prefix) and spec.id.encode() in series
        )


async def _inline(render: Callable[[], bytes]) -> bytes:
    return render()
