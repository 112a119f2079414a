"""HTTP client for the two endpoints of Braze's CDI API, with retries and error messages.

The only module that imports httpx. One timeout covers the whole request, and the size of its body
is limited. The API key is sent only to the configured workspace URL: redirects are not followed,
and only the cursor is taken from a Link header.
"""

import asyncio
import os
import re
import socket
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx
import structlog

from cdi_exporter import __version__
from cdi_exporter.braze.answers import (
    document,
    is_documented_error,
    is_verdict,
    is_web_page,
    raise_for_status,
)
from cdi_exporter.braze.budget import Budget, RateLimitHeaders
from cdi_exporter.braze.proxies import Proxy
from cdi_exporter.braze.sharing import MOST_AT_ONCE, Bounds, KeyBudgets, Register, RequestPermit
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.braze.trust import Trust
from cdi_exporter.braze.wire import read_history, read_integrations
from cdi_exporter.clock import Clock
from cdi_exporter.config import KeySource
from cdi_exporter.errors import ApiError, ConnectionFailed, InvalidResponse, RequestTimeout
from cdi_exporter.files import FIRST_PATIENCE, PATIENCE
from cdi_exporter.model import Endpoint, HistoryPage, IntegrationsPage, RequestRecord
from cdi_exporter.pem import client_context

Transport = httpx.AsyncBaseTransport

TRIES = 3
"""Attempts for one request, each within the budget. The third helps if a connection breaks twice.
"""
FIRST_BACKOFF = 0.5
"""Longest pause in seconds after the first attempt, long enough for a connection that was reset.
It doubles with each attempt; the actual pause is a random part of it."""

MOST_BYTES = 1024 * 1024
"""The largest response body that is read, decompressed. Ten items have about 5 KiB, and parsing
1 MiB takes about 40 ms."""

MOST_ERROR_BYTES = 64 * 1024
"""The largest body that is read of a response with a status other than 200. Braze's errors are
short."""

ERROR_BODY_WITHIN = 2.0
"""Seconds to wait for the body of an error: the status is known without it."""

