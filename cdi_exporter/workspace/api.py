"""The API as one workspace uses it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from cdi_exporter.braze.budget import Budget
from cdi_exporter.braze.client import Client
from cdi_exporter.braze.sharing import RequestPermit
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.clock import Clock, Instant
from cdi_exporter.errors import ApiError, ConnectionFailed
from cdi_exporter.model import Endpoint, HistoryPage, IntegrationsPage
from cdi_exporter.snapshot import EndpointSnapshot
from cdi_exporter.threads import result_of

Page = TypeVar("Page", IntegrationsPage, HistoryPage)


class Api:
    """A client, which workspaces may share, with the stats of this one and the clock.

    The client may be replaced; the stats stay.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client, self.clock = client, clock
        self.stats = RequestStats()
        self._requests: set[asyncio.Task[Any]] = set()
        """Requests in flight; the event loop keeps only weak references."""

    def now(self) -> float:
        """Seconds of the event loop."""
        return self.clock.monotonic()

    def instant(self) -> Instant:
        """The time on all three clocks."""
        wall = self.clock.wall()
        return Instant(self.clock.monotonic(), wall, wall + self.client.skew)

    def budget(self, endpoint: Endpoint) -> Budget:
        """The requests that may be made."""
        return self.client.budgets[endpoint]

    async def integrations(self, cursor: str | None) -> IntegrationsPage:
        """One page of the list; raises ApiError.

        If it is cancelled while it waits for the budget, no request is made.
        """
        while True:
            client = self.client
            try:
                permit = await client.permit(Endpoint.INTEGRATIONS, self.stats)
                return await self._to_its_end(client.integrations(cursor, self.stats, permit))
            except ConnectionFailed:
                if client is self.client:  # else the configuration was reloaded meanwhile
                    raise

    async def permit(self) -> RequestPermit:
        """Wait until one page of a history may be read; raises ApiError."""
        while True:
            client = self.client
            try:
                return await client.permit(Endpoint.HISTORY, self.stats)
            except ConnectionFailed:
                if client is self.client:
                    raise

    async def history(
        self, identifier: str, cursor: str | None, permit: RequestPermit
    ) -> HistoryPage:
        """One page of a history; raises ApiError."""
        return await self._to_its_end(self.client.history(identifier, cursor, permit))

    async def _to_its_end(self, request: Coroutine[None, None, Page]) -> Page:
        """Make a request; if the caller is cancelled, the request still ends within its timeout.

        A cancelled request would occupy one of the client's connections for good. An error is
        raised without its traceback: it may be stored for long, and the frames of the traceback
        hold the body of the answer.
        """
        task = asyncio.create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        try:
            return await result_of(task)
        except ApiError as error:
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            # The task holds its error with the traceback, and the traceback this frame: a cycle
            # that would hold the body until the garbage collector runs.
            del task

    def snapshot(self) -> tuple[EndpointSnapshot, ...]:
        """The figures of each endpoint."""
        return tuple(
            self.stats.endpoints[endpoint].snapshot(self.budget(endpoint).last)
            for endpoint in Endpoint
        )
