"""The client against a simulated workspace that behaves as Braze documents, in virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest

from cdi_exporter.clock import Clock
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    RateLimited,
    Unauthorized,
    UnexpectedStatus,
)
from cdi_exporter.model import Endpoint, Run
from tests.simulator import (
    HISTORY,
    LIST,
    Fault,
    FaultKind,
    RetryHeader,
    ScriptedIntegration,
    Simulator,
)
from tests.unit.braze.client_helpers import BASE, KEY, ClientUnderTest, client_under_test, now
from tests.virtual import EPOCH, run, virtual_clock

RUNS = 37
FOR_EVER = (EPOCH - 1e6, EPOCH + 1e9)
PATIENCE = 6.0
"""The timeout of a request, in seconds."""


def integration(identifier: str = "abc", runs: int = RUNS) -> ScriptedIntegration:
    """An integration with a run every quarter of an hour."""
    made = ScriptedIntegration(identifier, f"sync {identifier}")
    for number in range(runs):
        start = EPOCH - 900.0 * (runs - number)
        made.run(start, start + 100.5, rows_synced=number, rows_failed=1)
    return made


def simulator(
    clock: Clock, *integrations: ScriptedIntegration, ahead: float = 0.0, **settings: Any
) -> Simulator:
    """A workspace whose clock is `ahead` seconds ahead of the client's."""
    settings = {"key": KEY, "limit_window": "sliding"} | settings
    return Simulator(integrations or [integration()], lambda: clock.wall() + ahead, **settings)


def transport_to(app: Simulator) -> httpx.ASGITransport:
    """httpx's transport to an ASGI application."""
    return httpx.ASGITransport(app)


def error_of(
    ask: Callable[[ClientUnderTest], Any], *, fault: FaultKind | None = None, **settings: Any
) -> ApiError:
    """The error of a request to a workspace with these settings."""

    async def main() -> ApiError:
        clock = virtual_clock()
        faults = [Fault(*FOR_EVER, fault, delay=60)] if fault else []
        app = simulator(clock, faults=faults, **settings)
        async with client_under_test(transport_to(app), clock=clock, timeout=PATIENCE) as braze:
            with pytest.raises(ApiError) as caught:
                await ask(braze)
            assert braze.settled()
        return caught.value

    return run(main())


@pytest.mark.parametrize("identifier", ["abc", "3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10", "a b%é"])
def test_a_history_is_read_to_its_end(identifier: str) -> None:
    """All pages are read by following the documented Link header, although it is malformed."""

    async def main() -> list[tuple[float | None, int | None]]:
        clock = virtual_clock()
        app = simulator(clock, integration(identifier))
        found: list[Run] = []
        cursor = None
        async with client_under_test(transport_to(app), clock=clock) as braze:
            while cursor is not None or not found:
                page = await braze.history(identifier, cursor)
                assert page.invalid == 0
                found += page.runs
                cursor = page.next_cursor
            assert braze.codes() == {"200": 4}
        return [(each.duration, each.rows_synced) for each in found]

    assert run(main()) == [(100.5, number) for number in reversed(range(RUNS))]


def test_a_list_is_read_to_its_end() -> None:
    """A page has ten integrations."""

    async def main() -> list[str]:
        clock = virtual_clock()
        names = [f"i{number:02}" for number in range(25)]
        app = simulator(clock, *(integration(name, 1) for name in names))
        found, cursor = [], None
        async with client_under_test(transport_to(app), clock=clock) as braze:
            for _ in range(3):
                page = await braze.integrations(cursor)
                found += [item.id for item in page.integrations]
                cursor = page.next_cursor
        assert cursor is None
        return sorted(found)

    assert run(main()) == [f"i{number:02}" for number in range(25)]


@pytest.mark.parametrize(
    ("ask", "settings", "kind"),
    [
        (ClientUnderTest.history, {"key": "another"}, Unauthorized),
        (ClientUnderTest.integrations, {"key": "another"}, Unauthorized),
        (ClientUnderTest.history, {"permissions": ["cdi.integration_list"]}, Forbidden),
        (ClientUnderTest.integrations, {"permissions": ["cdi.integration_job_status"]}, Forbidden),
        (lambda braze: braze.history("nobody"), {}, BadRequest),
        (lambda braze: braze.history("../abc"), {}, ApiError),
        (lambda braze: braze.history("abc", "no cursor"), {}, BadRequest),
        (lambda braze: braze.integrations("no cursor"), {}, BadRequest),
        (ClientUnderTest.history, {"limits": {LIST: 50, HISTORY: 0}}, RateLimited),
    ],
)
def test_each_refusal_has_its_error(
    ask: Callable[[ClientUnderTest], Any], settings: dict[str, Any], kind: type[ApiError]
) -> None:
    """The simulated workspace refuses requests as documented."""
    assert isinstance(error_of(ask, **settings), kind)


