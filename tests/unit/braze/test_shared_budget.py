"""A budget shared by several exporters: what the leader and the others may spend."""

import asyncio
import math
import random
from itertools import count

import httpx
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.braze.budget import NOTHING, Allowance, Budget, BudgetReport, Slot
from cdi_exporter.braze.sharing import MOST_AT_ONCE, Bounds, KeyBudgets, Spending
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.model import Endpoint
from cdi_exporter.typed_json import from_json, to_json
from tests.unit.braze.client_helpers import client_under_test
from tests.virtual import run, virtual_clock

LIMIT, SHARE = 100, 0.8
"""This gives 80 slots, 60 of them for the leader."""


def budget(limit: int = LIMIT) -> Budget:
    clock = virtual_clock()
    budget_ = Budget(limit, SHARE, monotonic=clock.monotonic, server=clock.wall, rng=clock.rng)
    budget_._answered = True  # otherwise the first request runs on its own
    return budget_


def take(budget_: Budget, most: int = 1000) -> int:
    """The number of requests that may start and end now."""
    for number in count():
        if number == most or budget_.delay() > 0:
            return number
        budget_.release(budget_._take(0.0))
    raise AssertionError


def test_a_leader_has_three_quarters_of_the_share() -> None:
    async def main() -> None:
        leader = budget()
        leader.allow(Allowance(0.75, until=math.inf))
        assert take(leader) == 60

    run(main())


def test_a_follower_has_no_budget_and_a_cut_off_exporter_its_part() -> None:
    async def main() -> None:
        other = budget()
        assert other.is_open
        other.allow(NOTHING)
        assert take(other) == 0
        assert not other.is_open
        assert other.delay() == math.inf
        other.allow(Allowance(0.25 / 3, least=0))
        assert take(other) == 6  # 20 slots, divided by three
        tiny = budget(limit=2)
        tiny.allow(Allowance(0.25, least=0))
        assert take(tiny) == 0
        tiny.allow(Allowance(0.75))
        assert tiny.is_open
        assert take(tiny) == 1

    run(main())


def test_nothing_starts_once_the_lease_is_over() -> None:
    async def main() -> None:
        leader = budget()
        leader.allow(Allowance(0.75, until=11.0))
        leader.note_reported(leader.report())
        assert take(leader, 1) == 1
        waits = asyncio.create_task(leader.acquire_while(lambda: True))
        await asyncio.sleep(0)
        assert waits.done()
        assert leader.is_open
        await asyncio.sleep(11)
        assert leader.delay() == math.inf
        assert not leader.is_open
        waits = asyncio.create_task(leader.acquire_while(lambda: True))
        await asyncio.sleep(3600)
        assert not waits.done()
        leader.allow(Allowance(0.75, until=4000.0))
        await asyncio.sleep(0.1)
        assert waits.done()

    run(main())


def test_a_leader_takes_few_slots_before_it_reports() -> None:
    async def main() -> None:
        leader = budget()
        leader.allow(Allowance(0.75, until=100.0))
        first = leader.report()
        assert first.ages == (None,) * 10
        leader.note_reported(first)
        assert take(leader) == 10
        second = leader.report()
        assert second.ages == (0.0,) * 10 + (None,) * 10
        leader.note_reported(second)
        assert take(leader) == 10
        leader.allow(Allowance(0.25, least=0))  # cut off: it can no longer report
        assert take(leader) == 0
        await asyncio.sleep(61)
        assert take(leader) == 20

    run(main())


def test_a_request_that_waits_for_a_report_starts_with_it() -> None:
    """It does not wait for the next check, which would be a second after the last one."""

    async def main() -> None:
        leader = budget()
        leader.allow(Allowance(0.75, until=100.0))
        assert take(leader) == 10
        waits = asyncio.create_task(leader.acquire_while(lambda: True))
        await asyncio.sleep(0.3)
        assert not waits.done()
        leader.note_reported(leader.report())
        await asyncio.sleep(0.1)
        assert waits.done()

    run(main())


def test_a_leader_takes_few_slots_of_a_budget_that_it_has_not_reported_yet() -> None:
    """For example, the budget of a key that was just replaced."""

    async def main() -> None:
        leader = budget()
        leader.allow(Allowance(0.75, until=100.0))
        assert take(leader) == 10
        leader.note_reported(leader.report())
        assert take(leader) == 10

    run(main())


