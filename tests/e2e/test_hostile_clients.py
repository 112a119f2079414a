"""Slow, numerous or malformed requests, which are limited or refused without affecting scrapes."""

import asyncio
import contextlib
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import httpx
import pytest

from cdi_exporter.web.heads import MOST_BYTES
from cdi_exporter.web.server import MOST_CONNECTIONS
from tests.certificates import all_certificates
from tests.e2e.processes import PATIENCE, eventually
from tests.e2e.secured import ALICE, TLS, Secured, secured

SOON = 20.0
"""Seconds within which a scrape must succeed, even on a slow machine under load."""

MANY = MOST_CONNECTIONS + 100
GET = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    """Raise the limit of open sockets for the test. The exporter keeps the usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("plain"), "") as exporter:
        yield exporter


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("closed")
    all_certificates(folder)
    dear = bcrypt.hashpw(ALICE[1].encode(), bcrypt.gensalt(10)).decode()
    with secured(folder, TLS + f"basic_auth_users:\n  alice: {dear}\n") as exporter:
        yield exporter


def connected(exporter: Secured) -> socket.socket:
    return socket.create_connection(("127.0.0.1", exporter.port), PATIENCE)


def everything(connection: socket.socket) -> bytes:
    """Everything received until the other side closes or resets the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def scrape(exporter: Secured, auth: tuple[str, str] | None = None) -> float:
    """The duration in seconds of a scrape over a new connection."""
    started_at = time.monotonic()
    if exporter.tls:
        answer = exporter.get("/metrics", auth=auth)
    else:
        answer = httpx.get(f"{exporter.url}/metrics", timeout=PATIENCE)
    assert answer.status_code == 200
    assert "braze_cdi_up" in answer.text
    return time.monotonic() - started_at


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def memory(exporter: Secured) -> int:
    """The resident memory of the process in bytes."""
    fields = Path(f"/proc/{exporter.process.pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()


def open_files(exporter: Secured) -> int:
    return len([*Path(f"/proc/{exporter.process.pid}/fd").iterdir()])


def request(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /-/ready HTTP/1.1", b"Host: x", *lines, b"", b""])


@pytest.mark.parametrize(
    "sent",
    [
        request(b"Content-Length: 6", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + GET,
        request(b"Transfer-Encoding: chunked", b"Content-Length: 6") + b"0\r\n\r\n" + GET,
        request(b"Content-Length: 0", b"Content-Length: %d" % len(GET)) + GET,
        request(b"Content-Length: %d" % len(GET), b"Content-Length: 0") + GET,
        request(b"X: a", b" Transfer-Encoding: chunked") + b"0\r\n\r\n" + GET,
        request(b"Transfer-Encoding : chunked") + b"0\r\n\r\n" + GET,
        request(b"Transfer-Encoding: x\x0bchunked") + b"0\r\n\r\n" + GET,
        request(b"Content-Length: %d" % len(GET)) + GET,
        GET.replace(b"\r\n", b"\n") + GET,
        GET.replace(b"Host: x\r\n", b"Host: x\n") + GET,
        b"GET /-/ready HTTP/1.1\r\n\r\n" + GET,
    ],
)
def test_a_smuggled_request_is_not_answered(sent: bytes, plain: Secured) -> None:
    """There is exactly one response, which is a refusal, and the connection is closed."""
    with connected(plain) as connection:
        connection.sendall(sent)
        answer = everything(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.split()[1] in (b"400", b"413")
    assert b"is ready" not in answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET /",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n",
    ],
)
def test_an_endless_request_is_cut_off(head: bytes, plain: Secured) -> None:
    """Of an endless head or body, little is read and nothing is kept."""
    before, sent = memory(plain), 0
    with connected(plain) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            while sent < 100 * 2**20:
                sent += connection.send(b"x" * MOST_BYTES)
    assert sent < 100 * 2**20
    assert memory(plain) < before + 20 * 2**20
    assert scrape(plain) < SOON


def test_hundreds_of_idle_connections_leave_room(plain: Secured) -> None:
    """The oldest connections are closed, the newest stay open, and a scrape succeeds."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(plain)) for _ in range(MANY)]
        assert scrape(plain) < SOON
        eventually(lambda: is_closed(idle[0]), "the oldest connection is closed")
        eventually(
            lambda: sum(map(is_closed, idle)) >= MANY - MOST_CONNECTIONS,
            "the next connections are closed",
        )
        assert open_files(plain) < MOST_CONNECTIONS + 100
        assert scrape(plain) < SOON


def test_a_low_limit_of_open_files_leaves_some_for_the_exporter(tmp_path: Path) -> None:
    """The exporter accepts fewer connections, so that it can still open its web configuration."""
    with secured(tmp_path, "", files=100) as exporter, contextlib.ExitStack() as stack:
        for port in (exporter.port, exporter.health) * 200:
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        assert scrape(exporter) < SOON
        assert open_files(exporter) < 90
        exporter.configure("http_server_config: {headers: {X-Frame-Options: deny}}\n")
        assert exporter.get("/-/ready").headers["X-Frame-Options"] == "deny"
        assert not [each for each in exporter.events() if each["level"] in ("error", "critical")]


def test_hundreds_of_unfinished_handshakes_leave_room(closed: Secured) -> None:
    """Connections count against the limit before their TLS handshake starts."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(closed)) for _ in range(MANY)]
        for connection in idle[::2]:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"\x16\x03\x01")
        assert scrape(closed, ALICE) < SOON
        eventually(lambda: is_closed(idle[0]), "the oldest connection is closed")
        assert open_files(closed) < MOST_CONNECTIONS + 100


def test_slow_request_heads_are_cut_off_and_delay_no_other_client(plain: Secured) -> None:
    """A hundred clients send a byte now and then. Each gets a response about the timeout."""

    async def dribble() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"x")
                await writer.drain()
            await asyncio.wait([answer], timeout=0.2)
        writer.close()
        with contextlib.suppress(ConnectionError):
            return answer.result()
        return b""

    async def all_of_them() -> tuple[list[float], list[bytes]]:
        slow = asyncio.gather(*(dribble() for _ in range(100)))
        times = [await asyncio.to_thread(scrape, plain) for _ in range(5)]
        return times, await asyncio.wait_for(slow, PATIENCE)

    times, answers = asyncio.run(all_of_them())
    assert max(times) < SOON
    assert {answer.split()[1] for answer in answers if answer} == {b"408"}


def test_clients_that_do_not_read_cost_little_memory(plain: Secured) -> None:
    """Many clients request large pages and do not read them.

    Memory stays low and scrapes succeed.
    """
    page = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    before = memory(plain)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(connected(plain))
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while True:
                    connection.send(page * 100)
        times = [scrape(plain) for _ in range(5)]
        assert memory(plain) < before + 100 * 2**20
    assert max(times) < SOON


def test_a_flood_of_wrong_passwords_delays_no_scrape(closed: Secured) -> None:
    """Passwords are compared one at a time, and a password that was right is not compared again."""
    assert scrape(closed, ALICE) < PATIENCE
    over = threading.Event()

    def guess(number: int) -> None:
        with closed.client() as client:
            for attempt in range(1000):
                if over.is_set():
                    return
                with contextlib.suppress(httpx.TransportError, ssl.SSLError):
                    answer = client.get("/-/ready", auth=("alice", f"{number}-{attempt}"))
                    assert answer.status_code in (401, 429)

    guessing = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
    for thread in guessing:
        thread.start()
    try:
        times = [scrape(closed, ALICE) for _ in range(10)]
    finally:
        over.set()
        for thread in guessing:
            thread.join(PATIENCE)
    assert max(times) < SOON
