"""Stands before the application: what a request must pass, in the toolkit's order."""

from collections.abc import Iterable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdi_exporter.threads import Busy
from cdi_exporter.web.delivery import gone
from cdi_exporter.web.security.watch import Security

Headers = Iterable[tuple[bytes, bytes]]

_TOO_MANY = PlainTextResponse(
    "Too Many Requests\n", 429, headers={"X-Content-Type-Options": "nosniff"}
)
_UNAUTHORIZED = PlainTextResponse(
    "Unauthorized\n",
    401,
    headers={"WWW-Authenticate": "Basic", "X-Content-Type-Options": "nosniff"},
)


class Guard:
    """The rate limit, then the headers, then the users."""

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self._app, self._security = app, security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application do it."""
        policy = await self._security.policy()
        if not self._security.limiter.take():
            await _TOO_MANY(scope, receive, send)
            return
        send = _with_headers(send, policy.headers)
        users = policy.users
        try:
            admitted = not users or await self._security.users.admits(
                users, _authorization(scope), gone(scope)
            )
        except Busy:
            await _TOO_MANY(scope, receive, send)
            return
        await (self._app if admitted else _UNAUTHORIZED)(scope, receive, send)


def _authorization(scope: Scope) -> bytes | None:
    headers: Headers = scope["headers"]
    return next((value for name, value in headers if name == b"authorization"), None)


def _with_headers(send: Send, headers: Headers) -> Send:
    """Sends with these headers, in the place of those of the same name."""
    ours = {name.lower() for name, _ in headers}

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [each for each in message["headers"] if each[0].lower() not in ours]
            message = {**message, "headers": [*others, *headers]}
        await send(message)

    return send_more if ours else send
