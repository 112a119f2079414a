"""A signal that something changed, for any number of waiting tasks."""

import asyncio


class ChangeSignal:
    """Wakes all waiting tasks at each notification."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all waiting tasks."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next notification."""
        await self._next.wait()
