"""Start and stop of the exporter's parts."""

import asyncio
from typing import Any

import pytest

from cdi_exporter.app import _at_most, _started
from cdi_exporter.errors import StartError


class Failing:
    """A listener whose server ends before it answers requests."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def wait_started(self) -> None:
        await asyncio.Event().wait()

    async def serve(self) -> None:
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [ValueError("broken"), None])
def test_the_start_does_not_wait_for_a_server_that_failed(error: Exception | None) -> None:
    """The server's own error is raised, or a StartError if it ended without one."""

    async def main() -> None:
        listener: Any = Failing(error)
        task = asyncio.create_task(listener.serve())
        with pytest.raises(ValueError if error else StartError):
            await asyncio.wait_for(_started(listener, task), 60)

    asyncio.run(main())


def test_a_shutdown_step_that_hangs_is_abandoned() -> None:
    """It is abandoned after its time limit, without an error."""
    asyncio.run(asyncio.wait_for(_at_most(0.01, asyncio.sleep(3600)), 60))
