"""Threads for calls that would block the event loop.

Every thread here is a daemon: a call that hangs (a name server, a disk) delays neither other
work nor the exit of the process. The event loop's own pool would do both.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_loop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in an event loop whose host name lookups delay nothing else."""

    async def with_lookups() -> Result:
        asyncio.get_running_loop().set_default_executor(Lookups())
        return await main

    return asyncio.run(with_lookups())


def start(call: Callable[[], Result], name: str = "call") -> "Future[Result]":
    """Make a call in a thread of its own; it fails with OSError if there are too many threads."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()
    try:
        threading.Thread(target=_settle, args=(future, call), name=name, daemon=True).start()
    except RuntimeError as error:
        future.set_exception(OSError(str(error)))
    return future


async def in_thread(call: Callable[[], Result]) -> Result:
    """The result of a call, made in a thread of its own."""
    return await asyncio.wrap_future(start(call))


class Busy(Exception):
    """So many calls wait for a worker that it takes no more."""


class Worker:
    """One thread that makes one call after the other.

    At most `most_waiting` calls wait or are being made. After each call the thread rests for
    `rest` times the time that the call took: it leaves that much of Python's lock to others.
    """

    def __init__(self, name: str, *, most_waiting: int | None = None, rest: float = 0.0) -> None:
        self._name, self._most_waiting, self._rest = name, most_waiting, rest
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._waiting = 0
        self._started = False

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call; one whose caller is cancelled while it waits is not made.

        Raises Busy, at once, if too many calls wait.
        """
        if self._most_waiting is not None and self._waiting >= self._most_waiting:
            raise Busy
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        future: Future[Result] = Future()
        self._waiting += 1
        try:
            self._calls.put((future, call))
            return await asyncio.wrap_future(future)
        finally:
            self._waiting -= 1

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            began = time.monotonic()
            if future.set_running_or_notify_cancel():
                _settle(future, call)
            if self._rest:
                time.sleep(self._rest * (time.monotonic() - began))


async def result_of(call: "asyncio.Future[Result]") -> Result:
    """The result of a call, which continues if this wait for it is cancelled.

    `asyncio.shield` would log, since Python 3.14, an error that comes after the cancellation.
    """
    try:
        await asyncio.wait([call])
    except asyncio.CancelledError:
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise
    return call.result()


class Lookups(ThreadPoolExecutor):
    """The default executor of the event loop, in which it looks up host names.

    Each name has a thread of its own, so one that hangs delays no other. Lookups of the same
    name at the same time share a thread, so there are no more threads than names. asyncio
    accepts only a ThreadPoolExecutor here; its pool is not used.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._lock = threading.Lock()
        self._under_way: dict[Any, Future[Any]] = {}

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Make the call, or join an equal one that is under way."""
        key = (fn, args)
        with self._lock:
            future: Future[Result] | None = self._under_way.get(key)
            if future is None:
                future = Future()
                future.set_running_or_notify_cancel()  # one caller must not cancel it for others

                def end(_: object) -> None:
                    with self._lock:
                        del self._under_way[key]

                future.add_done_callback(end)
                self._under_way[key] = future
                call = lambda: fn(*args, **kwargs)  # noqa: E731 -- mypy knows its type
                threading.Thread(target=_settle, args=(future, call), daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for nothing: the threads are daemons."""


def _settle(future: "Future[Result]", call: Callable[[], Result]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 -- it belongs to whoever awaits the future
        future.set_exception(error)
    else:
        future.set_result(result)