_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""The size of a body that is compressed once can be limited while it is read. A list of encodings
means that it is compressed twice."""

_SENDABLE = re.compile(r"[!-~]+")
"""The characters of a key that an HTTP header can contain."""

_KEY_FILE, _CERTIFICATES = "api_key", "ca_file"
"""Values of the label `kind` of `cdi_exporter_file_reload_successful`."""

_BAD_KEY = "request not sent: the API key is empty or contains invalid characters"
_UNREADABLE = b"?"
"""Replaces the body of an error that cannot be read: not empty, and not an error that Braze
documents."""

NO_ANSWER = "no answer from"
_RETIRED = "request cancelled: configuration reloaded"
_BAD_ENCODING = "the answer has an unexpected or invalid encoding"

_HTTPX_ERRORS = (httpx.HTTPError, httpx.StreamError)

Page = TypeVar("Page", IntegrationsPage, HistoryPage)

log = structlog.get_logger()


class Client:
    """A client for the CDI API of one workspace, which keeps to the request budget of its key.

    Clients with the same workspace URL, key and `register` share one budget. The key and the
    certificates may be replaced at any time; each request uses the newest ones. `timeout` is the
    limit in seconds for a whole request. If `trust` is None, no request uses TLS.
    """

    def __init__(
        self,
        base_url: str,
        key: KeySource,
        clock: Clock,
        *,
        bounds: Bounds,
        timeout: float,
        register: Register | None = None,
        workspace: str = "",
        trust: Trust | None = None,
        proxy: Proxy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Create a client that shares no budget until `configure` is called."""
        self.workspace, self.base_url = workspace, base_url
        self._host = urlsplit(base_url).netloc
        self.key, self.bounds = key, bounds
        self.shared = KeyBudgets(clock, bounds)
        self._clock, self.timeout = clock, timeout
        self._register = register or Register(clock)
        self._trust, self._proxy, self._transport = trust, proxy, transport
        self._http: httpx.AsyncClient | None = None
        self._context: ssl.SSLContext | None = None
        self._in_use: list[httpx.AsyncClient] = []
        """The connection pool of each request in progress."""
        self._closing: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._retired = self._closed = False
        self._problems: dict[str, str | None] = {}

    def configure(self, key: KeySource, bounds: Bounds, timeout: float) -> None:
        """Apply a new configuration; requests that were sent still count in the budgets."""
        self.key, self.bounds, self.timeout = key, bounds, timeout
        self._enter()

    def _enter(self) -> None:
        """Use the budgets of the newest key, together with the other clients that have it."""
        before, key = self.shared, (self.base_url, self.key.known)
        self.shared = self._register.enter(self, before, key, self.bounds)
        if self.shared is not before:
            before.wake()

    def _uses(self, shared: KeyBudgets) -> bool:
        """Whether these are this client's budgets, and the client is not retired."""
        return self.shared is shared and not self._retired

    @property
    def budgets(self) -> dict[Endpoint, Budget]:
        """The budgets by endpoint, which other clients may share."""
        return self.shared.budgets

    @property
    def skew(self) -> float:
        """Seconds by which Braze's clock is ahead of this machine's; negative if it is behind."""
        return self.shared.server_clock.ahead

    def file_reloads(self) -> dict[str, bool]:
        """Whether the newest content of each configured file is in use, by kind of file."""
        found = {}
        if self.key.file is not None:
            found[_KEY_FILE] = self.key.problem is None
        if self._trust is not None and self._trust.from_file:
            found[_CERTIFICATES] = self._trust.problem is None
        return found

    async def aclose(self) -> None:
        """Close the connections. Requests in progress fail."""
        self._retired = self._closed = True
        if self._http is not None:
            self._drop(self._http)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def retire(self) -> None:
        """Cancel the waiting requests, and close the connections after those in progress."""
        self._retired = True
        self.shared.leave(self)
        self.shared.wake()
        await self._idle.wait()
        await self.aclose()

    async def permit(self, endpoint: Endpoint, stats: RequestStats) -> RequestPermit:
        """Wait until one request to `endpoint` may start, and reserve it. Raises ApiError."""
        permit = RequestPermit(self, endpoint, stats)
        await self._wait(permit)
        return permit

    def stalled(self, endpoint: Endpoint, seconds: float) -> bool:
        """Whether no request to `endpoint` is in progress or may start within `seconds`."""
        budget = self.budgets[endpoint]
        return not budget.running and budget.delay() > seconds

    async def integrations(
        self, cursor: str | None, stats: RequestStats, permit: RequestPermit | None = None
    ) -> IntegrationsPage:
        """One page of the list of integrations; the first page if `cursor` is None.

        Waits for a permit if none is given. Raises ApiError.
        """
        permit = permit or await self.permit(Endpoint.INTEGRATIONS, stats)
        return await self._get(permit, "/cdi/integrations", cursor, read_integrations)

    async def history(
        self, integration_id: str, cursor: str | None, permit: RequestPermit
    ) -> HistoryPage:
        """One page of an integration's history; the newest if `cursor` is None. Raises ApiError."""
        if permit.holder is not self:
            # The configuration was reloaded, and this client may have another budget.
            permit.close()
            permit = await self.permit(permit.endpoint, permit.stats)
        path = f"/cdi/integrations/{_quoted(integration_id)}/job_sync_status"
        return await self._get(permit, path, cursor, read_history, integration_id)

    # Request permits

    async def _wait(self, permit: RequestPermit) -> None:
        """Acquire a slot and a place, and start over if the key is replaced meanwhile.

        A request that waits for a slot holds no place: the other endpoint may need it.
        """
        while True:
            if self._retired:
                raise ConnectionFailed(_RETIRED)
            shared = self.shared
            budget = shared.budgets[permit.endpoint]
            slot = await budget.acquire_while(partial(self._uses, shared))
            if slot is None:
                continue
            permit.stats.endpoints[permit.endpoint].budget_wait += slot.waited
            try:
                await shared.places.acquire()
            except BaseException:
                budget.cancel(slot)
                raise
            permit.take(shared, slot)
            try:
                await self._refresh_key()
            except BaseException:
                permit.close()
                raise
            # If the process was frozen meanwhile, another exporter may lead by now.
            if self._uses(shared) and budget.is_open:
                permit.key = self.key.known
                return
            permit.close()

    async def _refresh_key(self) -> None:
        await self.key.refresh()
        self._report(_KEY_FILE, self.key.problem)
        if self in self.shared.bounds:
            self._enter()

    def _report(self, what: str, problem: str | None) -> None:
        """Log that a file became unusable, or usable again, if that has changed."""
        before, self._problems[what] = self._problems.get(what), problem
        if problem == before:
            return
        if what == _KEY_FILE and problem:
            log.error("key file unusable", workspace=self.workspace, problem=problem)
        elif what == _KEY_FILE:
            log.info("key file recovered", workspace=self.workspace)
        elif problem:
            log.error("CA certificates unusable", workspace=self.workspace, problem=problem)
        else:
            log.info("CA certificates recovered", workspace=self.workspace)

    # Requests

    async def _get(
        self,
        permit: RequestPermit,
        path: str,
        cursor: str | None,
        read: Callable[[object, str | None], Page],
        integration_id: str | None = None,
    ) -> Page:
        """GET a page. Retry after temporary errors; each attempt is within the budget."""
        url = path if cursor is None else f"{path}?cursor={_quoted(cursor)}"
        with permit:
            for attempt in range(1, TRIES):
                try:
                    return await self._try(permit, url, read, integration_id)
                except ApiError as error:
                    if not error.retryable or self._retired:
                        raise
                longest = FIRST_BACKOFF * 2 ** (attempt - 1)
                await self._clock.sleep(self._clock.rng.uniform(0, longest))
                await self._wait(permit)
            return await self._try(permit, url, read, integration_id)

    async def _try(
        self,
        permit: RequestPermit,
        url: str,
        read: Callable[[object, str | None], Page],
        integration_id: str | None,
    ) -> Page:
        began = self._clock.monotonic()
        headers: RateLimitHeaders | None = None
        code, web_page, documented, foreign = "cancelled", False, False, True
        key = permit.key.reveal() if permit.key else ""
        try:
            status, found, body, came = await self._exchange(url, key)
            content_type = found.get("content-type", "")
            documented = is_documented_error(status, body)
            web_page = not documented and is_web_page(body, content_type)
            # A 5xx may be from Braze even if its body is not a documented error.
            foreign = not is_verdict(status, body) and status < 500
            headers = RateLimitHeaders.read(found, came + self.skew)
            first_page = "?cursor=" not in url
            raise_for_status(status, permit.endpoint, body, content_type, first_page=first_page)
            page = read(document(body, content_type), found.get("link"))
            code, documented, foreign = "200", True, False
        except ApiError as error:
            code, error.web_page = error.code, web_page
            raise
        finally:
            body = b""  # see `_body`
            if documented and headers is not None and headers.date is not None:
                self.shared.server_clock.note(headers.date - came)
            permit.release(headers, refused=code == "429", foreign=foreign)
            if code != "cancelled":
                wall, seconds = self._clock.wall(), self._clock.monotonic() - began
                permit.stats.count(
                    RequestRecord(wall, permit.endpoint, integration_id, code, seconds)
                )
        permit.stats.endpoints[permit.endpoint].invalid_items += page.invalid
        return page

    async def _exchange(self, url: str, key: str) -> tuple[int, Mapping[str, str], bytes, float]:
        """Send one GET request. Raises ApiError.

        Returns the status, the headers, the body, and when the headers arrived in Unix seconds.
        """
        headers = {"Authorization": _authorization(key)}
        http = await self._connected()
        self._in_use.append(http)
        self._idle.clear()
        whole = False
        try:
            async with (
                asyncio.timeout(self.timeout),
                http.stream("GET", self.base_url + url, headers=headers) as response,
            ):
                came = self._clock.wall()
                read = _body if response.status_code == 200 else _error_body
                body = await read(response)
            whole = True
        except httpx.DecodingError as error:
            raise InvalidResponse(_BAD_ENCODING) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"no complete answer within {self.timeout:g} s"
            raise RequestTimeout(message) from error
        except (*_HTTPX_ERRORS, httpx.InvalidURL, OSError, UnicodeError) as error:
            message = f"{NO_ANSWER} {self._host}: {_cause(error)}"
            raise ConnectionFailed(message) from error
        else:
            return response.status_code, response.headers, body, came
        finally:
            self._in_use.remove(http)
            if not whole and self._transport is None:
                self._drop(http)
            elif http is not self._http:
                self._close_unused(http)
            if not self._in_use:
                self._idle.set()

    # Connections

    async def _connected(self) -> httpx.AsyncClient:
        """The connection pool; a new one if the certificates have changed. Raises ApiError."""
        if self._retired:
            raise ConnectionFailed(_RETIRED)
        context = None
        if self._trust is not None:
            known = self._http is not None
            context = await self._trust.context(PATIENCE if known else FIRST_PATIENCE)
            self._report(_CERTIFICATES, self._trust.problem)
            if context is None:
                message = f"request not sent: {self._trust.problem or 'certificates not read yet'}"
                raise ConnectionFailed(message)
        if self._http is not None and self._context is not context:
            self._drop(self._http)
        if self._http is None:
            self._http, self._context = self._new_pool(context), context
        return self._http

    def _new_pool(self, context: ssl.SSLContext | None) -> httpx.AsyncClient:
        proxy = None
        if self._proxy is not None:
            secure = self._proxy.url.startswith("https:")
            proxy = httpx.Proxy(self._proxy.url, ssl_context=context if secure else None)
        return httpx.AsyncClient(
            transport=self._transport,
            proxy=proxy,
            # `proxies` and `trust` read the environment variables.
            trust_env=False,
            verify=context or client_context(),
            timeout=None,  # noqa: S113 -- asyncio.timeout bounds the request as a whole
            follow_redirects=False,
            headers={
                "User-Agent": f"cdi-exporter/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # Longer than Prometheus' default scrape interval of one minute.
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, keepalive_expiry=90),
        )

    def _drop(self, http: httpx.AsyncClient) -> None:
        """Send no further request over the connections of a pool.

        httpcore may never free the place that a cancelled request has in its pool.
        """
        if self._http is http:
            self._http = None
        self._close_unused(http)

    def _close_unused(self, http: httpx.AsyncClient) -> None:
        """Close a pool if no request uses it, or if the client is closed."""
        if not http.is_closed and (self._closed or http not in self._in_use):
            task = asyncio.get_running_loop().create_task(http.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _authorization(key: str) -> str:
    """The value of the header. Checked here, because httpx's errors would quote an invalid key."""
    if not _SENDABLE.fullmatch(key):
        raise ConnectionFailed(_BAD_KEY)
    return f"Bearer {key}"


async def _body(response: httpx.Response, most: int = MOST_BYTES) -> bytes:
    """The decompressed body of a response. Raises InvalidResponse if it exceeds `most` bytes."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise InvalidResponse(_BAD_ENCODING)
    whole = response.is_stream_consumed  # from a transport for tests, which decodes it
    plain = whole or encoding in ("", "identity")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip, or zlib, which HTTP calls deflate
    body, raw = bytearray(), 0
    try:
        async for chunk in response.aiter_bytes() if whole else response.aiter_raw():
            raw += len(chunk)
            body += chunk if plain else _inflated(inflater, chunk, most + 1 - len(body))
            if max(raw, len(body)) > most:
                message = f"the answer is larger than {most // 2**20} MiB"
                raise InvalidResponse(message)
        return bytes(body)
    finally:
        body.clear()  # an error's traceback keeps this frame, and so the body, in memory


def _inflated(inflater: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """At most `most` decompressed bytes of a chunk. Raises InvalidResponse.

    Data after the first compressed member is rejected; httpx would copy it with every chunk.
    """
    rest = chunk if inflater.eof else b""
    try:
        text = b"" if inflater.eof else inflater.decompress(chunk, most)
    except zlib.error as error:
        raise InvalidResponse(_BAD_ENCODING) from error
    if rest or inflater.unused_data:
        raise InvalidResponse(_BAD_ENCODING)
    return text


async def _error_body(response: httpx.Response) -> bytes:
    """The body of an error; `_UNREADABLE` if it is too large, too slow or invalid."""
    with suppress(TimeoutError, InvalidResponse, *_HTTPX_ERRORS):
        async with asyncio.timeout(ERROR_BODY_WITHIN):
            return await _body(response, MOST_ERROR_BYTES)
    return _UNREADABLE


def _cause(error: BaseException) -> str:
    """Why a connection failed, in the words of the operating system or the proxy.

    Never contains any part of the request.
    """
    reason = str(error) if isinstance(error, httpx.ProxyError) else ""
    for link in causes(error):
        if not isinstance(link, OSError):
            continue
        text = link.strerror
        if link.errno and not isinstance(link, ssl.SSLError | socket.gaierror):
            text = os.strerror(link.errno)  # asyncio replaces it in most of its errors
        reason = text or str(link) or reason
    return reason[:200] or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and the chain of its causes. Of an exception group, only the first is followed."""
    link: BaseException | None = error
    while link is not None:
        yield link
        if isinstance(link, BaseExceptionGroup):  # one error for each IP address that was tried
            link = link.exceptions[0]
        else:
            link = link.__cause__ or link.__context__
