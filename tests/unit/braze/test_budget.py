"""Examples of when the request budget lets a request start, in virtual time."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from cdi_exporter.braze.budget import (
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    LONGEST_WAIT,
    SPENT_FOR,
    WINDOW,
    Budget,
    RateLimitHeaders,
    Slot,
)
from tests.virtual import EPOCH, run, virtual_clock

NO_LIMITS = RateLimitHeaders()
"""The headers of an answer without rate limit headers."""


def make(limit: int = 50, share: float = 0.8, *, ahead: float = 0.0, seed: int = 0) -> Budget:
    """A budget on the virtual clock. `ahead` shifts the local wall clock."""
    clock = virtual_clock(seed, ahead)
    return Budget(limit, share, monotonic=clock.monotonic, server=clock.wall, rng=clock.rng)


async def acquire(budget: Budget) -> Slot:
    """Wait for a slot, without giving up."""
    slot = await budget.acquire_while(lambda: True)
    assert slot is not None
    return slot


def now() -> float:
    """Seconds since the loop was created."""
    return asyncio.get_running_loop().time()


def server_headers(
    remaining: int | None,
    limit: int | None = 50,
    *,
    resets_in: float | None = 30.0,
    retry_after: float | None = None,
    date: bool = True,
) -> RateLimitHeaders:
    """The rate limit headers that a server with a correct clock sends now."""
    wall = EPOCH + now()
    reset = None if resets_in is None else wall + resets_in
    return RateLimitHeaders(limit, remaining, reset, retry_after, wall if date else None)


async def answered_request(
    budget: Budget, headers: RateLimitHeaders = NO_LIMITS, *, refused: bool = False
) -> None:
    """Make a request that is answered at once."""
    budget.release(await acquire(budget), headers, refused=refused)


async def start_times(
    budget: Budget, number: int, answer: Callable[[], RateLimitHeaders | None], seconds: float = 0.0
) -> list[float]:
    """Request `number` slots at once, and return the time at which each request starts."""
    found = []

    async def request() -> None:
        slot = await acquire(budget)
        found.append(now())
        await asyncio.sleep(seconds)
        budget.release(slot, answer())

    await asyncio.gather(*(request() for _ in range(number)))
    return found


async def next_start(budget: Budget) -> float:
    """The time at which the next request may start."""
    budget.cancel(await acquire(budget))
    return now()


def seconds_of(main: Callable[[], Awaitable[float]]) -> float:
    """Run a coroutine in virtual time and return its result."""

    async def whole() -> float:
        return await main()

    return run(whole())


# Slots


@pytest.mark.parametrize(
    ("limit", "share", "slots"),
    [(50, 0.8, 40), (100, 0.8, 80), (50, 1.0, 50), (100, 0.29, 29), (3, 0.5, 1), (1, 0.1, 1)],
)
def test_the_slots_are_the_share_of_the_limit(limit: int, share: float, slots: int) -> None:
    """The share is rounded down, but it is at least one slot.

    With no slot nothing would be requested.
    """
    assert run(_slots(limit, share)) == slots


async def _slots(limit: int, share: float) -> int:
    return make(limit, share).slots


def test_a_slot_is_free_again_a_minute_after_the_end() -> None:
    """Three requests start at once. The others start a minute after earlier requests ended."""

    async def main() -> list[float]:
        budget = make(5, 0.8)
        await answered_request(budget)
        return await start_times(budget, 6, lambda: NO_LIMITS, seconds=10)

    assert run(main()) == [0, 0, 0, SPENT_FOR, 10 + SPENT_FOR, 10 + SPENT_FOR]


def test_a_slow_request_keeps_its_slot() -> None:
    """Two requests fill the budget. No other one starts while the slow one is under way."""

    async def main() -> float:
        budget = make(2, 1.0)
        await answered_request(budget)
        slow = asyncio.create_task(start_times(budget, 1, lambda: NO_LIMITS, seconds=500))
        await asyncio.sleep(0)
        started = await start_times(budget, 2, lambda: NO_LIMITS)
        await slow
        return started[1]

    assert run(main()) == pytest.approx(2 * SPENT_FOR)


@pytest.mark.parametrize(("limit", "slots"), [(10, 8), (1, 1), (50, 40), (1000, 40), (0, 40)])
def test_the_limit_of_the_server_counts_where_it_is_lower(limit: int, slots: int) -> None:
    """A higher limit does not raise the budget. A limit of 0 is ignored."""

    async def main() -> int:
        budget = make(50, 0.8)
        await answered_request(budget, server_headers(1000, limit))
        return budget.slots

    assert run(main()) == slots


def test_a_lower_limit_binds_the_requests_that_follow() -> None:
    """Requests made before the server reported the limit count as well."""

    async def main() -> list[float]:
        budget = make(50, 0.8)
        return await start_times(budget, 5, lambda: server_headers(1000, 4))

    assert run(main()) == pytest.approx([0, 0, 0, SPENT_FOR, SPENT_FOR])


def test_acquire_returns_how_long_it_waited() -> None:
    """The waiting time is a metric."""

    async def main() -> tuple[float, float]:
        budget = make(1, 1.0)
        first = await acquire(budget)
        budget.release(first, NO_LIMITS)
        second = await acquire(budget)
        return first.waited, second.waited

    assert run(main()) == (0, SPENT_FOR)


def test_the_wait_is_measured_from_the_request_for_a_slot() -> None:
    async def main() -> float:
        budget = make(limit=1, share=1.0)
        await asyncio.sleep(1000)
        await answered_request(budget)
        await asyncio.sleep(20)
        return (await acquire(budget)).waited

    assert run(main()) == pytest.approx(SPENT_FOR - 20)


def test_ended_slots_are_forgotten_after_a_minute() -> None:
    """The memory use does not grow with the number of requests."""

    async def main() -> int:
        budget = make(limit=10, share=1.0)
        for _ in range(200):
            await answered_request(budget)
        return len(budget._ended)

    assert run(main()) <= 10


# The first answer


def test_until_the_first_answer_requests_are_made_one_at_a_time() -> None:
    """An earlier process may have spent the limit. Only the first answer shows what is left."""

    async def main() -> list[float]:
        return await start_times(make(), 4, lambda: NO_LIMITS, seconds=3)

    assert run(main()) == [0, 3, 3, 3]


def test_a_request_without_an_answer_changes_no_limit() -> None:
    """After a request without an answer, the next request is again made on its own."""

    async def main() -> list[float]:
        answers = iter([None, None, NO_LIMITS, NO_LIMITS, NO_LIMITS])
        return await start_times(make(), 5, lambda: next(answers), seconds=3)

    assert run(main()) == [0, 3, 6, 9, 9]


def test_the_spending_of_an_earlier_process_is_counted() -> None:
    """Of the first answer's Remaining, only the part above other tools' share is used."""

    async def main() -> list[float]:
        left = iter(range(14, -1, -1))
        return await start_times(
            make(), 6, lambda: server_headers(next(left), resets_in=30 - now())
        )

    assert run(main()) == [0, 0, 0, 0, 0, 30]


# Reported limits


@pytest.mark.parametrize(("share", "kept"), [(0.8, 10), (1.0, 0), (0.5, 25), (0.29, 36)])
@pytest.mark.parametrize("below", [0, 1, 5])
def test_nothing_starts_when_only_the_part_of_others_is_left(
    share: float, kept: int, below: int
) -> None:
    """When only the share of other tools is left, requests wait until the reset."""

    async def main() -> float:
        budget = make(50, share)
        await answered_request(budget, server_headers(max(0, kept - below), resets_in=17))
        return await next_start(budget)

    assert seconds_of(main) == 17


@pytest.mark.parametrize("more", [1, 2, 3])
def test_requests_under_way_are_taken_off_what_remains(more: int) -> None:
    """The server had not counted these requests when it sent the answer."""

    async def main() -> list[float]:
        budget = make()
        await answered_request(budget, server_headers(10 + more, resets_in=20))
        return await start_times(budget, 5, lambda: None, seconds=1)

    assert run(main()) == [0] * more + [20] * (5 - more)


def test_an_answer_that_comes_late_does_not_raise_what_remains() -> None:
    """Answers can arrive out of order. Within a window the lowest Remaining counts."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(40, resets_in=20))
        one = await acquire(budget)
        two = await acquire(budget)
        budget.release(one, server_headers(10, resets_in=20))
        budget.release(two, server_headers(35, resets_in=20))
        return await next_start(budget)

    assert seconds_of(main) == 20


