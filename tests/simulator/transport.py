"""An httpx transport that calls the simulator without a network."""

import httpx

from tests.simulator.faults import Unreachable


class SimulatedTransport(httpx.ASGITransport):
    """Calls the simulator. During an outage, requests fail with the errors of a real network."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except Unreachable as error:
            raise httpx.ConnectError("the simulated workspace is down", request=request) from error
