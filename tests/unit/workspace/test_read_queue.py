"""The queue of history reads and its request permits."""

import asyncio

import pytest

from cdi_exporter.braze.sharing import RequestPermit
from cdi_exporter.model import Endpoint
from cdi_exporter.workspace.read_queue import ReadQueue
from cdi_exporter.workspace.schedule import ReadReason
from tests.unit.braze.client_helpers import ClientUnderTest, Server, client_under_test, page
from tests.virtual import run


def reads_of(braze: ClientUnderTest) -> ReadQueue:
    async def permit() -> RequestPermit:
        return await braze.client.permit(Endpoint.HISTORY, braze.stats)

    async def read(identifier: str, permit: RequestPermit) -> None:
        await braze.client.history(identifier, None, permit)

    def report(error: Exception) -> None:
        raise error

    return ReadQueue(permit, read, report)


@pytest.mark.parametrize("steps", range(8))
def test_a_queue_that_is_closed_gives_back_every_permit(steps: int) -> None:
    """The queue is closed before a read has started, or while it is in flight."""

    async def main() -> bool:
        async with client_under_test(Server(page(), seconds=1)) as braze:
            await braze.history()
            reads = reads_of(braze)
            for number in range(20):
                reads.put(str(number), ReadReason.CHANGE)
            for _ in range(steps):
                await asyncio.sleep(0)
            await reads.close()
            await asyncio.sleep(0)
            await asyncio.gather(*(braze.history() for _ in range(10)))
            return braze.settled()

    assert run(main())