def test_a_new_window_makes_room() -> None:
    """After the reset the old Remaining no longer applies. The one of the new window counts."""

    async def main() -> tuple[float, float]:
        budget = make()
        await answered_request(budget, server_headers(5, resets_in=20))
        slot = await acquire(budget)
        started = now()
        budget.release(slot, server_headers(49, resets_in=60))
        return started, await next_start(budget)

    assert run(main()) == (20, 20)


def test_a_window_may_start_before_the_previous_one_was_due_to_end() -> None:
    """A later reset belongs to a new window. Its Remaining replaces the old one."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(11, resets_in=40))
        slot = await acquire(budget)
        await asyncio.sleep(5)
        budget.release(slot, server_headers(45, resets_in=60))
        await acquire(budget)
        return await next_start(budget)

    assert seconds_of(main) == 5


@pytest.mark.parametrize("jitter", [-0.9, 0.0, 0.9])
def test_a_reset_that_jitters_is_the_same_window(jitter: float) -> None:
    """Date and reset are whole seconds, so their difference is off by less than a second."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(12, resets_in=40))
        one = await acquire(budget)
        two = await acquire(budget)
        budget.release(one, server_headers(10, resets_in=40))
        budget.release(two, server_headers(30, resets_in=40 + jitter))
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(40)


