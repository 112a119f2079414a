"""The simulated workspace as an ASGI application.

Over a socket, let uvicorn write no headers of its own (`date_header=False`): the Date
comes from the simulated clock.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import parse_qs

from cdi_exporter.simulator.faults import (
    ELSEWHERE,
    PROXY_PAGE,
    SPOILERS,
    Fault,
    FaultKind,
    Unreachable,
)
from cdi_exporter.simulator.limits import RateWindow, Request, Traffic, WindowKind, whole_seconds
from cdi_exporter.simulator.pages import InvalidCursor, Library, Page, skipped
from cdi_exporter.simulator.roster import Roster
from cdi_exporter.simulator.script import ScriptedIntegration
from cdi_exporter.simulator.spec import IntegrationSpec
from cdi_exporter.simulator.truth import Truth

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Sleep = Callable[[float], Awaitable[object]]
RetryHeader = Literal["retry-after", "x-ratelimit-retry-after", "reset", "none"]
"""What a 429 says of when to come back; with `none` it has no rate limit header at all."""

LIST = "integrations"
HISTORY = "job_sync_status"
PERMISSIONS = {LIST: "cdi.integration_list", HISTORY: "cdi.integration_job_status"}
"""The permission that each endpoint asks of a key."""
LIMITS: Mapping[str, int] = {LIST: 50, HISTORY: 100}
"""Requests per minute and workspace, as documented."""
DAY = 86_400.0


@dataclass(slots=True)
class _Answer:
    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content_type: bytes = b"application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that reached an endpoint."""

    now: float
    endpoint: str
    integration_id: str | None
    cursor: str | None
    faults: tuple[Fault, ...]

    def fault(self, *kinds: FaultKind) -> Fault | None:
        return next((fault for fault in self.faults if fault.kind in kinds), None)


