"""Delivery of pages to scrapers. A counter may increase only after a scraper received it at 0."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cdi_exporter.exposition import Format
from cdi_exporter.snapshot import WorkspaceSnapshot
from cdi_exporter.web.routes import WebOptions, create_app
from cdi_exporter.web.server import Address, Listener, listen

PATIENCE = 60.0
TIMEOUT = {"X-Prometheus-Scrape-Timeout-Seconds": "5"}
PROMETHEUS = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class OneWorkspace:
    """A source with one workspace. Its page has `size` bytes and takes `seconds`."""

    def __init__(self, size: int = 100, seconds: float = 0.0) -> None:
        self.size, self.seconds = size, seconds
        self.times_received = 0
        self.workspaces: Mapping[str, Any] = {"w": self}
        self.render_seconds = 0.0

    async def scrape(self, deadline: float) -> WorkspaceSnapshot:
        await asyncio.sleep(self.seconds)
        return WorkspaceSnapshot("w")

    def snapshot(self) -> WorkspaceSnapshot:
        return WorkspaceSnapshot("w")

    def received(self, snapshot: WorkspaceSnapshot) -> None:
        self.times_received += 1

    async def render_page(self, work: Callable[[], bytes]) -> bytes:
        return work()

    async def render(self, snapshots: object, form: Format, *, own: bool) -> bytes:
        return b"x" * self.size


class Client:
    """A client that controls when it reads and when it closes its connection."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)

    async def ask(self, method: str = "GET", **headers: str) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} /metrics HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
        await asyncio.get_running_loop().sock_sendall(self.socket, request.encode())

    async def read(self, most: int = 1 << 30) -> bytes:
        """Read up to the end of the answer, or at most this many bytes."""
        received = b""
        while len(received) < most and not self._whole(received):
            size = min(65_536, most - len(received))
            received += await asyncio.get_running_loop().sock_recv(self.socket, size)
        return received

    @staticmethod
    def _whole(received: bytes) -> bool:
        head, end, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        return bool(end) and len(body) >= length

    def hang_up(self, *, reset: bool = False) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


def times_received(source: OneWorkspace, scenario: Any) -> int:
    """How often the page counts as received after the scenario, which gets the port."""

    async def main() -> None:
        sock = listen(Address("127.0.0.1", 0))
        listener = Listener(create_app(source, WebOptions()), [sock])  # type: ignore[arg-type]
        task = asyncio.create_task(listener.serve())
        await listener.wait_started()
        await asyncio.wait_for(scenario(sock.getsockname()[1]), PATIENCE)
        listener.stop()  # cancels the requests under way and waits for them
        await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())
    return source.times_received


def reads(headers: Mapping[str, str], method: str = "GET") -> Any:
    """The scenario of a client that reads the whole answer."""

    async def scenario(port: int) -> None:
        client = Client(port)
        await client.ask(method, **headers)
        await client.read(1 if method == "HEAD" else 1 << 30)
        await asyncio.sleep(1)
        client.hang_up()

    return scenario


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        (TIMEOUT, 1),
        (PROMETHEUS, 1),
        (TIMEOUT | PROMETHEUS | {"Connection": "close"}, 1),
        ({"Accept": "text/plain;version=0.0.4"}, 1),
        ({"Accept": "*/*", "User-Agent": "curl/8"}, 0),
        ({}, 0),
        (BROWSER, 0),
    ],
)
def test_only_a_scraper_counts(headers: dict[str, str], counts: int) -> None:
    """A page that a person reads is not stored in a time series database."""
    assert times_received(OneWorkspace(), reads(headers)) == counts


def test_a_head_request_does_not_count() -> None:
    """It contains no values."""
    assert times_received(OneWorkspace(), reads(TIMEOUT, "HEAD")) == 0


def test_a_large_page_counts_once_it_is_read() -> None:
    """The page is larger than the buffers of the connection."""
    assert times_received(OneWorkspace(size=20_000_000), reads(TIMEOUT)) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("size", [100, 20_000_000])
@pytest.mark.parametrize("moment", ["before the answer", "amid the answer"])
def test_a_scraper_that_hangs_up_does_not_count(moment: str, size: int, reset: bool) -> None:
    """The scraper leaves before the answer starts, or after it has read a part of it."""

    async def scenario(port: int) -> None:
        client = Client(port, receive_buffer=4096)
        await client.ask(**TIMEOUT)
        if moment == "amid the answer":
            await client.read(50)
        else:
            await asyncio.sleep(0.1)
        client.hang_up(reset=reset)
        await asyncio.sleep(1.5)

    seconds = 0.5 if moment == "before the answer" else 0.0
    assert times_received(OneWorkspace(size, seconds), scenario) == 0


def test_a_second_scrape_on_the_same_connection_is_answered_at_once() -> None:
    """The check whether the first answer was received does not delay the second."""

    async def scenario(port: int) -> None:
        client = Client(port)
        for _ in range(3):
            await client.ask(**TIMEOUT)
            await client.read()
        await asyncio.sleep(1)
        client.hang_up()

    assert times_received(OneWorkspace(), scenario) == 3