def test_a_remaining_count_is_obeyed_without_a_limit() -> None:
    """If the answer has no limit, the configured limit is used."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(10, None, resets_in=20))
        return await next_start(budget)

    assert seconds_of(main) == 20


def test_without_a_reset_a_whole_window_is_waited_for() -> None:
    """The documented window is one minute."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(3, resets_in=None))
        return await next_start(budget)

    assert seconds_of(main) == WINDOW


@pytest.mark.parametrize("resets_in", [LONGEST_WAIT + 1, 1e9, 1e300])
def test_an_implausible_reset_is_retried_after_an_hour(resets_in: float) -> None:
    """One wrong header must not stop requests forever."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(0, resets_in=resets_in))
        return await next_start(budget)

    assert seconds_of(main) == LONGEST_WAIT


@pytest.mark.parametrize("ahead", [-86_400.0, -90.0, -1.0, 1.0, 90.0, 86_400.0])
def test_a_clock_difference_is_taken_from_the_date(ahead: float) -> None:
    """The wait is what the server intended, however wrong the local clock is."""

    async def main() -> float:
        budget = make(ahead=ahead)
        await answered_request(budget, server_headers(0, resets_in=25))
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(25, abs=1e-5)


@pytest.mark.parametrize(
    ("ahead", "wait"), [(-10.0, 35.0), (10.0, 15.0), (-86_400.0, LONGEST_WAIT)]
)
def test_without_a_date_the_wait_is_off_but_ends(ahead: float, wait: float) -> None:
    """Without a Date the clock difference is unknown. The wait is at most an hour."""

    async def main() -> float:
        budget = make(ahead=ahead)
        await answered_request(budget, server_headers(0, resets_in=25, date=False))
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(wait, abs=1e-5)


def test_the_last_headers_are_kept_for_the_metrics() -> None:
    """An answer without these headers, for example from a proxy, does not clear the values."""

    async def main() -> RateLimitHeaders:
        budget = make()
        await answered_request(budget, server_headers(42))
        await answered_request(budget)
        return budget.last

    assert run(main()).remaining == 42


# 429


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": 7.0}, 7.0),
        ({"retry_after": 0.25}, 0.25),
        ({"retry_after": 7.0, "resets_in": 50.0}, 7.0),
        ({"retry_after": 86_400.0}, LONGEST_WAIT),
        ({"resets_in": 20.0}, 20.0),
    ],
)
def test_a_429_with_a_time_is_obeyed(headers: dict[str, Any], wait: float) -> None:
    """Retry-After takes precedence over the reset. The wait is at most an hour."""

    async def main() -> float:
        budget = make()
        await answered_request(
            budget, server_headers(None, None, **{"resets_in": None, **headers}), refused=True
        )
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(wait)


def test_a_429_also_applies_the_remaining_count() -> None:
    """Nothing is left until the reset, so a shorter Retry-After does not help."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(0, resets_in=40, retry_after=7), refused=True)
        return await next_start(budget)

    assert seconds_of(main) == 40


