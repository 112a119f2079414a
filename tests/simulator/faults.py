"""API faults, which depend on the clock and are reproducible with the seed."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Unreachable(Exception):
    """There is no response. A transport turns this into its own connection error."""


class FaultKind(StrEnum):
    """How the API fails."""

    OUTAGE = "outage"
    """No connection: the app raises Unreachable."""
    HANG = "hang"
    """No response for `delay` seconds, then Unreachable."""
    SLOW = "slow"
    """The response arrives `delay` seconds late, with the data from the time of the request."""
    SERVER_ERROR = "server_error"
    """`status`, which is 503 by default."""
    OTHER_TOOL = "other_tool"
    """Another tool sends `per_minute` requests within the shared limit, evenly distributed."""
    REDIRECT = "redirect"
    """302 to another host."""
    HTML = "html"
    """502 with a proxy's HTML page."""
    HTML_OK = "html_ok"
    """The same page with 200."""
    NOT_JSON = "not_json"
    TRUNCATED = "truncated"
    """The JSON text is cut off in the middle."""
    OVERSIZED = "oversized"
    """The correct body after 11 MiB of white space."""
    NO_RESULTS = "no_results"
    """JSON without `results`."""
    BAD_MESSAGE = "bad_message"
    """A 200 whose `message` is not `success`."""
    ITEM_WITHOUT_ID = "item_without_id"
    """The first item lacks its identity: its ID or all times."""
    WRONG_TYPES = "wrong_types"
    """The first item is a number, and the values of the others have wrong types."""
    REPEATING_CURSOR = "repeating_cursor"
    """Each page links to itself as the next page."""
    ENDLESS = "endless"
    """Each page links to a next one. After the last page, the items start again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, from `start` up to `end` (Unix seconds), of one endpoint or both.

    `rate` is the share of affected requests. With `integration_id`, only requests for that history
    are affected. `OTHER_TOOL` always affects all requests.
    """

    start: float
    end: float
    kind: FaultKind
    endpoint: str | None = None
    rate: float = 1.0
    status: int = 503
    delay: float = 30.0
    per_minute: float = 25.0
    integration_id: str | None = None

    def covers(self, now: float, endpoint: str, integration_id: str | None = None) -> bool:
        """Whether the fault is active at this moment for this endpoint and integration."""
        reigns = self.start <= now < self.end and self.endpoint in (None, endpoint)
        return reigns and self.integration_id in (None, integration_id)

    def meets(self, seed: int, request: int) -> bool:
        """Whether the fault affects the request with this number."""
        if self.rate >= 1:
            return True
        word = f"{seed}/{self.kind}/{self.start}/{request}"
        return zlib.crc32(word.encode()) / 2**32 < self.rate

    def spent(self, since: float, now: float, endpoint: str) -> int:
        """The number of requests by the other tool between two moments."""
        if self.kind is not FaultKind.OTHER_TOOL or self.endpoint not in (None, endpoint):
            return 0
        seconds = min(now, self.end) - max(since, self.start)
        return max(0, int(self.per_minute * seconds / 60))


PROXY_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
ELSEWHERE = b"https://elsewhere.example/cdi/integrations"
_PADDING = b" " * (11 * 1024 * 1024)


def _without_results(body: bytes) -> bytes:
    return b'{"message": "success"}'


def _bad_message(body: bytes) -> bytes:
    return body.replace(b'"message": "success"', b'"message": "internal failure"')


def _proxy_page(body: bytes) -> bytes:
    return PROXY_PAGE


def _no_json(body: bytes) -> bytes:
    return b"upstream connect error"


_IDENTITY = frozenset({"integration_id", "sync_start_time", "sync_finish_time"})


def _without_identity(body: bytes) -> bytes:
    page: dict[str, Any] = json.loads(body)
    for item in page["results"][:1]:
        for name in _IDENTITY & item.keys():
            del item[name]
    return json.dumps(page).encode()


def _wrong_types(body: bytes) -> bytes:
    page: dict[str, Any] = json.loads(body)
    for item in page["results"]:
        for number, name in enumerate(item):
            item[name] = ([], {"a": 1}, -7, True, 1e300, "soon")[number % 6]
    page["results"][:1] = [42]
    return json.dumps(page).encode()


SPOILERS: dict[FaultKind, Callable[[bytes], bytes]] = {
    FaultKind.HTML_OK: _proxy_page,
    FaultKind.NOT_JSON: _no_json,
    FaultKind.TRUNCATED: lambda body: body[: len(body) // 2],
    FaultKind.OVERSIZED: lambda body: _PADDING + body,
    FaultKind.NO_RESULTS: _without_results,
    FaultKind.BAD_MESSAGE: _bad_message,
    FaultKind.ITEM_WITHOUT_ID: _without_identity,
    FaultKind.WRONG_TYPES: _wrong_types,
}
"""How each fault with a 200 response changes the correct body."""
