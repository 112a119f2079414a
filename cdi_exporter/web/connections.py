"""The connection of one client: validates its requests and limits how long each step takes."""

import asyncio
import http
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from cdi_exporter.web.heads import MOST_BYTES, Refused, RequestHeads
from cdi_exporter.web.security.tls import ServerContext

log = structlog.get_logger()

CONNECTION: Final = "connection"
"""The key under which a request's state contains its connection."""

HEAD_SECONDS = 10.0
"""Most seconds from the connection, or from a request's first byte, to the end of the head."""

ANSWER_READ_SECONDS = 60.0
"""Most seconds for a client to read an answer that does not fit into the system's buffers. A scrape
timeout is at most the scrape interval, which is usually at most a minute."""

RESET_SECONDS = 0.5
"""Seconds to wait for a reset after an answer: if a client closed its socket without reading, its
system resets the connection as soon as the answer arrives."""


class Connection(H11Protocol):
    """uvicorn's protocol with strict heads, and with time limits for everything that clients do."""

    def __init__(
        self, config: Config, state: ServerState, forget: Callable[["Connection"], None]
    ) -> None:
        super().__init__(config, state, {CONNECTION: self})
        self._forget = forget
        self._heads = RequestHeads()
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._broken = False
        """Whether the connection was lost before the client had received the current answer."""
        self.since = self.loop.time()
        """When the connection was made, or its last request started or ended; loop seconds."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless the client's certificate has none of the allowed names."""
        super().connection_made(transport)
        # `drain` must wait for the last byte. With TLS, a high limit of 0 would always be reached.
        transport.set_write_buffer_limits(high=1, low=0)
        context = transport.get_extra_info("sslcontext")
        certificate = transport.get_extra_info("peercert")
        if isinstance(context, ServerContext) and not context.admits(certificate):
            log.debug("client refused", client=self.client, problem="none of client_allowed_sans")
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers, and remove the connection from the server."""
        self._broken = exc is not None or self.busy
        self._lost.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._head_complete()
        self.resume_writing()
        self._answer_read()
        self._forget(self)

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected."""
        return self._lost.is_set()

    async def received(self) -> bool:
        """Wait until the client has the whole answer; False if the connection broke before that."""
        await self.flow.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(RESET_SECONDS):
                await self._lost.wait()
        return not self._broken

    def data_received(self, data: bytes) -> None:
        """Pass complete heads on, each when the previous request is answered."""
        if self.transport.is_closing():
            return
        self._heads.feed(data)
        self._continue()

    def on_response_complete(self) -> None:
        """Continue with bytes that were received meanwhile."""
        super().on_response_complete()
        self.since = self.loop.time()
        if not self.flow.write_paused:
            self._answer_read()
        if not self.transport.is_closing():
            self._continue()

    def _continue(self) -> None:
        """Start the next request; while one is being answered, buffer at most one head."""
        if not self.busy:
            try:
                head = self._heads.next_head()
            except Refused as refused:
                self._refuse(refused)
                return
            if head is not None:
                self._head_complete()
                self.since = self.loop.time()
                super().data_received(head)
            elif self._heads and self._head_timer is None:
                self._unset_keepalive_if_required()
                self._await_head()
        if len(self._heads) > MOST_BYTES and not self.transport.is_closing():
            self.flow.pause_reading()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_timed_out)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        if self._heads:
            self._refuse(Refused(408, "The request did not come in time."))
        else:
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        self._head_complete()
        body = f"{refused.reason}\n".encode()
        status = f"{refused.status} {http.HTTPStatus(refused.status).phrase}"
        self.transport.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read the answer: start its time limit."""
        super().pause_writing()
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(ANSWER_READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read everything that was written so far."""
        super().resume_writing()
        if not self.busy:
            self._answer_read()

    def _answer_read(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
