"""The API as one workspace asks it."""

from cdi_exporter.braze.answers import Endpoint
from cdi_exporter.braze.budget import Budget
from cdi_exporter.braze.client import Client
from cdi_exporter.braze.traffic import Traffic
from cdi_exporter.braze.turn import Turn
from cdi_exporter.braze.wire import HistoryPage, IntegrationsPage
from cdi_exporter.clock import Clock
from cdi_exporter.errors import ConnectionFailed
from cdi_exporter.snapshot import EndpointSnapshot


class Api:
    """A client, which other workspaces may share, with this one's traffic and the clock.

    The client may be replaced; what the traffic counted stays.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client, self.clock = client, clock
        self.traffic = Traffic(tuple(Endpoint))

    def now(self) -> float:
        """Seconds of the event loop."""
        return self.clock.monotonic()

    def wall(self) -> float:
        """Unix seconds here."""
        return self.clock.wall()

    def server(self) -> float:
        """Unix seconds of the API's clock."""
        return self.clock.wall() + self.client.skew

    def budget(self, endpoint: Endpoint) -> Budget:
        """The requests that may be made."""
        return self.client.budgets[endpoint]

    def typical_seconds(self, endpoint: Endpoint) -> float:
        """What an answer took of late."""
        return self.traffic.endpoints[endpoint].typical_seconds

    async def integrations(self, cursor: str | None) -> IntegrationsPage:
        """One page of the list; raises ApiError."""
        while True:
            client = self.client
            try:
                return await client.integrations(cursor, self.traffic)
            except ConnectionFailed:
                if client is self.client:  # else the configuration was reloaded meanwhile
                    raise

    async def turn(self) -> Turn:
        """Wait until one page of a history may be read; raises ApiError."""
        while True:
            client = self.client
            try:
                return await client.turn(Endpoint.HISTORY, self.traffic)
            except ConnectionFailed:
                if client is self.client:
                    raise

    async def history(self, identifier: str, cursor: str | None, turn: Turn) -> HistoryPage:
        """One page of a history; raises ApiError."""
        return await self.client.history(identifier, cursor, turn)

    def snapshot(self) -> tuple[EndpointSnapshot, ...]:
        """The figures of each endpoint."""
        return tuple(
            self.traffic.endpoints[endpoint].snapshot(self.budget(endpoint).last)
            for endpoint in Endpoint
        )
