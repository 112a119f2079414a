"""Retries, timeouts, concurrency and cancellation of the client, in virtual time."""

import asyncio
from typing import Any

import httpx
import pytest

from cdi_exporter.braze.budget import SPENT_FOR
from cdi_exporter.braze.client import FIRST_BACKOFF, TRIES
from cdi_exporter.braze.sharing import MOST_AT_ONCE, Bounds
from cdi_exporter.config import inline_key
from cdi_exporter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    NotFound,
    RateLimited,
    RequestTimeout,
    ServerError,
)
from cdi_exporter.model import Endpoint
from tests.unit.braze.client_helpers import (
    KEY,
    LIMITS,
    Body,
    ClientUnderTest,
    Server,
    client_under_test,
    limit_headers,
    now,
    page,
)
from tests.virtual import run, virtual_clock

REFUSED = httpx.ConnectError("refused")
DOWN = httpx.Response(503)
BOTH = [Endpoint.INTEGRATIONS, Endpoint.HISTORY]


# Tries


@pytest.mark.parametrize("endpoint", BOTH)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (REFUSED, "connect_error"),
        (httpx.ReadError("reset"), "connect_error"),
        (httpx.WriteError("reset"), "connect_error"),
        (httpx.RemoteProtocolError("cut short"), "connect_error"),
        (httpx.ProxyError("no way"), "connect_error"),
        (OSError(113, "No route to host"), "connect_error"),
        (httpx.ConnectTimeout("slow"), "timeout"),
        (TimeoutError(110, "Connection timed out"), "timeout"),
        (DOWN, "503"),
    ],
    ids=repr,
)
def test_temporary_failures_are_retried(answer: Any, code: str, endpoint: Endpoint) -> None:
    """The first two tries fail with a connection error, a timeout or a 5xx. The third succeeds."""

    async def main() -> tuple[dict[str, int], bool]:
        async with client_under_test(Server(answer, answer, page())) as braze:
            await braze.fetch(endpoint)
            return braze.codes(endpoint), braze.settled()

    assert run(main()) == ({code: TRIES - 1, "200": 1}, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(REFUSED, ConnectionFailed), (httpx.ReadTimeout("slow"), RequestTimeout), (DOWN, ServerError)],
    ids=repr,
)
def test_there_are_at_most_three_tries(answer: Any, kind: type[ApiError]) -> None:
    """The last error is raised after them."""

    async def main() -> int:
        async with client_under_test(server := Server(answer)) as braze:
            with pytest.raises(kind):
                await braze.history()
            assert braze.settled()
        return len(server.times)

    assert run(main()) == TRIES == 3


def test_a_permanent_failure_ends_the_retries() -> None:
    """The first try fails to connect. The second gets a 404, which is not retried."""

    async def main() -> dict[str, int]:
        async with client_under_test(Server(REFUSED, page(status=404))) as braze:
            with pytest.raises(NotFound):
                await braze.history()
            return braze.codes()

    assert run(main()) == {"connect_error": 1, "404": 1}


def test_the_pauses_grow_with_full_jitter() -> None:
    """The pauses are 0 to 0.5 s and 0 to 1 s. The given random generator draws them."""

    async def pauses(seed: int) -> list[float]:
        async with client_under_test(server := Server(DOWN), clock=virtual_clock(seed)) as braze:
            with pytest.raises(ServerError):
                await braze.history()
        first, second, third = server.times
        return [second - first, third - second]

    drawn = [run(pauses(seed)) for seed in range(60)]
    for number, longest in enumerate([FIRST_BACKOFF, 2 * FIRST_BACKOFF]):
        lengths = [each[number] for each in drawn]
        assert 0 <= min(lengths) < longest / 4
        assert 3 * longest / 4 < max(lengths) <= longest
    assert run(pauses(7)) == drawn[7]


