"""Helpers of the client tests: a client under test, and a transport with scripted responses."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from cdi_exporter.braze.client import Client
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.braze.sharing import Bounds
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.braze.trust import Trust
from cdi_exporter.clock import Clock
from cdi_exporter.config import KeySource, Secret
from cdi_exporter.model import Endpoint, HistoryPage, IntegrationsPage
from tests.virtual import EPOCH, virtual_clock

KEY = "canary-5d1e7a90"
BASE = "https://rest.test"
EMPTY: dict[str, Any] = {"message": "success", "results": []}
LIMITS = {Endpoint.INTEGRATIONS: 50, Endpoint.HISTORY: 100}

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class FunctionKey(KeySource):
    """A key source that calls a function. The function may return a different key each time."""

    def __init__(self, give: Callable[[], str]) -> None:
        super().__init__()
        self._give, self._used = give, False
        self._known = Secret(give())

    @property
    def known(self) -> Secret:
        """The key that the function returned last."""
        return self._known

    async def refresh(self) -> None:
        """Call the function again, except before the first request."""
        if self._used:
            self._known = Secret(self._give())
        self._used = True


class ClientUnderTest:
    """A client under test, with the request statistics of one workspace."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stats = RequestStats()

    async def integrations(self, cursor: str | None = None) -> IntegrationsPage:
        """Fetch one page of the list."""
        return await self.client.integrations(cursor, self.stats)

    async def history(self, identifier: str = "abc", cursor: str | None = None) -> HistoryPage:
        """Fetch one page of a history, with its own request permit."""
        permit = await self.client.permit(Endpoint.HISTORY, self.stats)
        return await self.client.history(identifier, cursor, permit)

    async def fetch(self, endpoint: Endpoint) -> HistoryPage | IntegrationsPage:
        """Fetch one page from either endpoint."""
        return await (self.history() if endpoint is Endpoint.HISTORY else self.integrations())

    def codes(self, endpoint: Endpoint = Endpoint.HISTORY) -> dict[str, int]:
        """The number of requests to an endpoint by code. Codes with no request are left out."""
        requests = self.stats.endpoints[endpoint].requests
        return {code: number for code, number in requests.items() if number}

    def settled(self) -> bool:
        """Whether every slot of both budgets was given back."""
        budgets = self.client.budgets.values()
        return not any(budget.running for budget in budgets)


@asynccontextmanager
async def client_under_test(
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    base_url: str = BASE,
    key: Callable[[], str] = lambda: KEY,
    clock: Clock | None = None,
    share: float = 0.8,
    timeout: float = 10.0,  # noqa: ASYNC109 -- a setting of the client, not of this function
    limits: dict[Endpoint, int] | None = None,
    ca_file: str | None = None,
) -> AsyncIterator[ClientUnderTest]:
    """A client. Without a transport it uses httpx's own, which respx can mock."""
    environ = os.environ
    client = Client(
        base_url,
        FunctionKey(key),
        clock or virtual_clock(),
        bounds=Bounds(limits or LIMITS, share),
        timeout=timeout,
        trust=Trust(ca_file, environ) if ca_file else None,
        proxy=None if transport else Proxies(environ).proxy_for(base_url),
        transport=transport,
    )
    client.configure(client.key, client.bounds, timeout)
    try:
        yield ClientUnderTest(client)
    finally:
        await client.aclose()


def now() -> float:
    """Seconds since the virtual loop was created."""
    return asyncio.get_running_loop().time()


class Server(httpx.AsyncBaseTransport):
    """A transport that gives scripted answers in order and then repeats the last one.

    An answer is a response, an exception to raise, or a coroutine function that returns a response.
    Each answer takes `seconds`. `times` holds the loop time at which each request started.
    """

    def __init__(
        self, *answers: httpx.Response | Exception | Handler, seconds: float = 0.0
    ) -> None:
        self._answers = list(answers)
        self._seconds = seconds
        self.times: list[float] = []
        self.requests: list[httpx.Request] = []
        self.at_once = 0
        self.most_at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.times.append(now())
        self.requests.append(request)
        answer = self._answers[min(len(self.times), len(self._answers)) - 1]
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )
        return await answer(request)


def page(*rows: object, status: int = 200, **headers: str) -> httpx.Response:
    """The documented response with these rows."""
    content = json.dumps(EMPTY | {"results": list(rows)})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, content=content.encode())


class Body(httpx.AsyncByteStream):
    """A body that arrives in parts, with a delay of `seconds` before each part."""

    def __init__(self, parts: Iterable[bytes], seconds: float = 0.0) -> None:
        self._parts, self._seconds = parts, seconds
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            await asyncio.sleep(self._seconds)
            self.sent += len(part)
            yield part


def limit_headers(remaining: int, limit: int = 100, resets_in: float = 30.0) -> dict[str, str]:
    """The rate limit headers of a response that is sent now."""
    return {
        "x_ratelimit_limit": str(limit),
        "x_ratelimit_remaining": str(remaining),
        "x_ratelimit_reset": str(EPOCH + now() + resets_in),
    }
