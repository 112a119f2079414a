"""The two endpoints of Braze's CDI API over HTTP: one request, its tries, its errors.

The only file that imports httpx. A request is timed as a whole and its body is bounded; a
redirect is not followed, and of a Link header only the cursor is used, so that the key goes
to the configured endpoint alone.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar
from urllib.parse import quote

import httpx

from cdi_exporter import __version__
from cdi_exporter.braze.answers import Endpoint, document, raise_for_status
from cdi_exporter.braze.budget import Budget, RateLimitHeaders
from cdi_exporter.braze.traffic import Exchange, Traffic
from cdi_exporter.braze.turn import Turn
from cdi_exporter.braze.wire import HistoryPage, IntegrationsPage, read_history, read_integrations
from cdi_exporter.clock import Clock
from cdi_exporter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
)

Transport = httpx.AsyncBaseTransport

TRIES = 3
FIRST_BACKOFF = 0.5
"""Seconds after the first try; doubled with each, and taken with full jitter."""

MOST_AT_ONCE = 10
MOST_BYTES = 10 * 1024 * 1024
"""The largest answer that is read, decompressed."""

_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""Compressed once, a part of an answer stays in bounds; compressed twice it need not."""

_SENDABLE = re.compile(r"[!-~]+")
"""What a key is made of that a header can carry."""

_BAD_KEY = "no request: the API key is empty or has characters that cannot be sent"
_RETIRED = "no request: the configuration has changed meanwhile"
_BAD_ENCODING = "the answer is not in the encoding that it names, or in none that was asked for"

Page = TypeVar("Page", IntegrationsPage, HistoryPage)


