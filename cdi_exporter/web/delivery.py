"""Sends answers in chunks, within a memory limit, and detects whether the client received them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cdi_exporter.web.connections import CONNECTION, Connection

Headers = Iterable[tuple[bytes, bytes]]

CHUNK = 64 * 1024
"""Bytes that are written at once. A client that does not read occupies no more in buffers."""

MOST_OUTSTANDING = 64 * 2**20
"""Most bytes of answers that are being sent: a quarter of the memory that the Helm chart allows.
Twelve pages of 1,000 integrations fit."""

LARGE_ANSWERS = 4
"""Answers as large as the newest one that always fit: for two pairs of Prometheus servers."""


def connection_of(scope: Scope) -> Connection | None:
    """The connection of a request; None (in tests) if the server is not `Listener`."""
    connection: Connection | None = scope.get("state", {}).get(CONNECTION)
    return connection


def gone(scope: Scope) -> bool:
    """Whether the client of a request has disconnected."""
    connection = connection_of(scope)
    return connection is not None and connection.gone


def with_headers(send: Send, headers: Collection[tuple[bytes, bytes]]) -> Send:
    """A `send` that adds headers to the response, and replaces those of the same name."""
    names = {name.lower() for name, _ in headers}

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            given: Headers = message["headers"]
            kept = [each for each in given if each[0].lower() not in names]
            message = {**message, "headers": [*kept, *headers]}
        await send(message)

    return send_more if headers else send


class Outstanding:
    """The answers that are being sent, of at most `most` bytes.

    If there are more, the oldest answers are aborted: their clients are slow, and the newest scrape
    must be answered. An object that several answers share counts once.
    """

    def __init__(self, most: int = MOST_OUTSTANDING) -> None:
        self._most = most
        self._answers: dict[Connection, bytes] = {}
        """One per connection: it takes the next request only when the answer is complete."""

    @contextmanager
    def holding(self, body: bytes, connection: Connection | None) -> Iterator[None]:
        """Count the body while it is being sent."""
        if connection is None:
            yield
            return
        self._answers[connection] = body
        most = max(self._most, LARGE_ANSWERS * len(body))
        while self.size > most and len(self._answers) > 1:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            oldest.transport.abort()
        try:
            yield
        finally:
            self._answers.pop(connection, None)

    @property
    def size(self) -> int:
        """Bytes of the answers, counting each object once."""
        return sum({id(body): len(body) for body in self._answers.values()}.values())


class LargeResponse(Response):
    """A response that is sent in chunks; `after` is called once the client has all of it."""

    def __init__(
        self,
        body: bytes,
        headers: Mapping[str, str],
        outstanding: Outstanding,
        after: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(body, headers=headers)
        self._outstanding, self._after = outstanding, after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        connection, body, self.body = connection_of(scope), bytes(self.body), b""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with self._outstanding.holding(body, connection):
            for start in range(0, max(1, len(body)), CHUNK):
                end = start + CHUNK
                chunk, more = body[start:end], end < len(body)
                await send({"type": "http.response.body", "body": chunk, "more_body": more})
        # The wait for the client is not part of the memory bound, so it must not hold the body.
        del body, chunk
        if self._after is not None and (connection is None or await connection.received()):
            self._after()
