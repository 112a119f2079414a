"""One connection of a client: the requests that it lets through, and how long each may take."""

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
"""The name of a request's connection in the request's state."""

HEAD_SECONDS = 10.0
"""From a request's first byte, or from the connection, to the end of its head."""

TAKE_SECONDS = 60.0
"""For a client to take a whole answer, once it does not fit into the system's buffers: no scrape
timeout is longer than the scrape interval, which is a minute at most."""

RESET_SECONDS = 0.5
"""To find out whether a client closed its socket without reading the answer: its system then resets
the connection as soon as the answer arrives."""


class Connection(H11Protocol):
    """uvicorn's protocol with strict heads, and an end to everything that a client may delay."""

    def __init__(
        self, config: Config, state: ServerState, forget: Callable[["Connection"], None]
    ) -> None:
        super().__init__(config, state, {CONNECTION: self})
        self._forget = forget
        self._heads = RequestHeads()
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._broken = False
        """Whether the connection was lost before the answer under way was received."""
        self.since = self.loop.time()

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless the client's certificate has none of the names that it needs."""
        super().connection_made(transport)
        # So that `drain` waits for the last byte. A limit of 0 would always be reached with TLS.
        transport.set_write_buffer_limits(high=1, low=0)
        context = transport.get_extra_info("sslcontext")
        certificate = transport.get_extra_info("peercert")
        if isinstance(context, ServerContext) and not context.admits(certificate):
            log.debug("client refused", client=self.client, problem="none of client_allowed_sans")
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._broken = exc is not None or self.busy
        self._lost.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._head_came()
        self.resume_writing()
        self._all_taken()
        self._forget(self)

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._lost.is_set()

    def abort(self) -> None:
        """Hang up."""
        self.transport.abort()

    async def received(self) -> bool:
        """Wait until the client has the whole answer; False if the connection broke before."""
        await self.flow.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(RESET_SECONDS):
                await self._lost.wait()
        return not self._broken

    def data_received(self, data: bytes) -> None:
        """Let whole heads through, one when the other is answered."""
        if self.transport.is_closing():
            return
        self._heads.feed(data)
        self._go_on()

    def on_response_complete(self) -> None:
        """Go on with what has come in the meantime."""
        super().on_response_complete()
        self.since = self.loop.time()
        if not self.flow.write_paused:
            self._all_taken()
        if not self.transport.is_closing():
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next request; while one is being answered, read no more than its size."""
        if not self.busy:
            try:
                head = self._heads.next_head()
            except Refused as refused:
                self._refuse(refused)
                return
            if head is not None:
                self._head_came()
                self.since = self.loop.time()
                super().data_received(head)
            elif self._heads and self._deadline is None:
                self._unset_keepalive_if_required()
                self._await_head()
        if len(self._heads) > MOST_BYTES and not self.transport.is_closing():
            self.flow.pause_reading()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self._heads:
            self._refuse(Refused(408, "The request did not come in time."))
        else:
            self.transport.close()

    def _refuse(self, refused: Refused) -> None:
        self._head_came()
        body = f"{refused.reason}\n".encode()
        status = f"{refused.status} {http.HTTPStatus(refused.status).phrase}"
        self.transport.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take what is written for it."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken what was written so far."""
        super().resume_writing()
        if not self.busy:
            self._all_taken()

    def _all_taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
