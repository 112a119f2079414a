"""Waiting until something happens, whatever it is."""

import asyncio


class ChangeSignal:
    """Wakes all who wait; who comes later waits for the next notification."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Something happened."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next notification."""
        await self._next.wait()
