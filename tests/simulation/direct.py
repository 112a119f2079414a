"""A fast transport from httpx to an ASGI application, for millions of requests."""

from typing import Any

import httpx

from tests.simulator import Unreachable


class DirectTransport(httpx.AsyncBaseTransport):
    """Like httpx.ASGITransport, reduced to GET requests without a body."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, headers, body = 500, [], b""

        async def send(message: Any) -> None:
            nonlocal status, headers, body
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                body += message.get("body", b"")

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "scheme": "http",
            "http_version": "1.1",
            "server": ("simulated", 80),
            "client": ("simulated", 1),
            "root_path": "",
        }
        try:
            await self._app(scope, _nothing_more, send)
        except Unreachable as error:
            raise httpx.ConnectError("unreachable", request=request) from error
        return httpx.Response(status, headers=headers, content=body)


async def _nothing_more() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