def test_each_try_takes_a_slot() -> None:
    """Two slots are spent, so the third try waits for a free slot."""

    async def main() -> list[float]:
        server = Server(DOWN)
        async with client_under_test(server, limits=dict.fromkeys(Endpoint, 2), share=1.0) as braze:
            with pytest.raises(ServerError):
                await braze.history()
            waited = braze.stats.endpoints[Endpoint.HISTORY].budget_wait
        return [*server.times, waited]

    first, second, third, waited = run(main())
    assert second - first <= FIRST_BACKOFF
    assert third == pytest.approx(SPENT_FOR)
    assert waited == pytest.approx(third - second, abs=2 * FIRST_BACKOFF)


def test_a_retry_obeys_the_limit_in_the_failed_answer() -> None:
    """The rate limit headers of a 503 count as well."""

    async def main() -> list[float]:
        async def answer(request: httpx.Request) -> httpx.Response:
            headers = {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "20"}
            reset = {"x-ratelimit-reset": limit_headers(20)["x_ratelimit_reset"]}
            return httpx.Response(503, headers=headers | reset)

        async with client_under_test(server := Server(answer, page())) as braze:
            await braze.history()
        return server.times

    assert run(main()) == pytest.approx([0, 30], abs=1e-5)


def test_a_429_is_not_tried_again_but_holds_back_the_endpoint() -> None:
    """Other requests to the endpoint wait. The other endpoint has its own limit."""

    async def main() -> tuple[list[float], dict[str, int]]:
        async with client_under_test(
            server := Server(page(status=429, retry_after="40"), page())
        ) as braze:
            with pytest.raises(RateLimited):
                await braze.history()
            await braze.integrations()
            await braze.history()
            return server.times, braze.codes()

    assert run(main()) == ([0, 0, 40], {"429": 1, "200": 1})


def test_tries_of_several_requests_are_within_the_budget() -> None:
    """Retries against a failing endpoint do not exceed the rate limit."""

    async def main() -> list[float]:
        server = Server(page(), DOWN, seconds=0.3)
        async with client_under_test(server, limits=dict.fromkeys(Endpoint, 10)) as braze:
            await braze.history()
            tasks = [braze.history() for _ in range(12)]
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, ServerError) for each in found)
            assert braze.settled()
        return server.times

    times = run(main())
    assert len(times) == 1 + 12 * TRIES
    assert all(later - earlier > 60 for earlier, later in zip(times, times[8:], strict=False))


# The timeout


@pytest.mark.parametrize("timeout", [0.5, 10.0, 30.0])
def test_a_request_is_timed_as_a_whole(timeout: float) -> None:
    """Each part of the body arrives in time, but the whole does not. The request is aborted."""

    async def main() -> tuple[list[float], dict[str, int]]:
        async def trickle(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=Body((b" " for _ in range(10_000)), timeout / 7))

        async with client_under_test(Server(trickle), timeout=timeout) as braze:
            with pytest.raises(RequestTimeout, match=f"within {timeout:g} s"):
                await braze.history()
            assert braze.settled()
            return [each.seconds for each in braze.stats.recent], braze.codes()

    seconds, codes = run(main())
    assert seconds == pytest.approx([timeout] * TRIES)
    assert codes == {"timeout": TRIES}


def test_a_server_that_never_answers_times_out() -> None:
    """Each try may take the full timeout."""

    async def main() -> float:
        async with client_under_test(Server(page(), seconds=1e6), timeout=10) as braze:
            with pytest.raises(RequestTimeout):
                await braze.history()
        return now()

    assert 30 <= run(main()) <= 30 + 3 * FIRST_BACKOFF


def test_waiting_for_the_budget_is_not_timed() -> None:
    """The timeout starts when the request is sent."""

    async def main() -> float:
        limits = dict.fromkeys(Endpoint, 1)
        async with client_under_test(Server(page()), timeout=5, limits=limits) as braze:
            await braze.history()
            await braze.history()
        return now()

    assert run(main()) == pytest.approx(SPENT_FOR)


# Many at once


async def _busy(braze: ClientUnderTest, number: int) -> list[Any]:
    await braze.history()
    await braze.integrations()
    requests = [braze.history() if n % 2 else braze.integrations() for n in range(number)]
    return await asyncio.gather(*requests, return_exceptions=True)


