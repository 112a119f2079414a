"""Listening sockets, and uvicorn on them until `stop` is called."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from cdi_exporter.errors import StartError
from cdi_exporter.web.connections import MOST_CONNECTIONS, ConnectionAcceptor, Tls

SHUTDOWN_SECONDS = 5
KEEP_ALIVE_SECONDS = 75
"""Longer than the usual scrape interval, so that Prometheus keeps its connection."""

BACKLOG = 1024
"""Connections that wait to be accepted: a burst of clients."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: `:PORT` (all interfaces), `HOST:PORT` or `[IPv6]:PORT`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Raises ValueError for anything else."""
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
        listening = _at(address) if address.host else _everywhere(address.port)
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"cannot listen on {address}: {reason}; choose another {flag}"
        raise StartError(msg) from error
    # What it accepts inherits this. Head and body of an answer are sent one after the other:
    # else the body would wait until the client has confirmed the head, which takes 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _at(address: Address) -> socket.socket:
    family, _, _, _, place = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(place[:2], family=family, backlog=BACKLOG)


def _everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
            )
    return socket.create_server(("", port), backlog=BACKLOG)


class Listener(uvicorn.Server):
    """uvicorn with one application on its sockets; with TLS if `tls` gives the contexts.

    It accepts connections itself, at most `most` at once, and leaves signals alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: Sequence[socket.socket],
        tls: Tls | None = None,
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
        self.servers = []
        self._sockets = [*sockets]
        self._acceptor = ConnectionAcceptor(self.config, self.server_state, tls, most)
        self._accepting: list[asyncio.Task[None]] = []
        self._serving = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`."""
        await super().serve(sockets or self._sockets)

    def stop(self) -> None:
        """Take no more requests; those under way get up to `SHUTDOWN_SECONDS`."""
        self.should_exit = True

    async def wait_started(self) -> None:
        """Wait until requests are answered."""
        await self._serving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        for each in sockets or ():
            self._accepting.append(asyncio.create_task(self._acceptor.accept(each)))
        self.started = True
        self._serving.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and end the connections."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await self._acceptor.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