@pytest.mark.parametrize("ask", [ClientUnderTest.history, ClientUnderTest.integrations])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (FaultKind.SERVER_ERROR, "503"),
        (FaultKind.HTML, "502"),
        (FaultKind.REDIRECT, "302"),
        (FaultKind.SLOW, "timeout"),
        (FaultKind.HANG, "timeout"),
        (FaultKind.HTML_OK, "invalid_response"),
        (FaultKind.NOT_JSON, "invalid_response"),
        (FaultKind.TRUNCATED, "invalid_response"),
        (FaultKind.OVERSIZED, "invalid_response"),
        (FaultKind.NO_RESULTS, "invalid_response"),
        (FaultKind.BAD_MESSAGE, "invalid_response"),
    ],
)
def test_each_fault_has_its_code(
    fault: FaultKind, code: str, ask: Callable[[ClientUnderTest], Any]
) -> None:
    """Each kind of failure has its own code."""
    error = error_of(ask, fault=fault)
    assert error.code == code
    assert isinstance(error, InvalidResponse) == (code == "invalid_response")
    assert isinstance(error, UnexpectedStatus) == (code == "302")


@pytest.mark.parametrize("fault", [FaultKind.WRONG_TYPES, FaultKind.ITEM_WITHOUT_ID])
def test_a_spoilt_item_is_counted_and_the_page_is_read(fault: FaultKind) -> None:
    """Only the invalid item is lost."""

    async def main() -> tuple[int, int]:
        clock = virtual_clock()
        app = simulator(clock, faults=[Fault(*FOR_EVER, fault)])
        async with client_under_test(transport_to(app), clock=clock) as braze:
            page = await braze.history()
            return len(page.runs) + page.invalid, braze.stats.endpoints[
                "job_sync_status"
            ].invalid_items

    total, invalid = run(main())
    assert total == 10
    assert invalid > 0


def test_a_key_rotated_on_both_sides_works_at_once() -> None:
    """After the rotation Braze refuses the old key."""

    async def main() -> None:
        clock, keys = virtual_clock(), [KEY]
        app = simulator(clock)
        async with client_under_test(transport_to(app), clock=clock, key=lambda: keys[-1]) as braze:
            await braze.history()
            app.key = "rotated"
            with pytest.raises(Unauthorized):
                await braze.history()
            keys.append("rotated")
            await braze.history()

    run(main())


# The budget


async def _burst(braze: ClientUnderTest, number: int) -> list[Any]:
    requests = [braze.fetch(tuple(Endpoint)[n % 2]) for n in range(number)]
    return await asyncio.gather(*requests, return_exceptions=True)


@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("latency", [0.0, 0.4, 5.0])
def test_without_other_tools_there_is_no_429(
    window: Literal["sliding", "fixed"], share: float, latency: float
) -> None:
    """Three hundred concurrent requests are made as fast as the share allows."""

    async def main() -> tuple[list[int], float]:
        clock = virtual_clock()
        app = simulator(clock, limit_window=window, latency=latency)
        async with client_under_test(transport_to(app), clock=clock, share=share) as braze:
            found = await _burst(braze, 300)
            assert not [each for each in found if isinstance(each, Exception)]
        assert app.too_many == 0
        return [app.traffic[name].busiest(60) for name in (LIST, HISTORY)], now()

    busiest, seconds = run(main())
    assert busiest[0] <= 50 * share
    assert busiest[1] <= 100 * share
    assert seconds <= (150 / (50 * share) + 1) * (60.1 + 12 * latency)


@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 45.0])
def test_after_a_restart_it_provokes_no_429(
    window: Literal["sliding", "fixed"], ahead: float
) -> None:
    """The first answer shows what earlier processes spent. Each restart costs one request."""

    async def main() -> tuple[int, int]:
        clock = virtual_clock()
        app = simulator(clock, limit_window=window, latency=0.05, ahead=ahead)
        for pause in (1.0, 5.0, 20.0):
            async with client_under_test(transport_to(app), clock=clock) as braze:
                tasks = [asyncio.create_task(braze.integrations()) for _ in range(200)]
                await asyncio.sleep(pause)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return app.too_many, app.traffic[LIST].busiest(60)

    assert run(main()) == (0, 40 + 2)


@pytest.mark.parametrize("header", ["retry-after", "x-ratelimit-retry-after", "reset", "none"])
def test_with_another_tool_each_429_is_obeyed(header: RetryHeader) -> None:
    """Another tool spends the whole limit. Few requests are refused, and all succeed in the end."""

    async def main() -> tuple[int, int]:
        clock = virtual_clock()
        greedy = Fault(EPOCH, EPOCH + 1200, FaultKind.OTHER_TOOL, LIST, per_minute=70)
        app = simulator(clock, faults=[greedy], retry_header=header, limit_window="fixed")
        done = 0
        async with client_under_test(transport_to(app), clock=clock) as braze:
            while done < 100:
                try:
                    await braze.integrations()
                except RateLimited:
                    continue
                done += 1
        return app.too_many, int(now())

    too_many, seconds = run(main())
    assert too_many <= 60
    assert seconds < 2400


def test_only_the_configured_host_is_requested() -> None:
    """No request goes to another host while a history is read."""
    hosts = set()

    class Watching(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            hosts.add((request.url.scheme, request.url.host))
            return await super().handle_async_request(request)

    async def main() -> None:
        clock = virtual_clock()
        async with client_under_test(Watching(simulator(clock)), clock=clock) as braze:
            cursor = (await braze.history()).next_cursor
            await braze.history("abc", cursor)

    run(main())
    assert hosts == {("https", BASE.removeprefix("https://"))}