@pytest.mark.parametrize(
    "headers", [{}, {"retry_after": 0.0}, {"resets_in": 0.0}, {"resets_in": -1000.0}]
)
def test_a_429_without_a_time_is_followed_by_a_backoff(headers: dict[str, Any]) -> None:
    """Without a time, or with a time in the past, there would be no pause at all."""

    async def main() -> float:
        budget = make()
        await answered_request(
            budget, server_headers(None, None, **{"resets_in": None, **headers}), refused=True
        )
        return await next_start(budget)

    assert FIRST_BACKOFF / 2 <= seconds_of(main) <= FIRST_BACKOFF


def test_the_backoff_doubles_up_to_five_minutes() -> None:
    """Each consecutive refusal waits longer, with jitter from the given random generator."""

    async def main(seed: int) -> list[float]:
        budget = make(1000, 1.0, seed=seed)
        waits = []
        for _ in range(10):
            await answered_request(budget, refused=True)
            before = now()
            waits.append(await next_start(budget) - before)
        return waits

    waits = run(main(1))
    for number, wait in enumerate(waits):
        longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**number)
        assert longest / 2 <= wait <= longest
    assert run(main(1)) == waits
    assert run(main(2)) != waits


def test_a_success_ends_the_doubling() -> None:
    """After a success the next refusal starts with the first backoff again."""

    async def main() -> float:
        budget = make(1000, 1.0)
        for _ in range(5):
            await answered_request(budget, refused=True)
        await answered_request(budget)
        before = now()
        await answered_request(budget, refused=True)
        return await next_start(budget) - before

    assert seconds_of(main) <= FIRST_BACKOFF


def test_refusals_of_requests_that_were_under_way_together_are_one() -> None:
    """Ten 429 responses to concurrent requests count as one refusal, not as ten doublings."""

    async def main() -> float:
        budget = make(1000, 1.0)
        await answered_request(budget)
        slots = [await acquire(budget) for _ in range(10)]
        for slot in slots:
            budget.release(slot, NO_LIMITS, refused=True)
        return await next_start(budget)

    assert seconds_of(main) <= FIRST_BACKOFF


def test_a_refusal_also_holds_back_waiting_requests() -> None:
    """A request that already waits for a slot also obeys a 429 that arrives meanwhile."""

    async def main() -> float:
        budget = make(1, 1.0)
        slot = await acquire(budget)
        waiting = asyncio.create_task(next_start(budget))
        await asyncio.sleep(1)
        budget.release(
            slot, server_headers(None, None, resets_in=None, retry_after=500), refused=True
        )
        return await waiting

    assert seconds_of(main) == 501


# Queue order


def test_slots_are_given_in_the_order_of_the_requests() -> None:
    """No request overtakes another one, whatever wakes the queue meanwhile."""

    async def main() -> list[int]:
        budget = make(2, 1.0)
        order = []

        async def request(number: int) -> None:
            slot = await acquire(budget)
            order.append(number)
            await asyncio.sleep(number % 3)
            budget.release(slot, NO_LIMITS)

        await asyncio.gather(*(request(number) for number in range(9)))
        return order

    assert run(main()) == list(range(9))


