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
from cdi_exporter.braze.sharing import (
    MOST_AT_ONCE,
    Bounds,
    KeyAt,
    KeyBudgets,
    Register,
    RequestPermit,
)
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.braze.trust import Trust
from cdi_exporter.braze.wire import read_history, read_integrations
from cdi_exporter.clock import Clock
from cdi_exporter.config import KeySource
from cdi_exporter.errors import (
    ApiError,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
)
from cdi_exporter.files import FIRST_PATIENCE, PATIENCE
from cdi_exporter.model import Endpoint, HistoryPage, IntegrationsPage, RequestRecord
from cdi_exporter.pem import client_context

Transport = httpx.AsyncBaseTransport

TRIES = 3
"""Of one request, each within the budget: a third one helps after a connection that broke twice."""
FIRST_BACKOFF = 0.5
"""Seconds after the first try; doubled with each, and taken with full jitter."""

MOST_BYTES = 1024 * 1024
"""The largest answer that is read, decompressed: ten items have some 5 KiB, and one of this size
takes some 40 ms to parse."""

MOST_ERROR_BYTES = 64 * 1024
"""The largest body of another status than 200 that is looked at: Braze's errors are short."""

ERROR_BODY_WITHIN = 2.0
"""Seconds to wait for such a body: without it the status says it all."""

_ENCODINGS = frozenset({"", "identity", "gzip", "deflate"})
"""Compressed once, a part of an answer stays in bounds; compressed twice it need not."""

_SENDABLE = re.compile(r"[!-~]+")
"""What a key is made of that a header can carry."""

_KEY_FILE, _CERTIFICATES = "api_key", "ca_file"
"""Kinds of files, by their label value."""

_BAD_KEY = "request not sent: the API key is empty or contains invalid characters"
_UNREADABLE = b"?"
"""In place of an error's body: not empty, and not what Braze documents."""

NO_ANSWER = "no answer from"
_RETIRED = "request cancelled: configuration reloaded"
_BAD_ENCODING = "the answer has an unexpected or invalid encoding"

Page = TypeVar("Page", IntegrationsPage, HistoryPage)

log = structlog.get_logger()


class _Connections:
    """The HTTP connections that were made with one state of the certificates."""

    def __init__(self, http: httpx.AsyncClient, context: ssl.SSLContext | None) -> None:
        self.http, self.context = http, context
        self.requests = 0
        """Requests under way."""


