"""Random requests in virtual time never exceed the budget."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.braze.budget import WINDOW, Budget, RateLimitHeaders, allowed
from tests.unit.braze.test_budget import acquire
from tests.virtual import EPOCH, run, virtual_clock

Answer = Literal["ok", "refused", "nothing", "unused", "cancelled", "impatient"]


@dataclass(frozen=True)
class Request:
    """A request: when it is made, how long it takes and how it ends."""

    after: float
    """Seconds since the previous request was made."""
    lasts: float
    arrives: float
    """When the server receives it, as a part of `lasts`."""
    answer: Answer
    headers: RateLimitHeaders


@dataclass
class Record:
    """The starts and arrivals of all requests."""

    started: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    budget: Budget | None = None


MILLIS = st.integers(0, 70_000).map(lambda millis: millis / 1000)
WALL = st.floats(EPOCH - 600, EPOCH + 600)
HEADERS = st.builds(
    RateLimitHeaders,
    limit=st.none() | st.integers(0, 20),
    remaining=st.none() | st.integers(0, 20),
    reset=st.none() | WALL | st.floats(0, 1e15),
    retry_after=st.none() | st.floats(0, 100) | st.floats(0, 1e300),
    date=st.none() | WALL,
)
REQUESTS = st.lists(
    st.builds(
        Request,
        after=st.just(0.0) | MILLIS,
        lasts=st.just(0.0) | MILLIS,
        arrives=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
        answer=st.sampled_from(["ok", "ok", "ok", *Answer.__args__]),  # type: ignore[attr-defined]  # of Literal
        headers=st.just(RateLimitHeaders()) | HEADERS,
    ),
    min_size=1,
    max_size=30,
)


async def _act(budget: Budget, number: int, request: Request, record: Record) -> None:
    if request.answer == "impatient":
        try:
            async with asyncio.timeout(request.lasts):
                slot = await acquire(budget)
        except TimeoutError:
            return
    else:
        slot = await acquire(budget)
    record.turns.append(number)
    if request.answer in ("unused", "impatient"):
        budget.cancel(slot)
        return
    start = asyncio.get_running_loop().time()
    lasts = request.lasts / 2 if request.answer == "cancelled" else request.lasts
    record.started.append(start)
    record.arrived.append(start + request.arrives * lasts)
    headers = None
    try:
        async with asyncio.timeout(lasts if request.answer == "cancelled" else None):
            await asyncio.sleep(request.lasts)
        headers = request.headers if request.answer in ("ok", "refused") else None
    except TimeoutError:
        pass
    finally:
        budget.release(slot, headers, refused=request.answer == "refused")


async def _live(limit: int, share: float, requests: list[Request]) -> Record:
    clock = virtual_clock(len(requests))
    budget = Budget(limit, share, monotonic=clock.monotonic, server=clock.wall, rng=clock.rng)
    record = Record(budget=budget)
    tasks = []
    for number, request in enumerate(requests):
        await asyncio.sleep(request.after)
        tasks.append(asyncio.create_task(_act(budget, number, request, record)))
    await asyncio.gather(*tasks)
    return record


def _check_window(moments: list[float], slots: int) -> None:
    """No closed window of 60 s contains more moments than there are slots."""
    moments = sorted(moments)
    for first, beyond in zip(moments, moments[slots:], strict=False):
        assert beyond - first > WINDOW, f"{slots + 1} within {beyond - first} s"


@settings(deadline=None)
@given(st.integers(1, 20), st.sampled_from([0.05, 0.29, 0.5, 0.8, 1.0]), REQUESTS)
def test_no_window_has_more_starts_than_slots(
    limit: int, share: float, requests: list[Request]
) -> None:
    """The limit holds for starts and for arrivals at the server. All requests start in order.

    If a request waited forever, the virtual time would end. So this also finds deadlocks.
    """
    record = run(_live(limit, share, requests))
    slots = max(1, allowed(limit, share))
    _check_window(record.started, slots)
    _check_window(record.arrived, slots)
    assert record.turns == sorted(record.turns)
    expected = {i for i, each in enumerate(requests) if each.answer != "impatient"}
    assert expected <= set(record.turns)
    assert record.budget is not None
    assert record.budget.running == 0


@settings(deadline=None)
@given(st.integers(1, 12), st.sampled_from([0.5, 0.8, 1.0]), st.data())
def test_after_two_hours_the_whole_budget_is_available(
    limit: int, share: float, data: st.DataObject
) -> None:
    """Two hours later, refusals, cancellations and wrong headers have no effect."""
    requests = data.draw(REQUESTS)

    async def main() -> list[float]:
        budget = (await _live(limit, share, requests)).budget
        assert budget is not None
        await asyncio.sleep(7300)
        start = asyncio.get_running_loop().time()
        waits = []
        for _ in range(budget.slots):
            slot = await acquire(budget)
            waits.append(asyncio.get_running_loop().time() - start)
            budget.release(slot, RateLimitHeaders())
        return waits

    assert set(run(main())) == {0.0}


@dataclass
class Window:
    """A server that counts requests in fixed windows, as documented. Only this client uses it."""

    limit: int
    phase: float
    """Seconds from the start to the first reset."""
    spent: int
    """Requests that an earlier process made in the first window."""
    lowest: list[int] = field(default_factory=list)
    """The count that remained after each request."""
    _number: int = 0

    def count(self) -> RateLimitHeaders:
        """Count a request that reaches the server, and return the headers of its answer."""
        now = asyncio.get_running_loop().time()
        number = int((now - self.phase + WINDOW) // WINDOW)
        if number != self._number:
            self._number, self.spent = number, 0
        self.spent += 1
        remaining = self.limit - self.spent
        self.lowest.append(remaining)
        reset = math.ceil(EPOCH + self.phase + number * WINDOW)
        return RateLimitHeaders(self.limit, max(0, remaining), reset, None, math.floor(EPOCH + now))


@settings(deadline=None)
@given(
    st.integers(2, 20),
    st.sampled_from([0.5, 0.8]),
    st.integers(0, 20),
    st.floats(0.5, WINDOW),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 8), st.floats(0, 8)), max_size=40),
)
def test_the_part_reserved_for_other_tools_is_never_spent(
    limit: int, share: float, spent: int, phase: float, requests: list[tuple[float, float, float]]
) -> None:
    """This holds for any spending of an earlier process and any order of answers.

    A request consists of three durations in seconds: the delay after the previous request, the time
    until it reaches the server, and the time until its answer arrives.
    """
    kept = limit - allowed(limit, share)
    before = min(spent, limit - kept)

    async def main() -> list[int]:
        clock = virtual_clock()
        server = Window(limit, phase, before)
        budget = Budget(limit, share, monotonic=clock.monotonic, server=clock.wall, rng=clock.rng)

        async def act(way: float, back: float) -> None:
            slot = await acquire(budget)
            await asyncio.sleep(way)
            headers = server.count()
            await asyncio.sleep(back)
            budget.release(slot, headers)

        tasks = []
        for after, way, back in requests:
            await asyncio.sleep(after)
            tasks.append(asyncio.create_task(act(way, back)))
        await asyncio.gather(*tasks)
        return server.lowest

    lowest = run(main())
    # Only the answer to the first request shows what is left.
    assert all(remaining >= kept for remaining in lowest[1:])
