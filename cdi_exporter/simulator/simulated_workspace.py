"""The simulated workspace as an ASGI application.

If uvicorn serves it, set `date_header=False`: the Date header comes from the simulated clock.
"""

import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.json_pages import PAGE, JsonPage, list_item, parse_cursor
from cdi_exporter.simulator.simulated_run import micros
from cdi_exporter.simulator.spec import IntegrationSpec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LIST = "integrations"
HISTORY = "job_sync_status"
PERMISSIONS = {LIST: "cdi.integration_list", HISTORY: "cdi.integration_job_status"}
"""The permission that each endpoint requires of a key."""
LIMITS: Mapping[str, int] = {LIST: 50, HISTORY: 100}
"""Requests per minute and workspace, as documented."""
DAY = 86_400.0
WINDOW = 60.0
"""Seconds for which an endpoint's rate limit applies: it is a limit per minute."""


class RateWindow:
    """A rate limit per minute of the clock; a rejected request does not count."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._since, self._admitted = 0.0, 0

    def remaining(self, now: float) -> int:
        """The requests that are still allowed."""
        return max(0, self.limit - (self._admitted if now // WINDOW * WINDOW == self._since else 0))

    def admit(self, now: float) -> bool:
        """Count one more request; return False, and count nothing, if it is not allowed."""
        if self.remaining(now) < 1:
            return False
        since = now // WINDOW * WINDOW
        self._since, self._admitted = since, 1 + (self._admitted if since == self._since else 0)
        return True

    def reset(self, now: float) -> float:
        """When the current minute ends, in Unix seconds."""
        return now // WINDOW * WINDOW + WINDOW


@dataclass(slots=True)
class Answer:
    """An HTTP response without its Date."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content_type: bytes = b"application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that reached an endpoint."""

    now: float
    endpoint: str
    integration_id: str | None
    cursor: str | None
    authorization: bytes | None


class SimulatedWorkspace:
    """One Braze workspace. The instance is the ASGI application; `clock` returns Unix seconds."""

    def __init__(
        self,
        integrations: Iterable[IntegrationSpec],
        clock: Callable[[], float],
        *,
        key: str = "simulated-key",
        limits: Mapping[str, int] = LIMITS,
        seed: int = 0,
        retention: float = 30 * DAY,
    ) -> None:
        self.key = key
        self.permissions = set(PERMISSIONS.values())
        self._clock = clock
        self._windows: Mapping[str, RateWindow] = {
            name: RateWindow(limit) for name, limit in limits.items()
        }
        self._members = {spec.id: GeneratedIntegration(spec, seed) for spec in integrations}
        self._retention = retention
        # Seconds by which the list's last job and the history are behind; tests set them.
        self._list_lag = self._history_lag = 0.0
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        endpoint, integration_id = _route(scope["method"], scope["path"])
        if endpoint is None:
            await self._send(error(404, "The requested URL was not found"), send)
            return
        query = scope["query_string"]
        cursors = parse_qs(query.decode(), keep_blank_values=True).get("cursor") if query else None
        cursor = cursors[0] if cursors else None
        authorization = _header(scope, b"authorization")
        call = Call(self._clock(), endpoint, integration_id, cursor, authorization)
        await self._respond(call, send)

    async def _respond(self, call: Call, send: Send) -> None:
        await self._send(self._answer(call), send)

    def _answer(self, call: Call) -> Answer:
        answer = self._refusal(call) or self._page(call)
        answer.headers += self._limit_headers(call, answer.status)
        return answer

    def _refusal(self, call: Call) -> Answer | None:
        """The error, if the request is refused."""
        if call.authorization != f"Bearer {self.key}".encode():
            return error(401, "Invalid API key")
        if not self._windows[call.endpoint].admit(call.now):
            return self._too_many(call)
        if PERMISSIONS[call.endpoint] not in self.permissions:
            return error(403, "The API key does not have the required permission")
        return None

    def _page(self, call: Call) -> Answer:
        try:
            skip = None if call.cursor is None else parse_cursor(call.cursor)
        except ValueError:
            return error(400, "Invalid cursor")
        page = self._read(call, skip)
        if page is None:
            return error(400, "Invalid integration ID")
        return self._page_answer(call, page, skip)

    def _page_answer(self, call: Call, page: JsonPage, skip: int | None) -> Answer:
        return page_answer(page)

    def _read(self, call: Call, skip: int | None) -> JsonPage | None:
        """The requested page; None if there is no such integration."""
        members, first = self._members_at(call.now), skip or 0
        if call.integration_id is None:
            shown = [*members.values()][first : first + PAGE]
            items = [json.dumps(self._list_item(each, call.now)).encode() for each in shown]
            return JsonPage("/cdi/integrations", items, skip, len(members) > first + PAGE)
        member = members.get(call.integration_id)
        if member is None:
            return None
        seen = micros(call.now - self._history_lag)
        runs = member.history(seen, micros(call.now - self._retention), first)
        found = list(islice(runs, PAGE + 1))
        path = f"/cdi/integrations/{member.spec.id}/job_sync_status"
        items = [run.item(seen) for run in found[:PAGE]]
        return JsonPage(path, items, skip, len(found) > PAGE)

    def _list_item(self, member: GeneratedIntegration, now: float) -> dict[str, object]:
        return list_item(member, now, self._retention, self._list_lag)

    def _members_at(self, now: float) -> Mapping[str, GeneratedIntegration]:
        """The integrations by ID, in the order in which the API lists them."""
        return self._members

    def _too_many(self, call: Call) -> Answer:
        wait = max(1, math.ceil(self._windows[call.endpoint].reset(call.now) - call.now))
        answer = error(429, "You have exceeded the rate limit")
        answer.headers.append((b"retry-after", b"%d" % wait))
        return answer

    def _limit_headers(self, call: Call, status: int) -> list[tuple[bytes, bytes]]:
        window = self._windows[call.endpoint]
        return [
            (b"x-ratelimit-limit", b"%d" % window.limit),
            (b"x-ratelimit-remaining", b"%d" % window.remaining(call.now)),
            (b"x-ratelimit-reset", b"%d" % math.ceil(window.reset(call.now))),
        ]

    async def _send(self, answer: Answer, send: Send) -> None:
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


def error(status: int, message: str) -> Answer:
    """An error response with a message."""
    return Answer(status, b'{"message": "%s"}' % message.encode())


def page_answer(page: JsonPage, next_skip: int | None = None) -> Answer:
    """A page with its Link header; `next_skip` replaces the true next page."""
    links = page.links(next_skip)
    return Answer(200, page.body(), [(b"link", links)] if links else [])


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


async def _lifespan(receive: Receive, send: Send) -> None:
    """Confirm the start and the stop of the server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