class Client:
    """The CDI API as one workspace asks it, within the budget of its key.

    Workspaces with the same endpoint and key share that budget, by `register`. The key and the
    certificates may be replaced at any time; each request sees the newest ones. `timeout` is
    the seconds of one request as a whole. `trust` None means that there is no TLS.
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
        """Shares nothing before `configure` is called."""
        self.workspace, self.base_url = workspace, base_url
        self._host = urlsplit(base_url).netloc
        self.key, self.bounds = key, bounds
        self.shared = KeyBudgets(clock, bounds)
        self._clock, self.timeout = clock, timeout
        self._register = register or Register(clock)
        self._trust, self._proxy, self._transport = trust, proxy, transport
        self._connections: _Connections | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retired = self._closed = False
        self._problems: dict[str, str | None] = {}

    def configure(self, key: KeySource, bounds: Bounds, timeout: float) -> None:
        """Set what may change while the client lives; what the budgets know stays."""
        self.key, self.bounds, self.timeout = key, bounds, timeout
        self._enter()

    def _enter(self) -> None:
        """Share with the workspaces that have the same key by now."""
        before = self.shared
        self._register.enter(self, KeyAt(self.base_url, self.key.known))
        if self.shared is not before:
            before.wake()

    def _has(self, shared: KeyBudgets) -> bool:
        """Whether that is what this client shares, and it is not retired."""
        return self.shared is shared and not self._retired

    @property
    def budgets(self) -> dict[Endpoint, Budget]:
        """The budgets by endpoint, which other workspaces may share."""
        return self.shared.budgets

    @property
    def skew(self) -> float:
        """Seconds by which the server's clock is ahead."""
        return self.shared.server_clock.ahead

    def file_reloads(self) -> dict[str, bool]:
        """By kind of file, whether its newest content is in use; only of files that there are."""
        found = {}
        if self.key.file is not None:
            found[_KEY_FILE] = self.key.problem is None
        if self._trust is not None and self._trust.from_file:
            found[_CERTIFICATES] = self._trust.problem is None
        return found

    async def aclose(self) -> None:
        """Close the connections; requests that are under way fail."""
        self._retired = self._closed = True
        if self._connections is not None:
            self._drop(self._connections)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def retire(self) -> None:
        """Refuse what still waits, and close the connections once nothing is under way."""
        self._retired = True
        self._register.leave(self)
        self.shared.wake()
        await self._idle.wait()
        await self.aclose()

    async def permit(self, endpoint: Endpoint, stats: RequestStats) -> RequestPermit:
        """Wait until one request to `endpoint` may start, and hold its place; raises ApiError."""
        permit = RequestPermit(self, endpoint, stats)
        await self._wait(permit)
        return permit

    def stalled(self, endpoint: Endpoint, seconds: float) -> bool:
        """Whether nothing is under way at `endpoint`, nor may start within `seconds`."""
        budget = self.budgets[endpoint]
        return not budget.under_way and budget.delay() > seconds

    async def integrations(
        self, cursor: str | None, stats: RequestStats, permit: RequestPermit | None = None
    ) -> IntegrationsPage:
        """One page of the list of integrations, with a permit that was taken or one of its own.

        Raises ApiError.
        """
        with permit or await self.permit(Endpoint.INTEGRATIONS, stats) as own:
            return await self._get(own, "/cdi/integrations", cursor, read_integrations)

    async def history(
        self, integration_id: str, cursor: str | None, permit: RequestPermit
    ) -> HistoryPage:
        """One page of an integration's history, with a permit that was taken; raises ApiError."""
        path = f"/cdi/integrations/{_quoted(integration_id)}/job_sync_status"
        if permit.holder is not self:
            # The configuration was reloaded since: what was permitted then is not what is now.
            permit.close()
            permit = await self.permit(permit.endpoint, permit.stats)
        with permit:
            return await self._get(permit, path, cursor, read_history, integration_id)

    # The right to a request

    async def _wait(self, permit: RequestPermit) -> None:
        """Take a slot and a place; if the key was replaced meanwhile, those of the new key.

        Who waits for a slot keeps no place: the other endpoint may need it.
        """
        while True:
            if self._retired:
                raise ConnectionFailed(_RETIRED)
            shared = self.shared
            budget = shared.budgets[permit.endpoint]
            slot = await budget.acquire_while(partial(self._has, shared))
            if slot is None:
                continue
            permit.stats.endpoints[permit.endpoint].budget_wait += slot.waited
            try:
                await shared.places.acquire()
            except BaseException:
                budget.cancel(slot)
                raise
            permit.take(shared, slot, self.key.known)
            try:
                await self._refresh_key()
            except BaseException:
                permit.close()
                raise
            # A process that was frozen meanwhile may have lost the lead.
            if self._has(shared) and budget.is_open:
                permit.key = self.key.known
                return
            permit.close()

    async def _refresh_key(self) -> None:
        await self.key.refresh()
        self._report(_KEY_FILE, self.key.problem)
        entered = self._register.key_of(self)
        if entered is not None and entered.key != self.key.known:
            self._enter()

    def _report(self, what: str, problem: str | None) -> None:
        """Log once what is wrong with a file, and once that it is right again."""
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

    # A request

    async def _get(
        self,
        permit: RequestPermit,
        path: str,
        cursor: str | None,
        read: Callable[[object, str | None], Page],
        integration_id: str | None = None,
    ) -> Page:
        """GET a page; failures that may pass are tried again, each try within the budget."""
        url = path if cursor is None else f"{path}?cursor={_quoted(cursor)}"
        for attempt in range(1, TRIES):
            try:
                return await self._try(permit, url, read, integration_id)
            except ApiError as error:
                if not error.retryable or self._retired:
                    raise
            await self._clock.sleep(self._clock.rng.uniform(0, FIRST_BACKOFF * 2 ** (attempt - 1)))
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
            # Braze, too, may fail in a way that it does not document.
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
                now = self._clock.monotonic()
                wall = self._clock.wall()
                permit.stats.count(
                    RequestRecord(wall, permit.endpoint, integration_id, code, now - began)
                )
        permit.stats.endpoints[permit.endpoint].invalid_items += page.invalid
        return page

    async def _exchange(self, url: str, key: str) -> tuple[int, Mapping[str, str], bytes, float]:
        """Send one GET and read the answer: status, headers, body, and when its head came.

        Foreign errors become ours.
        """
        headers = {"Authorization": _authorization(key)}
        connections = await self._connected()
        self._requests += 1
        connections.requests += 1
        self._idle.clear()
        whole = False
        try:
            async with (
                asyncio.timeout(self.timeout),
                connections.http.stream("GET", self.base_url + url, headers=headers) as response,
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
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            httpx.StreamError,
            OSError,
            UnicodeError,
        ) as error:
            message = f"{NO_ANSWER} {self._host}: {_cause(error)}"
            raise ConnectionFailed(message) from error
        else:
            return response.status_code, response.headers, body, came
        finally:
            self._requests -= 1
            connections.requests -= 1
            if not whole and self._transport is None:
                self._drop(connections)
            elif connections is not self._connections:
                self._close_unused(connections)
            if not self._requests:
                self._idle.set()

    # Connections

    async def _connected(self) -> _Connections:
        """The connections to use: new ones if there are newer certificates. Raises ApiError."""
        if self._retired:
            raise ConnectionFailed(_RETIRED)
        context = None
        if self._trust is not None:
            known = self._connections is not None
            context = await self._trust.context(PATIENCE if known else FIRST_PATIENCE)
            self._report(_CERTIFICATES, self._trust.problem)
            if context is None:
                message = f"request not sent: {self._trust.problem or 'certificates not read yet'}"
                raise ConnectionFailed(message)
        connections = self._connections
        if connections is None or connections.context is not context:
            if connections is not None:
                self._drop(connections)
            connections = self._connections = _Connections(self._http(context), context)
        return connections

    def _http(self, context: ssl.SSLContext | None) -> httpx.AsyncClient:
        proxy = None
        if self._proxy is not None:
            secure = self._proxy.url.startswith("https:")
            proxy = httpx.Proxy(self._proxy.url, ssl_context=context if secure else None)
        return httpx.AsyncClient(
            transport=self._transport,
            proxy=proxy,
            # What the environment says is read by `proxies` and `trust`.
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
            # Kept for longer than Prometheus' default of a minute between two scrapes.
            limits=httpx.Limits(max_connections=MOST_AT_ONCE, keepalive_expiry=90),
        )

    def _drop(self, connections: _Connections) -> None:
        """Use these connections for no other request.

        A request that was broken off may keep its place in httpcore's pool for good.
        """
        if self._connections is connections:
            self._connections = None
        self._close_unused(connections)

    def _close_unused(self, connections: _Connections) -> None:
        """Close them once no request uses them, or at once if the client is closed."""
        if not connections.http.is_closed and (self._closed or not connections.requests):
            task = asyncio.get_running_loop().create_task(connections.http.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _authorization(key: str) -> str:
    """The header's value. Left to the libraries, a bad one would be quoted in their errors."""
    if not _SENDABLE.fullmatch(key):
        raise ConnectionFailed(_BAD_KEY)
    return f"Bearer {key}"


async def _body(response: httpx.Response, most: int = MOST_BYTES) -> bytes:
    """The body of an answer, decompressed as it comes."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise InvalidResponse(_BAD_ENCODING)
    whole = response.is_stream_consumed  # as a transport for tests gives it, decoded already
    plain = whole or encoding in ("", "identity")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip, or deflate as HTTP means it
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
        body.clear()  # an error keeps this frame, and with it the body, until it is collected


def _inflated(inflater: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """At most so many bytes of what the chunk holds; raises InvalidResponse.

    One member is decompressed; httpx would keep, and copy again and again, what follows it.
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
    """The body of another status than 200; something else if it is too large or unreadable."""
    with suppress(TimeoutError, InvalidResponse, httpx.HTTPError, httpx.StreamError):
        async with asyncio.timeout(ERROR_BODY_WITHIN):
            return await _body(response, MOST_ERROR_BYTES)
    return _UNREADABLE


def _cause(error: BaseException) -> str:
    """Why a connection failed, as the system or the proxy says it; never what was to be sent."""
    reason = str(error) if isinstance(error, httpx.ProxyError) else ""
    for link in causes(error):
        if isinstance(link, OSError):
            reason = _system(link) or reason
    return reason[:200] or type(error).__name__


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