def test_the_former_leaders_spending_counts() -> None:
    async def main() -> None:
        clock = virtual_clock()
        bounds = Bounds({Endpoint.INTEGRATIONS: 50, Endpoint.HISTORY: LIMIT}, SHARE)
        old, new = KeyBudgets(clock, bounds), KeyBudgets(clock, bounds)
        for shared in (old, new):
            shared.allow(Allowance(0.75))
            for each in shared.budgets.values():
                each._answered = True
        take(old.budgets[Endpoint.HISTORY], 30)
        old.budgets[Endpoint.HISTORY]._take(0.0)  # stays under way
        text = to_json(Spending.of(old.report()))
        await asyncio.sleep(20)
        new.assume(from_json(Spending, text), 20.0, running_for=10.0)
        assert take(new.budgets[Endpoint.HISTORY]) == 60 - 30 - 1 - 10
        await asyncio.sleep(41)
        assert take(new.budgets[Endpoint.HISTORY]) == 30
        await asyncio.sleep(14)
        assert take(new.budgets[Endpoint.HISTORY]) == 0
        await asyncio.sleep(15.2)  # more than 10 s and a minute after the lead was taken
        assert take(new.budgets[Endpoint.HISTORY]) == 11 + 19

    run(main())


def test_unknown_spending_counts_as_the_whole_budget() -> None:
    async def main() -> None:
        shared = KeyBudgets(virtual_clock(), Bounds(dict.fromkeys(Endpoint, 50), SHARE))
        shared.allow(Allowance(0.75))
        shared.assume(None, 0.0, running_for=10.0)
        assert all(take(each) == 0 for each in shared.budgets.values())
        await asyncio.sleep(61)
        for each in shared.budgets.values():
            each._answered = True
            assert take(each) == 30
        await asyncio.sleep(61)
        assert all(each.used == 0 for each in shared.budgets.values())

    run(main())


class Relay:
    """Successive leaders with one limit. Each knows the last report before it."""

    def __init__(self, limit: int, rng: random.Random) -> None:
        self.limit, self.rng = limit, rng
        self.started: list[float] = []
        self.under_way: list[tuple[Budget, Slot]] = []
        self.reported: tuple[BudgetReport, float] | None = None
        self.change_leader()

    def change_leader(self) -> None:
        """Replace the leader. Requests of the former leader stay under way."""
        self.leader = budget(self.limit)
        self.leader.allow(Allowance(0.75, until=1e9))
        now = asyncio.get_running_loop().time()
        if self.reported is not None:
            report, at = self.reported
            ages = [None if one is None else one + now - at for one in report.ages]
            self.leader.assume(ages, running_for=5.0)
        self.report(answered=True)

    def report(self, *, answered: bool) -> None:
        report = self.leader.report()
        self.reported = report, asyncio.get_running_loop().time()
        if answered:
            self.leader.note_reported(report)

    def request(self) -> None:
        if self.leader.delay() <= 0:
            self.started.append(asyncio.get_running_loop().time())
            slot = self.leader._take(0.0)
            if self.rng.random() < 0.7:
                self.leader.release(slot)
            else:
                self.under_way.append((self.leader, slot))

    async def step(self) -> None:
        for _ in range(self.rng.choice([0, 1, 20])):
            self.request()
        if self.under_way and self.rng.random() < 0.5:
            owner, slot = self.under_way.pop()
            owner.release(slot)
        if self.rng.random() < 0.5:
            self.report(answered=self.rng.random() < 0.7)
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 3.0]))


@given(seed=st.integers(0, 10**6), limit=st.sampled_from([1, 2, 5, 30, 100]))
def test_successive_leaders_stay_within_the_share(seed: int, limit: int) -> None:
    """Reports get lost, and leaders change while requests are under way."""

    async def main() -> list[float]:
        relay = Relay(limit, random.Random(seed))
        for _ in range(6):
            for _ in range(20):
                await relay.step()
            relay.change_leader()
        return relay.started

    started = run(main())
    allowed = max(1, math.floor(0.75 * SHARE * limit))
    for time in started:
        assert sum(time - 60 < each <= time for each in started) <= allowed


def test_a_slot_from_before_the_lead_was_lost_sends_nothing() -> None:
    """The process was frozen between getting the slot and sending the request. It waits again."""

    async def main() -> None:
        async with client_under_test(httpx.MockTransport(refuse)) as braze:
            client = braze.client
            shared, stats = client.shared, RequestStats()
            for each in shared.budgets.values():
                each._answered = True
            shared.allow(Allowance(0.75, until=10.0))
            shared.note_reported(shared.report())
            for _ in range(MOST_AT_ONCE):
                await shared.places.acquire()
            waits = asyncio.create_task(client.permit(Endpoint.HISTORY, stats))
            await asyncio.sleep(5)
            assert shared.budgets[Endpoint.HISTORY].running == 1
            await asyncio.sleep(10)
            shared.places.release()
            await asyncio.sleep(5)
            assert not waits.done()
            assert shared.budgets[Endpoint.HISTORY].running == 0
            shared.allow(Allowance(0.75, until=100.0))
            await asyncio.sleep(1)
            assert waits.done()

    run(main())


def refuse(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"a request was sent: {request.url}")
