"""Limits of the request budget in plain numbers, and the estimate of the server's clock."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from cdi_exporter.braze.budget import Budget, RateLimitHeaders, ServerClock
from tests.unit.braze.test_budget import (
    NO_LIMITS,
    acquire,
    answered_request,
    make,
    next_start,
    seconds_of,
    server_headers,
)
from tests.virtual import EPOCH, run, virtual_clock


class Longest(random.Random):
    """A random generator that draws the longest wait of each backoff."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Shortest(random.Random):
    """A random generator that draws the shortest wait of each backoff."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.mark.parametrize(
    ("rng", "waits"),
    [
        (Longest(), [5, 10, 20, 40, 80, 160, 300, 300]),
        (Shortest(), [2.5, 5, 10, 20, 40, 80, 150, 150]),
    ],
)
def test_the_backoff_doubles_from_five_seconds_to_five_minutes(
    rng: random.Random, waits: list[float]
) -> None:
    """The wait is at least half the backoff, so that several exporters do not return together."""

    async def main() -> list[float]:
        clock = virtual_clock()
        budget = Budget(50, 0.8, monotonic=clock.monotonic, server=clock.wall, rng=rng)
        found = []
        for _ in waits:
            await answered_request(budget, NO_LIMITS, refused=True)
            found.append(budget.delay())
        return found

    assert run(main()) == pytest.approx(waits)


def test_half_a_second_is_waited_for() -> None:
    """Only a wait too short for a timer is skipped."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(40, retry_after=0.5), refused=True)
        return await next_start(budget)

    assert seconds_of(main) == 0.5


def test_a_slot_is_free_a_tenth_of_a_second_after_its_minute() -> None:
    """Clocks and timers are not exact."""

    async def main() -> float:
        budget = make(1, 1.0)
        await answered_request(budget)
        return await next_start(budget)

    assert seconds_of(main) == pytest.approx(60.1)


def test_no_announced_wait_is_longer_than_an_hour() -> None:
    """This applies to a reset and to a Retry-After."""

    async def main() -> list[float]:
        reset, refused = make(), make()
        await answered_request(reset, server_headers(0, resets_in=5000))
        await answered_request(refused, server_headers(40, retry_after=5000), refused=True)
        return [reset.delay(), refused.delay()]

    assert run(main()) == pytest.approx([3600, 3600])


@pytest.mark.parametrize(
    ("off", "wait"), [(30.0, 10.0), (31.0, 40.0), (-30.0, 70.0), (-31.0, 40.0)]
)
def test_a_date_within_half_a_minute_of_the_clock_is_believed(off: float, wait: float) -> None:
    """If the Date is further off, the clock difference that fits a window is used."""
    headers = RateLimitHeaders(50, 0, EPOCH + 40, date=EPOCH + off)
    assert headers.wait(EPOCH) == wait


@pytest.mark.parametrize(
    ("reset", "wait"), [(0.0, 60.0), (0.5, 0.5), (61.0, 61.0), (61.5, 60.0), (-5.0, 60.0)]
)
def test_a_wait_fits_a_window_if_it_is_positive_and_about_a_minute(
    reset: float, wait: float
) -> None:
    """The reset is rounded, so a wait may be one second longer than the window."""
    headers = RateLimitHeaders(50, 0, EPOCH + reset, date=EPOCH - 86_400.0)
    assert headers.wait(EPOCH) == wait


def test_if_both_differences_fit_a_window_the_longer_wait_counts() -> None:
    """Waiting too long costs less than a request that is too early."""
    assert RateLimitHeaders(50, 0, EPOCH + 50, date=EPOCH + 40).wait(EPOCH) == 50
    assert RateLimitHeaders(50, 0, EPOCH + 10, date=EPOCH - 40).wait(EPOCH) == 50


def test_a_remainder_is_forgotten_at_its_reset() -> None:
    """It applies until the reset, and no longer."""

    async def main() -> list[float]:
        budget = make()
        await answered_request(budget, server_headers(0, resets_in=20))
        found = [budget.delay()]
        for seconds in (19.5, 0.5):
            await asyncio.sleep(seconds)
            found.append(budget.delay())
        return found

    assert run(main()) == pytest.approx([20, 0.5, 0])


