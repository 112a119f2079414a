"""Simulated days: the real exporter against the simulated Braze, in virtual time, by seed.

A scenario is drawn from its seed: integrations, scraping Prometheus servers, faults, lags, clock
differences. `simulate` runs it and returns the violated promises as text.
"""

import asyncio
import math
import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import structlog

from cdi_exporter.app import Exporter
from cdi_exporter.braze.budget import FIRST_BACKOFF
from cdi_exporter.config import Refresh, Settings, WorkspaceConfig, inline_key
from cdi_exporter.ledger import ABANDONED_AFTER
from cdi_exporter.model import Run
from cdi_exporter.state import SqliteJournal, Store
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import SCRAPER
from tests.simulation.direct import DirectTransport
from tests.simulator import (
    EXCLUDED,
    HISTORY,
    LIST,
    ChangingSpec,
    Fault,
    FaultKind,
    RetryHeader,
    Simulator,
    WindowKind,
    mixed,
)
from tests.virtual import EPOCH, run, virtual_clock

HOUR = 3600.0
SETTLE = 2 * HOUR
"""The seconds before the end without new faults, in which the remaining runs are read."""

INVALID = re.compile(
    rb'^braze_cdi_api_invalid_items_total\{endpoint="job_sync_status",[^}]*\} (\S+)$', re.MULTILINE
)
COUNTER = re.compile(
    rb"^(braze_cdi_(?:syncs|rows_synced|rows_failed|history_gaps)_total)\{([^}]*)\} (\S+)$",
    re.MULTILINE,
)
UP = re.compile(rb"^braze_cdi_up\{[^}]*\} (\S+)$", re.MULTILINE)
READABLE = re.compile(rb"^braze_cdi_list_readable\{[^}]*\} (\S+)$", re.MULTILINE)
LOST = re.compile(
    rb'^braze_cdi_schedule_lost_timestamp_seconds\{integration_id="([^"]*)"[^}]*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Scraper:
    """One Prometheus server."""

    interval: float
    offset: float
    timeout: float


@dataclass(frozen=True)
class Crash:
    """The exporter is killed, and started again later."""

    at: float
    down: float
    at_a_rise: bool
    """Whether to wait for a scrape that shows a higher counter, and kill the exporter right after
    it.
    """
    into_an_outage: bool
    """Whether Braze is unreachable for some minutes after the crash."""


@dataclass(frozen=True)
class Scenario:
    """A simulated world and everything that happens in it."""

    seed: int
    hours: float
    integrations: Sequence[ChangingSpec]
    scrapers: Sequence[Scraper]
    faults: Sequence[Fault] = ()
    latency: float = 0.2
    history_lag: float = 0.0
    list_lag: float = 0.0
    list_has_last_job: bool = True
    ahead: float = 0.0
    """Seconds by which Braze's clock is ahead of the exporter's."""
    limit_window: WindowKind = "sliding"
    retry_header: RetryHeader = "retry-after"
    silences: Sequence[tuple[float, float]] = ()
    """Periods without scrapes."""
    crashes: Sequence["Crash"] | None = None
    """When the exporter is killed; None if it keeps no state."""
    disk: float = 0.05
    """The maximum seconds that a commit needs before and after it is made."""


@dataclass
class Outcome:
    """The result of a scenario."""

    violations: list[str] = field(default_factory=list)
    counted: int = 0
    requests: dict[str, int] = field(default_factory=dict)
    scrapes: int = 0
    refusals: int = 0
    """The 429s that the exporter received."""
    delays: list[float] = field(default_factory=list)
    """Seconds from a run's finish to the first scrape that shows it counted."""

    def check(self, holds: bool, what: str) -> None:
        if not holds and len(self.violations) < 20:
            self.violations.append(what)


def draw(seed: int, size: int | None = None) -> Scenario:
    """The scenario of a seed, with `size` integrations if given."""
    rng = random.Random(f"scenario/{seed}")
    number = rng.choice([1, 2, 5, 12, 30, 60, 120] if size is None else [size])
    hours = 24.0 if number <= 5 else 12.0 if number <= 30 else 6.0 if number <= 120 else 4.0
    end = EPOCH + hours * HOUR
    interval = rng.choice([15.0, 30.0, 30.0, 60.0, 120.0, 300.0])
    scrapers = [Scraper(interval, 0.0, min(10.0, interval))]
    if rng.random() < 0.4:
        scrapers.append(Scraper(interval, rng.uniform(0, interval), rng.uniform(2, 10)))
    return Scenario(
        seed=seed,
        hours=hours,
        integrations=mixed(number, seed, EPOCH + HOUR, end - SETTLE),
        scrapers=scrapers,
        faults=_faults(rng, EPOCH, end - SETTLE),
        latency=rng.choice([0.0, 0.05, 0.2, 1.0]),
        history_lag=rng.choice([0.0, 0.0, 5.0, 45.0]),
        list_lag=rng.choice([0.0, 0.0, 5.0, 45.0]),
        list_has_last_job=rng.random() > 0.1,
        ahead=rng.choice([0.0, 0.0, -90.0, 3600.0]),
        limit_window=rng.choice(["sliding", "fixed"]),
        retry_header=rng.choice(["retry-after", "x-ratelimit-retry-after", "reset", "none"]),
        silences=_silences(rng, EPOCH, end - SETTLE),
        crashes=_crashes(random.Random(f"crashes/{seed}"), EPOCH, end - SETTLE),
        disk=rng.choice([0.05, 0.05, 4.0]),
    )


def _faults(rng: random.Random, start: float, end: float) -> list[Fault]:
    kinds = [kind for kind in FaultKind if kind is not FaultKind.OVERSIZED]
    faults = []
    for _ in range(rng.choice([0, 0, 2, 6])):
        begin = rng.uniform(start, end - 600)
        length = rng.choice([30.0, 300.0, 1800.0])
        faults.append(
            Fault(
                begin,
                min(end, begin + length),
                rng.choice(kinds),
                endpoint=rng.choice([None, LIST, HISTORY]),
                rate=rng.choice([0.1, 0.5, 1.0]),
                delay=rng.choice([3.0, 15.0, 60.0]),
                per_minute=rng.choice([10.0, 25.0, 60.0]),
            )
        )
    return faults


def _silences(rng: random.Random, start: float, end: float) -> list[tuple[float, float]]:
    if rng.random() < 0.6:
        return []
    begin = rng.uniform(start + HOUR / 2, end - HOUR)
    return [(begin, begin + rng.choice([1200.0, HOUR, 2 * HOUR]))]


def _crashes(rng: random.Random, start: float, end: float) -> Sequence[Crash] | None:
    if rng.random() < 0.4:
        return None
    begins = sorted(rng.uniform(start, end) for _ in range(rng.choice([0, 1, 3, 12])))
    return [
        Crash(
            begin,
            rng.choice([0.0, 1.0, 60.0, 1200.0]),
            at_a_rise=rng.random() < 0.6,
            into_an_outage=rng.random() < 0.6,
        )
        for begin in begins
    ]


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario to its end."""
    return run(Simulation(scenario).run())


@dataclass(frozen=True)
class _CountedRun:
    at: float
    integration_id: str
    finish: float
    status: str
    rows: int | None


class _Recorder(DirectTransport):
    """Records reads of newest pages, and requests sent before a 429 allowed them."""

    def __init__(self, app: Simulator, now: Callable[[], float]) -> None:
        super().__init__(app)
        self._now = now
        self.reads: dict[str, list[float]] = defaultdict(list)
        self.requests: list[tuple[float, str, str]] = []
        """Seconds since the world started, path and query of each request."""
        self.too_soon: list[str] = []
        self.refusals = 0
        self._not_before: dict[bool, tuple[float, float]] = {}
        """When a 429 arrived and until when it applies, by whether it was for a history."""

    def forget(self) -> None:
        """Another process starts, which knows of no 429."""
        self._not_before.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        requested = self._now()
        path, query = request.url.path, request.url.query.decode()
        self.requests.append((asyncio.get_running_loop().time(), path, query))
        parts = path.split("/")
        history = len(parts) == 5
        refused, again = self._not_before.get(history, (requested, requested))
        if refused < requested < again - 1e-3:
            self.too_soon.append(
                f"{request.url.path} {again - requested} s before a 429 allowed it"
            )
        response = await super().handle_async_request(request)
        if response.status_code == 429:
            self.refusals += 1
            now = self._now()
            self._not_before[history] = now, now + _wait_of(response.headers)
        if history and response.status_code == 200 and not request.url.query:
            self.reads[parts[3]].append(requested)
        return response


def _wait_of(headers: httpx.Headers) -> float:
    """The seconds without requests after a 429: from its headers, or else the shortest backoff."""
    for name in ("retry-after", "x-ratelimit-retry-after"):
        if name in headers:
            return float(headers[name])
    if "x-ratelimit-reset" in headers:
        return float(headers["x-ratelimit-reset"]) - _http_date(headers["date"])
    return FIRST_BACKOFF / 2


def _http_date(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


class Simulation:
    """One running scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.outcome = Outcome()
        self.counted: list[_CountedRun] = []
        self.shown: dict[int, dict[bytes, float]] = defaultdict(dict)
        self.end = EPOCH + scenario.hours * HOUR
        self.client: httpx.AsyncClient | None = None
        self.dead = False
        """Whether the exporter is being killed."""
        self.crashed: list[float] = []
        self.unreadable = 0.0
        """The rows reported as unreadable: this many runs may be missing."""
        self._invalid = 0.0
        self.rise = asyncio.Event()
        """Set when a scrape shows a higher counter."""
        self.lost: dict[str, set[float]] = defaultdict(set)
        """The times at which integrations lost their schedule, as shown."""
        self.excluded_since = EPOCH
        """The time of the last scrape that showed no excluded name."""
        self.rng = random.Random(f"weather/{scenario.seed}")

    async def run(self) -> Outcome:
        """Run the world to its end, and check the promises."""
        scenario = self.scenario
        self.clock = clock = virtual_clock(scenario.seed)
        simulator = Simulator(
            scenario.integrations,
            lambda: clock.wall() + scenario.ahead,
            faults=[
                replace(fault, start=fault.start + scenario.ahead, end=fault.end + scenario.ahead)
                for fault in scenario.faults
            ],
            seed=scenario.seed,
            latency=scenario.latency,
            history_lag=scenario.history_lag,
            list_lag=scenario.list_lag,
            list_has_last_job=scenario.list_has_last_job,
            limit_window=scenario.limit_window,
            retry_header=scenario.retry_header,
        )
        self.recorder = _Recorder(simulator, lambda: clock.wall() + scenario.ahead)
        structlog.configure(processors=[self._record])
        workspace = WorkspaceConfig(
            name="w",
            endpoint="https://braze",
            key=inline_key(simulator.key),
            refresh=Refresh(),
            exclude=(f"*{EXCLUDED}",),
        )
        with tempfile.TemporaryDirectory() as folder:
            self.state = Path(folder) / "state.sqlite"
            await self._live(Settings((workspace,)), simulator)
        self._check_counting(simulator)
        self._check_schedules()
        self._check_budget(simulator)
        self.outcome.counted = len(self.counted)
        self.outcome.requests = {name: len(t.times) for name, t in simulator.traffic.items()}
        return self.outcome

    async def _live(self, settings: Settings, simulator: Simulator) -> None:
        scrapers = [
            asyncio.create_task(self._scrape(number))
            for number in range(len(self.scenario.scrapers))
        ]
        for crash in self.scenario.crashes or ():
            if self.end - SETTLE < self.clock.wall():
                break
            await self._run_until(settings, crash.at - self.clock.wall(), crash)
            now = self.clock.wall()
            self.crashed.append(now)
            self.recorder.forget()
            if crash.into_an_outage:
                begin = now + self.scenario.ahead
                simulator.faults.append(Fault(begin, begin + 180, FaultKind.OUTAGE))
            await asyncio.sleep(crash.down)
        await self._run_until(settings, self.end - self.clock.wall() + 60, simulator=simulator)
        await asyncio.gather(*scrapers)

    async def _run_until(
        self,
        settings: Settings,
        seconds: float,
        crash: Crash | None = None,
        *,
        simulator: Simulator | None = None,
    ) -> None:
        """Run an exporter until its crash, or until it is stopped after a long period without
        scrapes.
        """
        store = (
            Store(str(self.state), self.clock.wall) if self.scenario.crashes is not None else None
        )
        exporter = Exporter(
            settings,
            self.clock,
            transport=lambda _: self.recorder,
            offload=_inline,
            journal=SqliteJournal(store, self.clock, offload=self._commit) if store else None,
        )
        app = create_app(exporter, WebOptions())
        async with httpx.AsyncClient(
            transport=DirectTransport(app), base_url="http://e", headers=SCRAPER
        ) as client:
            self.client = client
            await asyncio.sleep(seconds)
            if crash and crash.at_a_rise:
                self.rise.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.rise.wait(), HOUR)
            self.client = None
        if simulator is not None:
            await self._check_silence(simulator)
        if crash and store is not None:
            self.dead = True
            store.close()
        await exporter.close()
        self.dead = False

    async def _commit(self, work: Callable[[], None]) -> None:
        """A disk that needs some time before and after each write."""
        if not self.dead:
            await asyncio.sleep(self.rng.uniform(0.0, self.scenario.disk))
        work()
        if not self.dead:
            await asyncio.sleep(self.rng.uniform(0.0, self.scenario.disk))

    async def _check_silence(self, simulator: Simulator) -> None:
        before = self._requests(simulator)
        await asyncio.sleep(2 * HOUR)
        halfway = self._requests(simulator)
        await asyncio.sleep(HOUR)
        self.outcome.check(
            self._requests(simulator) == halfway, f"requests without a scrape, after {before}"
        )

    def _requests(self, simulator: Simulator) -> int:
        return sum(len(traffic.times) for traffic in simulator.traffic.values())

    def _record(self, logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        if event["event"] == "sync finished":
            self.counted.append(
                _CountedRun(
                    self.clock.wall(),
                    str(event["integration_id"]),
                    _seconds(str(event.get("finished_at", ""))),
                    str(event["status"]),
                    event.get("rows_synced"),
                )
            )
        elif method in ("error", "exception") and not self.dead:
            self.outcome.check(False, f"logged {event}")
        raise structlog.DropEvent

    async def _scrape(self, number: int) -> None:
        scraper = self.scenario.scrapers[number]
        await asyncio.sleep(scraper.offset)
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": str(scraper.timeout)}
        while self.clock.wall() < self.end:
            began = self.clock.monotonic()
            silent = any(a <= self.clock.wall() < b for a, b in self.scenario.silences)
            client = None if silent else self.client
            response = await client.get("/metrics", headers=headers) if client else None
            if response is not None and client is self.client:
                took = self.clock.monotonic() - began
                self.outcome.scrapes += 1
                self.outcome.check(
                    took <= scraper.timeout - 0.5 + 1e-6, f"a scrape took {took} s at {began}"
                )
                self.outcome.check(response.status_code == 200, f"status {response.status_code}")
                self._check_rise(number, response.content)
                self._check_list(response.content)
            await asyncio.sleep(max(0.0, began + scraper.interval - self.clock.monotonic()))

    def _check_rise(self, number: int, page: bytes) -> None:
        if number == 0:
            invalid = sum(map(float, INVALID.findall(page)))
            self.unreadable += invalid - (self._invalid if invalid >= self._invalid else 0.0)
            self._invalid = invalid
        shown = self.shown[number]
        for name, labels, value in COUNTER.findall(page):
            series = name + re.sub(rb'integration_name="[^"]*",', b"", labels)
            new = float(value)
            old = shown.get(series)
            if old is None:
                first = not any(
                    series in other for key, other in self.shown.items() if key != number
                )
                self.outcome.check(new == 0 or not first, f"{series!r} starts at {new}")
            else:
                self.outcome.check(new >= old, f"{series!r} fell from {old} to {new}")
                if new > old:
                    self.rise.set()
            shown[series] = new

    def _check_list(self, page: bytes) -> None:
        """The list metrics and the shown names match the list."""
        ups, readable = UP.findall(page), READABLE.findall(page)
        if not ups:
            return  # the first refresh has not finished yet
        (up,) = ups
        self.outcome.check(not (float(up) and readable == []), "up is 1 without list_readable")
        if EXCLUDED.encode() not in page or not float(up):
            self.excluded_since = self.clock.wall()
        took = self.clock.wall() - self.excluded_since
        self.outcome.check(
            took <= 900 or bool(self.scenario.faults), f"an excluded name is shown for {took} s"
        )
        for integration_id, value in LOST.findall(page):
            self.lost[integration_id.decode()].add(float(value))

    def _check_schedules(self) -> None:
        """A lost schedule is shown only for integrations that lost it, with the right time."""
        scenario = self.scenario
        undisturbed = not scenario.faults and not scenario.silences and not scenario.crashes
        for spec in scenario.integrations:
            times = self.lost.pop(spec.id, set())
            since, until = spec.unscheduled or (math.inf, -math.inf)
            for time in times:
                self.outcome.check(
                    since - 2 <= time <= until + 2, f"{spec.name} lost its schedule at {time}"
                )
            present = spec.added_at < since and spec.removed_at > until
            named = not any(name.endswith(EXCLUDED) for _, name in spec.renames)
            if undisturbed and present and named and spec.interval is not None:
                shown = until - since < HOUR or len(times) == 1
                self.outcome.check(shown, f"{spec.name} lost its schedule {len(times)} times")
        self.outcome.check(not self.lost, f"lost schedules of unknown integrations: {self.lost}")

    def _check_counting(self, simulator: Simulator) -> None:
        scenario = self.scenario
        counted: dict[str, Counter[tuple[float, str]]] = defaultdict(Counter)
        for each in self.counted:
            counted[each.integration_id][(round(each.finish, 3), each.status)] += 1
        corrupted = any(
            fault.kind in (FaultKind.ENDLESS, FaultKind.WRONG_TYPES, FaultKind.ITEM_WITHOUT_ID)
            for fault in scenario.faults
        )
        for spec in scenario.integrations:
            seen = counted.pop(spec.id, Counter())
            truth = simulator.truth.finished_runs(
                spec.id, EPOCH - 40 * 86_400, self.end + scenario.ahead + 2 * HOUR
            )
            gaps = self._shown("history_gaps", spec)
            given_up = self._given_up(simulator, spec)
            self.outcome.check(corrupted or gaps <= given_up, f"{spec.name} has {gaps} gaps")
            if scenario.crashes:
                self._check_counters(spec, truth, gaps)
            else:
                self._check_each(spec, truth, seen, gaps, corrupted=corrupted)
        self.outcome.check(not counted, f"counted runs of unknown integrations: {counted}")

    def _given_up(self, simulator: Simulator, spec: ChangingSpec) -> int:
        """The number of runs in progress for so long that the exporter gives them up."""
        now = self.end + self.scenario.ahead
        runs = simulator.truth.run_states_at(spec.id, now)
        return sum(not run.finished and run.order < now - ABANDONED_AFTER for run in runs)

    def _check_each(
        self,
        spec: ChangingSpec,
        truth: Sequence[Run],
        seen: Counter[Any],
        gaps: float,
        *,
        corrupted: bool,
    ) -> None:
        """Each run was counted once, according to the log."""
        known = Counter((round(run.finish or 0, 3), run.status.value) for run in truth)
        for run_, times in (seen - known).items():
            self.outcome.check(False, f"{spec.name} {run_} counted {times} times too often")
        due = Counter(
            (round(run.finish or 0, 3), run.status.value) for run in self._due(spec, truth)
        )
        missing = due - seen
        self.unreadable -= missing.total()
        excused = gaps > 0 or (corrupted and self.unreadable >= 0)
        self.outcome.check(not missing or excused, f"{spec.name} ({spec.profile}) missed {missing}")

    def _check_counters(self, spec: ChangingSpec, truth: Sequence[Run], gaps: float) -> None:
        """Each run was counted once, according to the counters. A crash may lose a log line."""
        due = len(self._due(spec, truth))
        reads = self.recorder.reads[spec.id]
        first = reads[0] - 600 if reads and spec.added_at <= EPOCH else -math.inf
        most = sum(1 for run in truth if run.finish is not None and run.finish > first)
        shown = self._shown("syncs", spec)
        self.outcome.check(shown <= most, f"{spec.name} counted {shown} runs of {most} at most")
        self.outcome.check(
            shown >= due or gaps > 0, f"{spec.name} counted {shown} runs of {due} at least"
        )

    def _shown(self, what: str, spec: ChangingSpec) -> float:
        """The last value of a counter."""
        return sum(
            value
            for series, value in self.shown[0].items()
            if series.startswith(f"braze_cdi_{what}_total".encode()) and spec.id.encode() in series
        )

    def _due(self, spec: ChangingSpec, truth: Sequence[Run]) -> list[Run]:
        """The runs that must be counted: those after the first read that no crash has undone."""
        ahead = self.scenario.ahead
        crashes = [crash + ahead for crash in self.crashed]
        since = next(
            (
                read
                for read in self.recorder.reads[spec.id]
                if not any(read <= crash < read + 20 for crash in crashes)
            ),
            math.inf,
        )
        until = min(self._until(spec), self.end + ahead - HOUR)
        return [run for run in truth if run.finish is not None and since < run.finish <= until]

    def _until(self, spec: ChangingSpec) -> float:
        """The time up to which runs could still be read before the integration was removed."""
        for silence in self.scenario.silences:
            begin, end = (moment + self.scenario.ahead for moment in silence)
            if begin < spec.removed_at < end + HOUR:
                return begin - HOUR
        return spec.removed_at - HOUR

    def _check_budget(self, simulator: Simulator) -> None:
        ahead = self.scenario.ahead
        lives = pairwise([-math.inf, *(crash + ahead for crash in self.crashed), math.inf])
        for since, until in lives:
            for endpoint, limit in ((LIST, 40), (HISTORY, 80)):
                busiest = simulator.traffic[endpoint].busiest(60, since, until)
                self.outcome.check(busiest <= limit, f"{busiest} requests a minute to {endpoint}")
        for violation in self.recorder.too_soon:
            self.outcome.check(False, violation)
        self.outcome.refusals = self.recorder.refusals
        other_tool = any(fault.kind is FaultKind.OTHER_TOOL for fault in self.scenario.faults)
        if not other_tool:
            self.outcome.check(simulator.too_many == 0, f"{simulator.too_many} times 429")


async def _inline(render: Callable[[], bytes]) -> bytes:
    return render()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
