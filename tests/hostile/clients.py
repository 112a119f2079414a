"""Hostile clients with limited connections and time. Use them only against a test process."""

import asyncio
import base64
import contextlib
import socket
from collections.abc import Awaitable, Callable

GET = "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n{more}\r\n"
PLAIN = "Accept-Encoding: identity\r\n"


def basic(password: str) -> str:
    """The Authorization header of the user alice."""
    return "Basic " + base64.b64encode(f"alice:{password}".encode()).decode()


class Attacker:
    """Attacks on the port for some seconds. `password` is the right one."""

    def __init__(self, port: int, password: str, seconds: float) -> None:
        self._port, self._password, self._seconds = port, password, seconds

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self._seconds

    async def _open(
        self, path: str, password: str | None = None, more: str = "", buffer: int | None = None
    ) -> socket.socket | None:
        """A connection on which a request was sent, or None if it cannot be opened."""
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        authorization = basic(self._password if password is None else password)
        request = GET.format(path=path, authorization=authorization, more=more).encode()
        try:
            async with asyncio.timeout(5):
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                await loop.sock_sendall(connection, request)
        except OSError:
            connection.close()
            return None
        return connection

    async def hanging_up(self, path: str = "/", *, a_second: int = 140) -> None:
        """Requests whose clients close the connection immediately."""
        end, number = self._until(), 0
        while asyncio.get_running_loop().time() < end:
            number += 1
            connection = await self._open(path.format(n=number))
            if connection:
                connection.close()
            await asyncio.sleep(1 / a_second)

    async def at_once(self, path: str = "/", *, connections: int = 200, more: str = "") -> None:
        """Bursts of requests that stay open until the response arrives."""
        end, number = self._until(), 0
        while asyncio.get_running_loop().time() < end:
            opened = []
            for _ in range(connections):
                number += 1
                opened.append(await self._open(path.format(n=number), more=more))
            await asyncio.gather(*(self._read(each, end) for each in opened if each))

    async def _read(self, connection: socket.socket, end: float) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            async with asyncio.timeout_at(end):
                while await loop.sock_recv(connection, 1 << 16):
                    connection.shutdown(socket.SHUT_WR)
        connection.close()

    async def slow_readers(self, path: str = "/metrics", *, connections: int = 300) -> None:
        """Connections that request an uncompressed page and read 100 bytes a second of it."""
        loop, end = asyncio.get_running_loop(), self._until()
        opened = [
            connection
            for _ in range(connections)
            if (connection := await self._open(path, more=PLAIN, buffer=4096))
        ]
        while loop.time() < end:
            for connection in opened:
                with contextlib.suppress(OSError):
                    connection.recv(100)
            await asyncio.sleep(1)
        for connection in opened:
            connection.close()

    async def wrong_passwords(self) -> None:
        """Requests with a new wrong password each, from clients that close the connection."""
        end, number = self._until(), 0
        while asyncio.get_running_loop().time() < end:
            number += 1
            connection = await self._open("/metrics", password=f"wrong-{number}")
            if connection:
                connection.close()
            await asyncio.sleep(0.005)

    async def idle(self, *, connections: int = 600) -> None:
        """Connections that send half a request."""
        loop, end = asyncio.get_running_loop(), self._until()
        opened = []
        for _ in range(connections):
            connection = socket.socket()
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                await loop.sock_sendall(connection, b"GET / HTTP/1.1\r\nHost: ")
            opened.append(connection)
        await asyncio.sleep(max(0.0, end - loop.time()))
        for connection in opened:
            connection.close()

    def attacks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """All attacks by name."""
        return {
            "pages, hanging up, 140 a second": self.hanging_up,
            "different pages, 140 a second": lambda: self.hanging_up("/?q={n}"),
            "200 pages at once": self.at_once,
            "200 different pages at once": lambda: self.at_once("/?q={n}"),
            "200 status documents at once": lambda: self.at_once("/api/v1/status?q={n}"),
            "200 scrapes at once": lambda: self.at_once("/metrics", more=PLAIN),
            "300 slow readers": self.slow_readers,
            "wrong passwords": self.wrong_passwords,
            "600 idle connections": self.idle,
        }