@pytest.mark.parametrize("answer", [page(), DOWN, REFUSED], ids=repr)
def test_there_are_at_most_ten_requests_at_once(answer: Any) -> None:
    """The limit covers both endpoints and retries. Ten requests do run at once."""

    async def main() -> int:
        server = Server(page(), page(), answer, seconds=2)
        async with client_under_test(server) as braze:
            found = await _busy(braze, 40)
            assert len(found) == 40
            assert braze.settled()
        return server.most_at_once

    assert run(main()) == MOST_AT_ONCE == 10


def test_waiting_for_one_budget_does_not_block_the_other_endpoint() -> None:
    """Ten history tries wait for their budget. The list is still read at once."""

    async def main() -> float:
        async def answer(request: httpx.Request) -> httpx.Response:
            return page() if request.url.path == "/cdi/integrations" else DOWN

        limits = {Endpoint.INTEGRATIONS: 50, Endpoint.HISTORY: 10}
        async with client_under_test(Server(page(), answer), limits=limits, share=1.0) as braze:
            await braze.history()
            tasks = [asyncio.create_task(braze.history()) for _ in range(15)]
            await asyncio.sleep(10)
            started = now()
            await braze.integrations()
            took = now() - started
            await asyncio.gather(*tasks, return_exceptions=True)
            assert braze.settled()
        return took

    assert run(main()) == 0


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.2, 3.0, 30.0])
def test_a_cancelled_request_gives_its_slot_back(moment: float) -> None:
    """The request is cancelled while it waits, is sent, is answered, or pauses before a retry."""

    async def main() -> tuple[bool, float]:
        server = Server(page(), DOWN, seconds=1)
        limits = dict.fromkeys(Endpoint, 15)
        async with client_under_test(server, limits=limits, share=1.0) as braze:
            await braze.history()
            tasks = [asyncio.create_task(braze.history()) for _ in range(30)]
            await asyncio.sleep(moment)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert braze.settled()
            started = now()
            with pytest.raises(ServerError):
                await braze.history()
            again = [asyncio.create_task(braze.history()) for _ in range(10)]
            await asyncio.gather(*again, return_exceptions=True)
            return braze.settled(), now() - started

    settled, seconds = run(main())
    assert settled
    assert seconds < 5 * SPENT_FOR


