"""The right to one request."""

import asyncio
from types import TracebackType
from typing import Self

from cdi_exporter.braze.answers import Endpoint
from cdi_exporter.braze.budget import Budget, RateLimitHeaders
from cdi_exporter.braze.traffic import Traffic


class Turn:
    """The right to one request: a slot of the budget, and a place among those at once.

    Who waits for a slot keeps no place: the other endpoint may need it. As a context
    manager it gives back what it still holds.
    """

    def __init__(
        self, endpoint: Endpoint, traffic: Traffic, budget: Budget, places: asyncio.Semaphore
    ) -> None:
        self.endpoint, self.traffic = endpoint, traffic
        self._budget, self._places = budget, places
        self._held = False

    async def wait(self) -> None:
        """Take a slot of the budget when there is one, then a place."""
        waited = await self._budget.acquire()
        self.traffic.endpoints[self.endpoint].budget_wait += waited
        try:
            await self._places.acquire()
        except BaseException:
            self._budget.forgo()
            raise
        self._held = True

    def release(self, headers: RateLimitHeaders | None, *, refused: bool) -> None:
        """The request is over; tell the budget what the answer said."""
        self._held = False
        self._places.release()
        self._budget.release(headers, refused=refused)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held:
            self._held = False
            self._places.release()
            self._budget.forgo()
