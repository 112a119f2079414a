"""Calls that begin at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cdi_exporter.state.store import StateError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls give, each in its own thread: the answer, or the StateError."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except StateError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))
