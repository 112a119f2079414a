"""A simulated Braze that puts secrets into headers, error bodies and web pages."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator

KEY = "canary-key-3c5e8a71d2"
PERSON = "canary.person@example.com"
PASSWORD = "canary-password"
MARK = b"canary"
"""A string that is part of every secret and of nothing else."""

TROUBLES = {
    "401": "401: Braze does not know",
    "403": "403: the API key lacks",
    "404": "404: not found",
    "302": "302: undocumented answer",
    "500": "500: Braze has a problem",
    "web page": "the answer is a web page",
    "no success": "message is not success",
    "no JSON": "the answer is not JSON",
    "encoding": "the answer has an unexpected or invalid encoding",
    "silence": "no complete answer within",
}
"""The ways in which it can fail, with the exporter's message for each."""

SILENCE = 3.0
"""Seconds without a response. It is longer than the `request_timeout` of the tests."""

Send = Callable[[Any], Awaitable[None]]


class LeakyBraze:
    """The ASGI application. `trouble` can be changed at any time.

    `keys` are the API keys of the requests so far, and `failed` counts the failures.
    """

    def __init__(self) -> None:
        now = time.time()
        one = ScriptedIntegration("one", "users", list_fields={"contact_emails": [PERSON]})
        for number in range(5, 0, -1):
            start = now - 3600 * number
            one.run(start, start + 60, "partial", rows_synced=10, rows_failed=2)
        self.integration = one
        limits = {LIST: 10**6, HISTORY: 10**6}
        self.simulator = Simulator([one], time.time, key=KEY, limits=limits)
        self.trouble = ""
        self.keys: list[str] = []
        self.failed: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        headers = dict(scope["headers"])
        self.keys.append(headers.get(b"authorization", b"").decode().removeprefix("Bearer "))
        if not self.trouble:
            await self.simulator(scope, receive, _with_secrets(send))
            return
        self.failed[self.trouble] += 1
        if self.trouble == "silence":
            await asyncio.sleep(SILENCE)
        else:
            await self._fail(_with_secrets(send))

    async def _fail(self, send: Send) -> None:
        message = f"Bearer {KEY} of {PERSON} is wrong"
        status, body, headers = 200, json.dumps({"message": message}), []
        match self.trouble:
            case "web page":
                body = f"<html><title>{message}</title></html>"
                headers = [(b"content-type", b"text/html")]
            case "no JSON":
                body = f'{{"results": [{message}'
            case "encoding":
                headers = [(b"content-encoding", KEY.encode())]
            case "no success":
                pass
            case code:
                status = int(code)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})


def _with_secrets(send: Send) -> Send:
    async def leaking(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message["headers"],
                (b"x-debug", f"Bearer {KEY}".encode()),
                (b"set-cookie", f"session={KEY}".encode()),
                (b"location", f"https://{PASSWORD}.example/?key={KEY}&mail={PERSON}".encode()),
            ]
        await send(message)

    return leaking
