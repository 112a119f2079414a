"""Waiting until something happens, whatever it is."""

import asyncio


class Pulse:
    """Wakes all who wait; who comes later waits for the next beat."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Something happened."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next beat."""
        await self._next.wait()