class Client:
    """The CDI API behind one REST endpoint and one key, within the key's budget.

    `key` gives the key anew for each request, since its file may have changed. `limits` are
    requests per minute by endpoint, `timeout` seconds for one request as a whole.
    """

    def __init__(
        self,
        base_url: str,
        key: Callable[[], str],
        clock: Clock,
        *,
        limits: dict[Endpoint, int],
        share: float,
        timeout: float,
        ca_file: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url, self._clock, self._ca_file = base_url, clock, ca_file
        self.budgets: dict[Endpoint, Budget] = {}
        self.configure(key, limits=limits, share=share, timeout=timeout)
        self._places = asyncio.Semaphore(MOST_AT_ONCE)
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=ssl.create_default_context(cafile=ca_file) if transport is None else True,
            timeout=None,  # noqa: S113 -- asyncio.timeout bounds the request as a whole
            follow_redirects=False,
            headers={
                "User-Agent": f"cdi-exporter/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, keepalive_expiry=90),
        )
        self.skew = 0.0
        """Seconds by which the server's clock is ahead, as the last Date header told."""

    def configure(
        self, key: Callable[[], str], *, limits: dict[Endpoint, int], share: float, timeout: float
    ) -> None:
        """Set what may change while the client lives; what the budgets know stays."""
        self._key, self._timeout = key, timeout
        clock = self._clock
        for endpoint, limit in limits.items():
            budget = self.budgets.get(endpoint) or Budget(
                limit, share, monotonic=clock.monotonic, wall=clock.wall, rng=clock.rng
            )
            budget.configured, budget.share = limit, share
            self.budgets[endpoint] = budget

    @property
    def place(self) -> tuple[str, str, str | None]:
        """The endpoint, the key and the certificates: what makes two clients one."""
        return self._base_url, self._key(), self._ca_file

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def retire(self) -> None:
        """Close the connections once nothing is under way; who still waits is refused."""
        for _ in range(MOST_AT_ONCE):
            await self._places.acquire()
        await self.aclose()
        for _ in range(MOST_AT_ONCE):
            self._places.release()
        for budget in self.budgets.values():
            budget.dissolve()

    async def turn(self, endpoint: Endpoint, traffic: Traffic) -> Turn:
        """Wait until one request to `endpoint` may start, and hold its place."""
        turn = Turn(endpoint, traffic, self.budgets[endpoint], self._places)
        await turn.wait()
        return turn

    def stalled(self, endpoint: Endpoint, seconds: float) -> bool:
        """Whether nothing is under way at `endpoint`, nor may start within `seconds`."""
        budget = self.budgets[endpoint]
        return not budget.under_way and budget.delay() > seconds

    async def integrations(
        self, cursor: str | None, traffic: Traffic, turn: Turn | None = None
    ) -> IntegrationsPage:
        """One page of the list of integrations, with a turn that was taken or one of its own.

        Raises ApiError.
        """
        with turn or await self.turn(Endpoint.INTEGRATIONS, traffic) as own:
            return await self._get(own, "/cdi/integrations", cursor, read_integrations)

    async def history(self, integration_id: str, cursor: str | None, turn: Turn) -> HistoryPage:
        """One page of an integration's history, with a turn that was taken; raises ApiError."""
        path = f"/cdi/integrations/{_quoted(integration_id)}/job_sync_status"
        with turn:
            return await self._get(turn, path, cursor, read_history, integration_id)

    async def _get(
        self,
        turn: Turn,
        path: str,
        cursor: str | None,
        read: Callable[[object, str | None], Page],
        integration_id: str | None = None,
    ) -> Page:
        """GET a page; failures that may pass are tried again, each try within the budget."""
        url = path if cursor is None else f"{path}?cursor={_quoted(cursor)}"
        for attempt in range(1, TRIES):
            try:
                return await self._try(turn, url, read, integration_id)
            except ApiError as error:
                if not error.retryable:
                    raise
            await self._clock.sleep(self._clock.rng.uniform(0, FIRST_BACKOFF * 2 ** (attempt - 1)))
            await turn.wait()
        return await self._try(turn, url, read, integration_id)

    async def _try(
        self,
        turn: Turn,
        url: str,
        read: Callable[[object, str | None], Page],
        integration_id: str | None,
    ) -> Page:
        began = self._clock.monotonic()
        headers: RateLimitHeaders | None = None
        code, web_page = "cancelled", False
        try:
            response, body = await self._exchange(url)
            web_page = "html" in response.headers.get("content-type", "").lower()
            headers = RateLimitHeaders.read(response.headers, self._clock.wall())
            if headers.date is not None:
                self.skew = headers.date - self._clock.wall()
            raise_for_status(response.status_code, turn.endpoint)
            page = read(document(body), response.headers.get("link"))
            code = "200"
        except ApiError as error:
            code, error.web_page = error.code, web_page
            raise
        finally:
            turn.release(headers, refused=code == "429")
            if code != "cancelled":
                now = self._clock.monotonic()
                wall = self._clock.wall()
                turn.traffic.count(Exchange(wall, turn.endpoint, integration_id, code, now - began))
        turn.traffic.endpoints[turn.endpoint].invalid_items += page.invalid
        return page

    async def _exchange(self, url: str) -> tuple[httpx.Response, bytes]:
        """Send one GET and read the whole page; foreign errors become ours.

        The body of another status than 200 is not read, since the status says it all.
        """
        if self._http.is_closed:
            raise ConnectionFailed(_RETIRED)
        headers = {"Authorization": _authorization(self._key())}
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._http.stream("GET", self._base_url + url, headers=headers) as response,
            ):
                return response, await _body(response) if response.status_code == 200 else b""
        except httpx.DecodingError as error:
            raise InvalidResponse(_BAD_ENCODING) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"no whole answer within {self._timeout:g} s"
            raise RequestTimeout(message) from error
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            httpx.StreamError,
            OSError,
            UnicodeError,
        ) as error:
            message = f"no answer: {_cause(error)}"
            raise ConnectionFailed(message) from error


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _authorization(key: str) -> str:
    """The header's value. Left to the libraries, a bad one would be quoted in their errors."""
    if not _SENDABLE.fullmatch(key):
        raise ConnectionFailed(_BAD_KEY)
    return f"Bearer {key}"


async def _body(response: httpx.Response) -> bytes:
    """The body of an answer, decompressed as it comes."""
    if response.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise InvalidResponse(_BAD_ENCODING)
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            message = f"the answer is larger than {MOST_BYTES // 2**20} MiB"
            raise InvalidResponse(message)
    return bytes(body)


def _cause(error: BaseException) -> str:
    """Why a connection failed, as the system or the proxy says it; never what was to be sent."""
    said = str(error) if isinstance(error, httpx.ProxyError) else ""
    for link in causes(error):
        if isinstance(link, OSError):
            said = _system(link) or said
    return said[:200] or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what led to it, down to the root; of several addresses that of the first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        if isinstance(link, BaseExceptionGroup):  # one for each address that was tried
            link = link.exceptions[0]
        else:
            link = link.__cause__ or link.__context__


def _system(error: OSError) -> str:
    """The system's words; asyncio puts others into most of its errors."""
    if error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)