class Simulator:
    """One Braze workspace. The instance is the ASGI application.

    `clock` gives Unix seconds; `sleep` waits where an answer is to be late. `key`,
    `permissions`, `faults` and `retry_header` may be changed at any time. A clock that
    differs from the client's stands for a server whose clock does.

    `history_lag` and `list_lag` are the seconds by which the history and the list's last job
    are behind, `retention` the seconds that the history goes back, `latency` what each
    answer takes. `list_has_last_job` False leaves the list's `last_job_*` fields null.
    """

    def __init__(
        self,
        integrations: Iterable[IntegrationSpec | ScriptedIntegration],
        clock: Callable[[], float],
        *,
        key: str = "simulated-key",
        permissions: Iterable[str] = tuple(PERMISSIONS.values()),
        limits: Mapping[str, int] = LIMITS,
        limit_window: WindowKind = "fixed",
        retry_header: RetryHeader = "retry-after",
        faults: Iterable[Fault] = (),
        seed: int = 0,
        sleep: Sleep = asyncio.sleep,
        latency: float = 0.0,
        history_lag: float = 0.0,
        list_lag: float = 0.0,
        list_has_last_job: bool = True,
        retention: float = 30 * DAY,
    ) -> None:
        self.key = key
        self.permissions = set(permissions)
        self.faults = list(faults)
        self.retry_header: RetryHeader = retry_header
        self.traffic = {LIST: Traffic(), HISTORY: Traffic()}
        self._clock = clock
        self._seed = seed
        self._sleep = sleep
        self._latency = latency
        self._windows = {name: RateWindow(limit, limit_window) for name, limit in limits.items()}
        self._roster = Roster(seed)
        self._roster.add(integrations, at=-math.inf)
        self._library = Library(self._roster, retention, history_lag, list_lag, list_has_last_job)
        self.truth = Truth(self._roster, retention)
        self._date = (0, b"")

    def add(self, *integrations: IntegrationSpec | ScriptedIntegration) -> None:
        """Add integrations now, or let one that was removed return.

        Raises ValueError for an ID that the workspace has.
        """
        self._roster.add(integrations, at=self._clock())

    def remove(self, integration_id: str) -> None:
        """Take an integration out of the workspace now."""
        self._roster.remove(integration_id, at=self._clock())

    def rename(self, integration_id: str, name: str) -> None:
        """Give an integration another name from now on."""
        self._roster.rename(integration_id, name, at=self._clock())

    @property
    def statuses(self) -> Counter[int]:
        """The answers of both endpoints by status; 0 counts those that never came."""
        return sum((each.statuses for each in self.traffic.values()), Counter[int]())

    @property
    def too_many(self) -> int:
        """The 429s given so far."""
        return self.statuses[429]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises Unreachable under an outage."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        now = self._clock()
        endpoint, integration_id = _route(scope["method"], scope["path"])
        if endpoint is None:
            await self._send(_error(404, "The requested URL was not found"), send)
            return
        call = self._call(scope, now, endpoint, integration_id)
        answer = self._answer(call, scope)
        status = 0 if answer is None else answer.status
        self.traffic[endpoint].note(Request(now, status, integration_id, call.cursor))
        await self._wait(call)
        if answer is None:
            raise Unreachable(endpoint)
        await self._send(answer, send)

    def _call(self, scope: Scope, now: float, endpoint: str, integration_id: str | None) -> _Call:
        number = len(self.traffic[endpoint].times)
        reigning = (fault for fault in self.faults if fault.covers(now, endpoint, integration_id))
        met = tuple(fault for fault in reigning if fault.meets(self._seed, number))
        query = scope["query_string"]
        cursor = parse_qs(query.decode(), keep_blank_values=True).get("cursor") if query else None
        return _Call(now, endpoint, integration_id, cursor[0] if cursor else None, met)

    async def _wait(self, call: _Call) -> None:
        late = call.fault(FaultKind.HANG, FaultKind.SLOW)
        seconds = self._latency + (late.delay if late is not None else 0)
        if seconds > 0:
            await self._sleep(seconds)

    def _answer(self, call: _Call, scope: Scope) -> _Answer | None:
        if call.fault(FaultKind.OUTAGE, FaultKind.HANG):
            return None
        if call.fault(FaultKind.HTML):
            return _Answer(502, PROXY_PAGE, content_type=b"text/html")
        if call.fault(FaultKind.REDIRECT):
            return _Answer(302, b"", [(b"location", ELSEWHERE)])
        answer = self._refusal(call, scope)
        if answer is None:
            answer = self._page(call)
        if not (answer.status == 429 and self.retry_header == "none"):
            answer.headers += self._limit_headers(call)
        return answer

    def _refusal(self, call: _Call, scope: Scope) -> _Answer | None:
        """The answer without any data, where there is a reason for one."""
        if _header(scope, b"authorization") != f"Bearer {self.key}".encode():
            return _error(401, "Invalid API key")
        window = self._windows[call.endpoint]
        if not window.admit(call.now, self._foreign(call)):
            return self._too_many(call)
        if PERMISSIONS[call.endpoint] not in self.permissions:
            return _error(403, "The API key does not have the required permission")
        failure = call.fault(FaultKind.SERVER_ERROR)
        return _error(failure.status, "The request failed") if failure else None

    def _page(self, call: _Call) -> _Answer:
        try:
            skip = None if call.cursor is None else skipped(call.cursor)
        except InvalidCursor:
            return _error(400, "Invalid cursor")
        endless = call.fault(FaultKind.ENDLESS)
        page = self._read(call, skip)
        if page is None:
            return _error(400, "Invalid integration ID")
        if endless and not page.items:
            page = self._read(call, 0) or page
        next_skip = (skip or 0) + 10 if endless else None
        if call.fault(FaultKind.REPEATING_CURSOR):
            next_skip = skip or 0
        links = page.links(next_skip)
        return _Answer(200, _spoilt(call, page.body()), [(b"link", links)] if links else [])

    def _read(self, call: _Call, skip: int | None) -> Page | None:
        if call.integration_id is None:
            return self._library.integrations(call.now, skip)
        member = self._roster.find(call.integration_id, call.now)
        return None if member is None else self._library.history(member, call.now, skip)

    def _foreign(self, call: _Call) -> int:
        since = self._windows[call.endpoint].since(call.now)
        return sum(fault.spent(since, call.now, call.endpoint) for fault in self.faults)

    def _too_many(self, call: _Call) -> _Answer:
        answer = _error(429, "You have exceeded the rate limit")
        wait = max(1, whole_seconds(self._windows[call.endpoint].reset(call.now) - call.now))
        if self.retry_header not in ("reset", "none"):
            answer.headers.append((self.retry_header.encode(), b"%d" % wait))
        return answer

    def _limit_headers(self, call: _Call) -> list[tuple[bytes, bytes]]:
        window = self._windows[call.endpoint]
        remaining = window.remaining(call.now, self._foreign(call))
        return [
            (b"x-ratelimit-limit", b"%d" % window.limit),
            (b"x-ratelimit-remaining", b"%d" % remaining),
            (b"x-ratelimit-reset", b"%d" % whole_seconds(window.reset(call.now))),
        ]

    async def _send(self, answer: _Answer, send: Send) -> None:
        now = int(self._clock())
        if now != self._date[0]:
            self._date = (now, formatdate(now, usegmt=True).encode())
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.body)),
            (b"date", self._date[1]),
            *answer.headers,
        ]
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})


def _route(method: str, path: str) -> tuple[str | None, str | None]:
    """The endpoint of a path, and the integration ID in it."""
    parts = path.split("/")
    if method != "GET" or parts[:3] != ["", "cdi", "integrations"]:
        return None, None
    if len(parts) == 3:
        return LIST, None
    if len(parts) == 5 and parts[4] == "job_sync_status":
        return HISTORY, parts[3]
    return None, None


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def _error(status: int, message: str) -> _Answer:
    return _Answer(status, b'{"message": "%s"}' % message.encode())


def _spoilt(call: _Call, body: bytes) -> bytes:
    for fault in call.faults:
        spoil = SPOILERS.get(fault.kind)
        if spoil is not None:
            body = spoil(body)
    return body


async def _lifespan(receive: Receive, send: Send) -> None:
    """Follow a server's start and stop; there is nothing to do for either."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