@pytest.mark.parametrize("cancelled", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_a_cancelled_waiter_takes_no_slot(cancelled: Sequence[int]) -> None:
    """The other waiters move up, wherever the cancelled one was in the queue. No slot is lost."""

    async def main() -> tuple[list[int], int]:
        budget = make(1, 1.0)
        await answered_request(budget)
        served = []

        async def request(number: int) -> None:
            slot = await acquire(budget)
            served.append(number)
            budget.release(slot, NO_LIMITS)

        tasks = [asyncio.create_task(request(number)) for number in range(3)]
        await asyncio.sleep(5)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert now() == pytest.approx(
            5 if len(cancelled) == 3 else SPENT_FOR * (3 - len(cancelled))
        )
        return served, budget.running

    assert run(main()) == ([number for number in range(3) if number not in cancelled], 0)


def test_a_waiter_cancelled_as_it_gets_a_slot_loses_none() -> None:
    """The waiter is cancelled at the moment it gets the slot.

    The next waiter gets a slot all the same.
    """

    async def main() -> int:
        budget = make(1, 1.0)
        await answered_request(budget)
        first = asyncio.create_task(acquire(budget))
        second = asyncio.create_task(acquire(budget))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(SPENT_FOR, first.cancel)
        results = await asyncio.gather(first, asyncio.wait_for(second, 70), return_exceptions=True)
        return budget.running + sum(isinstance(each, BaseException) for each in results)

    assert run(main()) == 2


def test_an_unused_slot_is_free_at_once() -> None:
    """The next waiter wakes, and the budget counts nothing as spent."""

    async def main() -> tuple[float, int]:
        budget = make(1, 1.0)
        await answered_request(budget)
        slot = await acquire(budget)
        waiting = asyncio.create_task(next_start(budget))
        await asyncio.sleep(2)
        budget.cancel(slot)
        return await waiting, budget.running

    assert run(main()) == (SPENT_FOR + 2, 0)


def test_the_delay_is_how_long_a_request_would_wait() -> None:
    """The delay is 0, a time, or infinite while it depends on the end of another request."""

    async def main() -> list[float]:
        budget = make(1, 1.0)
        delays = [budget.delay()]
        slot = await acquire(budget)
        delays.append(budget.delay())
        budget.release(slot, NO_LIMITS)
        delays.append(budget.delay())
        await asyncio.sleep(20)
        return [*delays, budget.delay()]

    assert run(main()) == [0, math.inf, SPENT_FOR, pytest.approx(SPENT_FOR - 20)]


def test_used_is_a_ratio_of_the_slots() -> None:
    """Requests under way and requests of the last minute count. Older requests do not."""

    async def main() -> list[float]:
        budget = make(5, 0.8)
        shares = [budget.used]
        await answered_request(budget)
        await acquire(budget)
        shares.append(budget.used)
        await asyncio.sleep(SPENT_FOR)
        shares.append(budget.used)
        return shares

    assert run(main()) == [0, 0.5, 0.25]


# The newest answer


def test_a_newer_answer_counts_even_if_its_reset_is_earlier() -> None:
    """Braze's window is not fixed. The reset can move in either direction."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(12, resets_in=60))
        await asyncio.sleep(1)
        await answered_request(budget, server_headers(10, resets_in=5))
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(6)


@pytest.mark.parametrize("resets_in", [5, 60, 300])
def test_a_newer_answer_counts_even_if_more_remains(resets_in: float) -> None:
    """A leaky bucket has more room with each answer."""

    async def main() -> float:
        budget = make()
        first = await acquire(budget)
        budget.release(first, server_headers(11, resets_in=60))
        await answered_request(budget, server_headers(30, resets_in=resets_in))
        slots = [await acquire(budget) for _ in range(10)]
        return now() + len(slots)

    assert seconds_of(main) == 10


def test_every_answer_of_concurrent_requests_counts() -> None:
    """The strictest answer applies until a later request is answered.

    The order in which the server answered concurrent requests is unknown.
    """

    async def main() -> tuple[float, float]:
        budget = make()
        await answered_request(budget)
        one, two = await acquire(budget), await acquire(budget)
        budget.release(two, server_headers(12, resets_in=40))
        three = await acquire(budget)
        budget.release(one, server_headers(30, resets_in=50))
        await acquire(budget)
        held = budget.delay()
        budget.release(three, server_headers(25, resets_in=50))
        return held, budget.delay()

    assert run(main()) == (40, 0)


def test_an_answer_that_overtakes_another_brings_no_room() -> None:
    """The answer to the first request arrives last. Its Remaining is out of date."""

    async def main() -> list[float]:
        budget = make()
        await answered_request(budget)
        slots = [await acquire(budget) for _ in range(5)]
        for number, slot in reversed([*enumerate(slots)]):
            budget.release(slot, server_headers(15 - number - 1, resets_in=20))
        return await start_times(budget, 1, lambda: NO_LIMITS)

    assert run(main()) == [20]


# Clock of the server


@pytest.mark.parametrize("off", [-30 * 86_400, -7200, 7200, 30 * 86_400])
def test_a_date_that_is_far_off_does_not_move_the_reset(off: float) -> None:
    """The wait is neither skipped nor extended to an hour."""

    async def main() -> float:
        budget = make()
        headers = replace(server_headers(0, resets_in=25), date=EPOCH + off)
        await answered_request(budget, headers)
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(25)


def test_if_neither_clock_fits_a_window_is_waited_for() -> None:
    """The documented window is one minute."""

    async def main() -> float:
        budget = make()
        await answered_request(
            budget, replace(server_headers(0, resets_in=7000), date=EPOCH + 90_000)
        )
        return await next_start(budget)

    assert seconds_of(main) == WINDOW


# Several keys


def test_the_spending_of_another_budget_is_counted_once() -> None:
    """Requests of another budget count once, whether under way or ended."""

    async def main() -> list[float]:
        old, new = make(5, 0.8), make(5, 0.8)
        await answered_request(old)
        running = await acquire(old)
        for _ in range(3):
            new.remember(old)
        old.remember(new)
        await answered_request(new)
        await asyncio.sleep(10)
        old.release(running, NO_LIMITS)
        found = await start_times(new, 3, lambda: NO_LIMITS)
        return [*found, old.used]

    assert run(main()) == pytest.approx([10, SPENT_FOR, SPENT_FOR, 0.25])


def test_a_budget_that_waits_for_a_request_of_another_one_sees_its_end() -> None:
    """The end of that request does not wake this budget. The budget has to check for it."""

    async def main() -> float:
        old, new = make(1, 1.0), make(1, 1.0)
        running = await acquire(old)
        new.remember(old)
        waiting = asyncio.create_task(next_start(new))
        await asyncio.sleep(10)
        old.release(running, NO_LIMITS)
        return await waiting

    assert seconds_of(main) == pytest.approx(10 + SPENT_FOR, abs=1.1)


def test_a_waiter_that_no_longer_needs_a_slot_leaves_the_queue() -> None:
    """The waiter leaves when it is woken, even from the middle. The others keep their order."""

    async def main() -> tuple[list[object], float]:
        budget, wanted = make(1, 1.0), [True]
        await answered_request(budget)
        first = asyncio.create_task(acquire(budget))
        second = asyncio.create_task(budget.acquire_while(lambda: wanted[0]))
        third = asyncio.create_task(acquire(budget))
        await asyncio.sleep(1)
        wanted[0] = False
        budget.wake()
        gone, left = await second, now()
        budget.cancel(await first)
        budget.cancel(await third)
        return [gone, left], now()

    assert run(main()) == ([None, 1], SPENT_FOR)