def test_a_refusal_while_another_one_holds_adds_no_backoff() -> None:
    """The refused request started before the backoff. A refusal after the backoff doubles it."""

    async def main() -> list[float]:
        clock = virtual_clock()
        budget = Budget(50, 0.8, monotonic=clock.monotonic, server=clock.wall, rng=Longest())
        await answered_request(budget)
        first, second, third = [await acquire(budget) for _ in range(3)]
        budget.release(first, NO_LIMITS, refused=True)
        budget.release(second, NO_LIMITS, refused=True)
        found = [budget.delay()]
        await asyncio.sleep(5)
        budget.release(third, NO_LIMITS, refused=True)
        return [*found, budget.delay()]

    assert run(main()) == pytest.approx([5, 10])


@pytest.mark.parametrize(("remaining", "waits"), [(10, True), (11, False)])
def test_the_part_reserved_for_other_tools_is_never_used(remaining: int, waits: bool) -> None:
    """With a share of 0.8 of 50, ten requests are left to other tools."""

    async def main() -> float:
        budget = make()
        await answered_request(budget, server_headers(remaining, resets_in=20))
        return budget.delay()

    assert (seconds_of(main) > 0) is waits


def test_an_answer_without_a_count_leaves_the_last_one() -> None:
    """A limit or a Remaining is enough to replace the last values."""

    async def main() -> list[int | None]:
        budget = make()
        await answered_request(budget, server_headers(30, limit=45))
        await answered_request(budget, NO_LIMITS)
        found = [budget.last.limit]
        await answered_request(budget, server_headers(None, limit=44))
        found.append(budget.last.limit)
        await answered_request(budget, server_headers(30, limit=None))
        return [*found, budget.last.limit, budget.last.remaining]

    assert run(main()) == [45, 44, None, 30]


def test_a_request_without_an_answer_is_taken_off_what_remains() -> None:
    """The request may have reached the server. Its slot stays taken as well."""

    async def main() -> list[float]:
        budget = make()
        await answered_request(budget, server_headers(12, resets_in=20))
        found = []
        for _ in range(2):
            budget.release(await acquire(budget))
            found.append(budget.delay())
        return [*found, budget.used * budget.slots]

    assert run(main()) == pytest.approx([0, 20, 3])


@pytest.mark.parametrize(("remaining", "wait"), [(12, 0), (11, 20)])
def test_a_request_of_another_budget_is_taken_off_what_remains_once(
    remaining: int, wait: float
) -> None:
    """The request is under way in the other budget."""

    async def main() -> float:
        other, budget = make(), make()
        await acquire(other)
        budget.remember(other)
        await answered_request(budget, server_headers(remaining, resets_in=20))
        return budget.delay()

    assert seconds_of(main) == pytest.approx(wait)


@pytest.mark.parametrize("name", ["retry-after", "x-ratelimit-retry-after"])
def test_a_time_to_come_back_is_compared_with_the_date_of_the_answer(name: str) -> None:
    """An answer without a Date is compared with the estimated time of the server."""
    headers = {name: "Mon, 21 Sep 2026 14:14:20 GMT"}
    dated = headers | {"date": "Mon, 21 Sep 2026 14:13:20 GMT"}
    assert RateLimitHeaders.read(dated, EPOCH + 500).retry_after == 60
    assert RateLimitHeaders.read(headers, EPOCH + 20).retry_after == 40


# Clock of the server


@pytest.mark.parametrize(
    ("answers", "ahead"),
    [
        ((), 0),
        ((100,), 100),
        ((86_400,), 86_400),
        ((-86_400,), -86_400),
        ((86_401,), 0),
        ((86_401, 86_401), 0),
        ((86_401, 86_401, 86_401), 86_401),
        ((100, 130), 130),
        ((100, 70), 70),
        ((100, 131), 100),
        ((-100, 100), -100),
        ((100, 131, 131), 100),
        ((100, 131, 131, 131), 131),
        ((100, 500, 500, 110, 500, 500), 110),
        ((100, 500, 500, 900, 500, 500), 100),
        ((100, 500, 530, 560), 560),
        ((100, 500, 531, 562), 100),
        ((100, 500, -500, 500), 100),
        ((100, 500, 500, 500, 510), 510),
        ((100, 500, 500, 500, 100, 100), 500),
    ],
)
def test_the_clock_follows_small_steps_and_jumps_that_three_answers_agree_on(
    answers: Sequence[float], ahead: float
) -> None:
    """The first answer is believed if it is off by up to a day. A single odd answer is ignored."""
    clock = ServerClock()
    for each in answers:
        clock.note(each)
    assert clock.ahead == ahead


def test_a_wait_without_a_reset_is_unknown() -> None:
    """A Date does not change this."""
    headers = RateLimitHeaders(50, 10, date=EPOCH)
    assert headers.wait(EPOCH) is None
    assert replace(headers, reset=EPOCH + 7).wait(EPOCH) == 7
