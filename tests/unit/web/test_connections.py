"""Limits of connections: deadlines in virtual time, invalid requests, and their number."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from cdi_exporter.web.connections import ANSWER_READ_SECONDS, HEAD_SECONDS, Connection
from cdi_exporter.web.security.tls import ServerContext
from cdi_exporter.web.server import Listener
from tests.virtual import run

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KEEP_ALIVE = 75


class Wire(asyncio.Transport):
    """The client's end of a connection: the data it received, and when it was closed."""

    def __init__(self, **extra: Any) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)} | extra)
        self.protocol: asyncio.Protocol | None = None
        self.written = b""
        self.closed_at: float | None = None
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Accept all data at once."""

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def close(self) -> None:
        if self.closed_at is None:
            loop = asyncio.get_running_loop()
            self.closed_at = loop.time()
            if self.protocol is not None:
                loop.call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Conversation:
    """A connection to an application that answers `hello` after `seconds`."""

    def __init__(self, seconds: float = 0.0, **extra: Any) -> None:
        self.forgotten: list[Connection] = []
        self.requested: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            self.requested.append(scope["path"])
            await asyncio.sleep(seconds)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        config = Config(app, http="h11", ws="none", lifespan="off", log_config=None)
        config.timeout_keep_alive = KEEP_ALIVE
        self.wire = Wire(**extra)
        self.connection = Connection(config, ServerState(), self.forgotten.append)
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)

    def says(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def statuses(self) -> list[bytes]:
        return [each[:3] for each in self.wire.written.split(b"HTTP/1.1 ")[1:]]


def talk(script: Callable[[], Coroutine[Any, Any, Conversation]]) -> Conversation:
    return run(script())


def test_a_silent_client_is_disconnected() -> None:
    """A client that sends nothing is disconnected when the time for a request head is over."""

    async def script() -> Conversation:
        conversation = Conversation()
        await asyncio.sleep(HEAD_SECONDS + 1)
        return conversation

    conversation = talk(script)
    assert (conversation.wire.closed_at, conversation.wire.written) == (HEAD_SECONDS, b"")
    assert conversation.forgotten == [conversation.connection]


@pytest.mark.parametrize("piece", [b"X: 1\r\n", b"x"])
def test_a_slow_request_head_times_out(piece: bytes) -> None:
    """The head has one deadline, however often a part of it arrives."""

    async def script() -> Conversation:
        conversation = Conversation()
        conversation.says(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        while not conversation.wire.is_closing():
            conversation.says(piece)
            await asyncio.sleep(0.5)
        return conversation

    conversation = talk(script)
    assert (conversation.statuses, conversation.requested) == ([b"408"], [])
    assert conversation.wire.closed_at == HEAD_SECONDS


def test_a_client_that_keeps_its_connection_may_wait() -> None:
    """The connection stays open up to the keep-alive time between two requests."""

    async def script() -> Conversation:
        conversation = Conversation()
        for _ in range(3):
            conversation.says(GET)
            await asyncio.sleep(KEEP_ALIVE - 1)
        await asyncio.sleep(2)
        return conversation

    conversation = talk(script)
    assert conversation.statuses == [b"200"] * 3
    assert conversation.wire.closed_at == 2 * (KEEP_ALIVE - 1) + KEEP_ALIVE


def test_the_next_head_on_a_kept_connection_has_its_deadline_too() -> None:
    """The deadline counts from the first byte of the head."""

    async def script() -> Conversation:
        conversation = Conversation()
        conversation.says(GET)
        await asyncio.sleep(KEEP_ALIVE - 1)
        conversation.says(GET[:10])
        await asyncio.sleep(HEAD_SECONDS - 1)
        conversation.says(GET[10:])
        await asyncio.sleep(1)
        conversation.says(GET[:10])
        await asyncio.sleep(HEAD_SECONDS + 1)
        return conversation

    conversation = talk(script)
    assert conversation.statuses == [b"200", b"200", b"408"]


def test_an_answer_that_takes_long_is_waited_for() -> None:
    """The deadlines apply to the client, not to the scrape."""

    async def script() -> Conversation:
        conversation = Conversation(seconds=300)
        conversation.says(GET)
        await asyncio.sleep(301)
        return conversation

    conversation = talk(script)
    assert conversation.statuses == [b"200"]
    assert not conversation.wire.is_closing()


def test_requests_that_come_at_once_are_answered_in_turn() -> None:
    """One request is answered at a time. Reading pauses while there is no room for more data."""

    async def script() -> Conversation:
        conversation = Conversation(seconds=1)
        conversation.says(GET * 3 + GET[:5])
        await asyncio.sleep(0.5)
        assert len(conversation.requested) == 1
        conversation.says(GET[5:])
        conversation.says(GET * 1000)
        assert not conversation.wire.reading
        await asyncio.sleep(4)
        assert not conversation.wire.reading
        conversation.wire.close()
        await asyncio.sleep(0)
        return conversation

    conversation = talk(script)
    assert conversation.statuses == [b"200"] * 4


def test_data_after_a_refused_request_is_not_read() -> None:
    """The request is refused once and the connection is closed. No request can be smuggled."""

    async def script() -> Conversation:
        conversation = Conversation()
        conversation.says(GET)
        await asyncio.sleep(1)
        smuggled = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
        length = b"Content-Length: %d\r\n" % len(smuggled)
        conversation.says(GET[:-2] + length + b"Transfer-Encoding: chunked\r\n\r\n" + smuggled)
        conversation.says(smuggled)
        await asyncio.sleep(1)
        return conversation

    conversation = talk(script)
    assert (conversation.statuses, conversation.requested) == ([b"200", b"400"], ["/"])


def test_a_request_that_the_parser_refuses_ends_the_connection() -> None:
    """A request with two Host headers or none is refused by the parser."""
    for head in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):

        async def script(head: bytes = head) -> Conversation:
            conversation = Conversation()
            conversation.says(head + GET)
            await asyncio.sleep(1)
            return conversation

        conversation = talk(script)
        assert (conversation.statuses, conversation.requested) == ([b"400"], [])


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """The client is only cut off if it does not resume in time."""

    async def script() -> Conversation:
        conversation = Conversation()
        conversation.says(GET)
        await asyncio.sleep(0.1)
        conversation.connection.pause_writing()
        await asyncio.sleep(ANSWER_READ_SECONDS - 1)
        conversation.connection.resume_writing()
        conversation.says(GET)
        await asyncio.sleep(2)
        assert not conversation.wire.is_closing()
        conversation.connection.pause_writing()
        await asyncio.sleep(ANSWER_READ_SECONDS + 1)
        return conversation

    conversation = talk(script)
    assert conversation.wire.closed_at == pytest.approx(0.1 + 2 * ANSWER_READ_SECONDS + 1)


@pytest.mark.parametrize(
    ("certificate", "statuses"),
    [
        ({"subjectAltName": (("DNS", "scraper.example"),)}, [b"200"]),
        ({"subjectAltName": (("DNS", "other.example"),)}, []),
        ({}, []),
        (None, []),
    ],
)
def test_a_certificate_without_the_name_gets_nothing(
    certificate: dict[str, Any] | None, statuses: list[bytes]
) -> None:
    """The connection is closed before a request is read."""

    async def script() -> Conversation:
        context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.allowed_sans = frozenset({"scraper.example"})
        conversation = Conversation(sslcontext=context, peercert=certificate)
        conversation.says(GET)
        await asyncio.sleep(1)
        return conversation

    assert talk(script).statuses == statuses


def test_the_connection_idle_for_longest_is_closed_for_a_new_one() -> None:
    """Over real sockets, the idle connection is closed although the busy one is older."""

    async def script() -> None:
        requested, answer = asyncio.Event(), asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            requested.set()
            await answer.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
            listener = Listener(app, [listening], most=2)
            serving = asyncio.create_task(listener.serve())
            await listener.wait_started()

            async def connected() -> socket.socket:
                connection = stack.enter_context(socket.socket())
                connection.setblocking(False)
                await loop.sock_connect(connection, listening.getsockname())
                return connection

            busy = await connected()
            await loop.sock_sendall(busy, GET)
            await requested.wait()
            idle, late = await connected(), await connected()
            assert await loop.sock_recv(idle, 1) == b""
            answer.set()
            await loop.sock_sendall(late, GET)
            for each in (busy, late):
                assert (await loop.sock_recv(each, 12)) == b"HTTP/1.1 200"
                each.close()
            listener.stop()
            await serving

    asyncio.run(script())
