"""The API as one workspace asks it."""

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

Page = TypeVar("Page", IntegrationsPage, HistoryPage)


class Api:
    """A client, which other workspaces may share, with this one's stats and the clock.

    The client may be replaced; what the stats counted stays.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client, self.clock = client, clock
        self.stats = RequestStats(tuple(Endpoint))
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
        """Make a request, and let it end within its timeout if the caller is cancelled.

        A cancelled request would keep its place among the client's connections for good. An error
        comes without its traceback: it may be kept for long, and with it the body of the answer
        that the client's frames hold.
        """
        task = asyncio.create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except ApiError as error:
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            # The task keeps its error with the traceback, and the error this frame: together
            # they would keep the body until the garbage collector looks for cycles.
            del task

    def _ended(self, task: asyncio.Task[Page]) -> None:
        self._requests.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, since nobody may wait for it any more

    def snapshot(self) -> tuple[EndpointSnapshot, ...]:
        """The figures of each endpoint."""
        return tuple(
            self.stats.endpoints[endpoint].snapshot(self.budget(endpoint).last)
            for endpoint in Endpoint
        )
