"""A simulated Braze that can send hostile responses: python -m tests.hostile.braze PORT."""

import gzip
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import uvicorn

from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator

KEY = "hostile-key-4f1d"
INTEGRATIONS = 100
ATTACKS = (
    "rows",
    "finished rows",
    "empty rows",
    "items",
    "names",
    "bytes after gzip",
    "endless body",
    "deep JSON",
)
"""The hostile responses; see `_body`."""

LIMIT = 1_000_000
CHUNK = 1 << 20
BYTES_AFTER_GZIP = gzip.compress(b'{"message":"success","results":[]}') + bytes(90 << 20)
Send = Callable[[Any], Awaitable[None]]


class HostileBraze:
    """An ASGI application with 100 integrations. `attack` can be changed at any time."""

    def __init__(self) -> None:
        now = time.time()
        self.known = [
            ScriptedIntegration(f"id-{number:03}", f"sync-{number:03}")
            for number in range(INTEGRATIONS)
        ]
        for integration in self.known:
            for number in range(5, 0, -1):
                start = now - 3600 * number
                integration.run(start, start + 60, rows_synced=100)
        limits = {LIST: LIMIT, HISTORY: LIMIT}
        self.simulator = Simulator(self.known, time.time, key=KEY, limits=limits)
        self.attack = ""
        self._finished = 0

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Respond.

        POST /attack/NAME starts an attack, and POST /finish ends runs of 10 integrations.
        """
        if scope["type"] != "http":
            return
        path = scope["path"]
        if scope["method"] == "POST":
            if path == "/finish":
                self._finish()
            else:
                self.attack = path.removeprefix("/attack/")
            await _answer(send, b"")
        elif not self.attack or (self.attack in _OF_LIST) != (path == "/cdi/integrations"):
            await self.simulator(scope, receive, send)
        elif self.attack == "endless body":
            await _endless(send)
        else:
            body, encoding = _body(self.attack, self._finished)
            await _answer(send, body, encoding)

    def _finish(self) -> None:
        now = time.time()
        self._finished += 1
        for integration in self.known[:10]:
            integration.run(now - 20, now, rows_synced=10)


_OF_LIST = ("items", "names")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@lru_cache(maxsize=1)
def _body(attack: str, salt: int) -> tuple[bytes, bytes]:
    """The body of an attack and its content encoding, cached so that responses are fast."""
    now = time.time()
    rows: list[dict[str, Any]] = []
    match attack:
        case "rows":
            rows = [
                {"job_status": "running", "sync_start_time": _moment(now - 7200 - number / 10)}
                for number in range(16_000)
            ]
        case "finished rows":
            rows = [
                {
                    "job_status": "success",
                    "sync_start_time": _moment(now - number),
                    "sync_finish_time": _moment(now - number + 0.5),
                    "rows_synced": salt,
                }
                for number in range(16_000)
            ]
        case "empty rows":
            return b'{"message":"success","results":[' + b"{}," * 3_400_000 + b"{}]}", b""
        case "items":
            rows = [{"integration_id": f"{salt}-{number}"} for number in range(200_000)]
        case "names":
            rows = [
                {"integration_id": f"id-{number:03}", "integration_name": "n" * 1_000_000}
                for number in range(10)
            ]
        case "bytes after gzip":
            return BYTES_AFTER_GZIP, b"gzip"
        case "deep JSON":
            return b"[" * 500_000, b""
    return json.dumps({"message": "success", "results": rows}).encode(), b""


async def _answer(send: Send, body: bytes, encoding: bytes = b"") -> None:
    headers = [(b"content-type", b"application/json")]
    if encoding:
        headers.append((b"content-encoding", encoding))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for begin in range(0, len(body), CHUNK):
        part = body[begin : begin + CHUNK]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _endless(send: Send) -> None:
    """A body that ends only after 1 GiB."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1024):
        await send({"type": "http.response.body", "body": b" " * CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until terminated."""
    uvicorn.run(HostileBraze(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