def test_a_cancelled_request_uses_its_slot_but_is_not_counted_in_the_stats() -> None:
    """The request may have reached the server. Its outcome is unknown."""

    async def main() -> tuple[float, dict[str, int]]:
        limits = dict.fromkeys(Endpoint, 1)
        async with client_under_test(Server(page(), seconds=5), limits=limits, share=1.0) as braze:
            task = asyncio.create_task(braze.history())
            await asyncio.sleep(2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return braze.client.budgets[Endpoint.HISTORY].delay(), braze.codes()

    assert run(main()) == (SPENT_FOR, {})


def test_an_unused_permit_is_given_back() -> None:
    """Its slot and its place among the concurrent requests are given back."""

    async def main() -> float:
        limits = dict.fromkeys(Endpoint, 1000)
        async with client_under_test(Server(page()), limits=limits) as braze:
            await braze.history()
            for _ in range(3 * MOST_AT_ONCE):
                with await braze.client.permit(Endpoint.HISTORY, braze.stats):
                    pass
            await asyncio.gather(*(braze.history() for _ in range(MOST_AT_ONCE)))
            assert braze.settled()
        return now()

    assert run(main()) == 0


def test_a_defect_in_the_transport_gives_the_permit_back() -> None:
    """Slot and place are given back, whatever exception is raised."""

    async def main() -> None:
        async with client_under_test(Server(KeyError("defect"), page())) as braze:
            for _ in range(2):
                await asyncio.gather(
                    *(braze.history() for _ in range(MOST_AT_ONCE)), return_exceptions=True
                )
            await braze.history()
            assert braze.settled()

    run(main())


def test_a_stalled_endpoint_is_distinguished_from_a_busy_one() -> None:
    """An endpoint is stalled if no request is under way and none may start in time."""

    async def main() -> list[bool]:
        refusal = page(status=429, retry_after="40")
        async with client_under_test(Server(refusal, seconds=3)) as braze:
            stalled = [braze.client.stalled(Endpoint.HISTORY, 10)]
            task = asyncio.create_task(braze.history())
            await asyncio.sleep(1)
            stalled.append(braze.client.stalled(Endpoint.HISTORY, 10))
            await asyncio.gather(task, return_exceptions=True)
            stalled.append(braze.client.stalled(Endpoint.HISTORY, 10))
            stalled.append(braze.client.stalled(Endpoint.HISTORY, 40))
            return stalled

    assert run(main()) == [False, False, True, False]


def test_a_bad_page_is_not_requested_again() -> None:
    """A retry would get the same page."""

    async def main() -> int:
        async with client_under_test(
            server := Server(httpx.Response(200, content=b"<html>"))
        ) as braze:
            with pytest.raises(InvalidResponse):
                await braze.history()
        return len(server.times)

    assert run(main()) == 1


# Reload


def test_changed_settings_do_not_reset_the_budget() -> None:
    """A reload does not reset the budget. Earlier requests count against the new limit."""

    async def main() -> tuple[list[float], list[str]]:
        server = Server(page())
        async with client_under_test(
            server, limits=dict.fromkeys(Endpoint, 10), share=1.0
        ) as braze:
            await asyncio.gather(*(braze.history() for _ in range(3)))
            limits = dict.fromkeys(Endpoint, 8)
            braze.client.configure(inline_key("another"), Bounds(limits, 0.5), 5)
            await asyncio.gather(*(braze.history() for _ in range(2)))
        return server.times, [request.headers["authorization"] for request in server.requests]

    times, keys = run(main())
    assert times == pytest.approx([0, 0, 0, 0, SPENT_FOR])
    assert keys[2:4] == [f"Bearer {KEY}", "Bearer another"]


def test_a_new_timeout_holds_for_the_next_request() -> None:
    async def main() -> None:
        async with client_under_test(Server(page(), seconds=20), timeout=10) as braze:
            braze.client.configure(inline_key(KEY), Bounds(LIMITS, 0.8), 30)
            await braze.history()

    run(main())


# Retirement


def test_a_client_retires_once_its_requests_are_answered() -> None:
    """Requests under way are not aborted. Idle connections are closed."""

    async def main() -> tuple[float, list[Any]]:
        async with client_under_test(Server(page(), seconds=3)) as braze:
            await braze.history()
            tasks = [asyncio.create_task(braze.history()) for _ in range(5)]
            await asyncio.sleep(1)
            await braze.client.retire()
            return now(), await asyncio.gather(*tasks)

    ended, pages = run(main())
    assert ended == 6
    assert len(pages) == 5


def test_waiters_of_a_retiring_client_are_refused_at_once() -> None:
    """The requests wait between two tries or for a budget that is blocked for an hour."""

    async def main() -> tuple[float, list[Any], bool]:
        server = Server(page(), DOWN, page(status=429, retry_after="3600"), page(), seconds=0.1)
        async with client_under_test(server, limits=dict.fromkeys(Endpoint, 30)) as braze:
            await braze.history()
            tasks = [asyncio.create_task(braze.history()) for _ in range(2)]
            await asyncio.sleep(0.15)
            tasks += [asyncio.create_task(braze.history()) for _ in range(30)]
            await asyncio.sleep(0)
            await braze.client.retire()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            return now(), found, braze.settled()

    ended, found, settled = run(main())
    assert [type(each) for each in found] == [
        ConnectionFailed,
        RateLimited,
        *[ConnectionFailed] * 30,
    ]
    assert ended < 5
    assert settled


def test_a_client_that_has_retired_refuses() -> None:
    """The error is an ApiError, and no request is made."""

    async def main() -> tuple[str, int]:
        async with client_under_test(server := Server(page())) as braze:
            await braze.client.retire()
            with pytest.raises(ConnectionFailed) as caught:
                await braze.history()
            return str(caught.value), len(server.times)

    assert run(main()) == ("request cancelled: configuration reloaded", 0)
