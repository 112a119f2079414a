"""Listening sockets, and uvicorn on them until `stop` is called.

uvicorn itself accepts any number of connections. Here they are accepted one by one, so that their
number is limited, and each TLS connection uses the certificate that is valid now.
"""

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from cdi_exporter.errors import StartError
from cdi_exporter.web.connections import Connection

log = structlog.get_logger()

MOST_CONNECTIONS = 500
"""Most connections of one listener, including TLS handshakes. A new one replaces an idle one."""

USUAL_FILES = 1024
"""The usual limit of open files. With a lower limit, fewer connections are allowed."""

HANDSHAKE_SECONDS = 10.0
"""Most seconds for a TLS handshake: several round trips on a slow network."""

CLOSE_NOTIFY_SECONDS = 1.0
"""Most seconds to wait for the TLS client's `close_notify`."""

_OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RETRY_SECONDS = 0.1
"""Seconds until the next attempt to accept a connection after the system had no room for one."""

SHUTDOWN_SECONDS = 5
"""Most seconds for requests in progress at the end; uvicorn takes a whole number."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the usual scrape interval of a minute, so that Prometheus keeps its connection."""

BACKLOG = 1024
"""Connections that may wait to be accepted, for bursts of clients."""


@dataclass(frozen=True, slots=True)
class Address:
    """A listen address: `:PORT` (all interfaces), `HOST:PORT` or `[IPv6]:PORT`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse an address; raises ValueError."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""
        if not colon or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
            msg = "is not an address; expected :PORT, HOST:PORT or [IPv6]:PORT"
            raise ValueError(msg)
        return cls(host, int(port))

    def url(self, *, tls: bool) -> str:
        """The URL of the status page, as seen from this machine."""
        return f"{'https' if tls else 'http'}://{Address(self.host or 'localhost', self.port)}/"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def listen(address: Address, flag: str = "--web.listen-address") -> socket.socket:
    """A listening socket; raises StartError, with the flag to change, if that fails."""
    try:
        listening = _bound(address)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"cannot listen on {address}: {reason}; choose another {flag}"
        raise StartError(msg) from error
    # Accepted connections inherit this. Otherwise the body of an answer would wait for the
    # acknowledgement of its head, which takes 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _bound(address: Address) -> socket.socket:
    everywhere = ("", address.port)
    if address.host:
        family, _, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(place[:2], family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                everywhere, family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
    return socket.create_server(everywhere, backlog=BACKLOG)


class Listener(uvicorn.Server):
    """uvicorn with one application on its sockets; with TLS if `tls` returns the contexts.

    It accepts connections itself, at most `most` at a time, and does not handle signals.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: Sequence[socket.socket],
        tls: Callable[[], Awaitable[ssl.SSLContext]] | None = None,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self.servers = []  # uvicorn closes these at the end
        self._sockets, self._tls, self._most = [*sockets], tls, _within_file_limit(most)
        self._accepting: list[asyncio.Task[None]] = []
        self._open: dict[Connection, asyncio.Task[None]] = {}
        self._serving = asyncio.Event()

    def stop(self) -> None:
        """Accept no more requests; those in progress have up to `SHUTDOWN_SECONDS`."""
        self.should_exit = True

    async def wait_started(self) -> None:
        """Wait until requests are answered."""
        await self._serving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        self._accepting = [asyncio.create_task(self._accept(each)) for each in self._sockets]
        self.started = True
        self._serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, cancel the handshakes, then close the connections."""
        for accepting in self._accepting:
            accepting.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        handshakes = [task for each, task in self._open.items() if each.transport is None]
        for task in handshakes:
            task.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)
        await super().shutdown(self._sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals: the exporter handles them itself."""
        yield

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            await asyncio.sleep(0)  # a flood of connections must not block the event loop
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # the client has disconnected, or the process has no room
                if error.errno in _OUT_OF_RESOURCES:
                    self._close_longest_idle()
                    await asyncio.sleep(_RETRY_SECONDS)
                continue
            if len(self._open) >= self._most:
                self._close_longest_idle()
            connection = Connection(self.config, self.server_state, self._forget)
            self._open[connection] = loop.create_task(self._connect(connection, accepted))

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        limits: dict[str, Any] = {}
        try:
            if self._tls is not None:
                try:
                    context = await self._tls()
                except BaseException:
                    accepted.close()  # no transport owns it yet
                    raise
                limits = {
                    "ssl": context,
                    "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                    "ssl_shutdown_timeout": CLOSE_NOTIFY_SECONDS,
                }
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: connection, accepted, **limits)
        except OSError as error:
            log.debug("TLS handshake failed", problem=str(error))
            self._forget(connection)
        except asyncio.CancelledError:
            self._forget(connection)
            raise

    def _forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def _close_longest_idle(self) -> None:
        """Close the connection that has been idle or, if none is idle, busy for longest."""
        connection = min(self._open, key=lambda each: (each.busy, each.since), default=None)
        if connection is None:
            return
        task = self._open.pop(connection)
        if connection.transport is None:
            task.cancel()
        else:
            connection.transport.abort()


def _within_file_limit(most: int) -> int:
    """The number of connections that leaves open files for everything else."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, most * allowed // USUAL_FILES))
