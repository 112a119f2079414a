"""Runs blocking calls in daemon threads.

A call that hangs, such as one to a name server or a disk, delays neither other calls nor the exit
of the process. In the thread pool of asyncio, it would delay both.
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
    """Run a coroutine in an event loop that looks up host names with `Lookups`."""

    async def with_lookups() -> Result:
        asyncio.get_running_loop().set_default_executor(Lookups())
        return await main

    return asyncio.run(with_lookups())


def start(call: Callable[[], Result], name: str = "call") -> "Future[Result]":
    """Run a call in a new thread. If no thread can be started, the future fails with OSError."""
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()
    try:
        threading.Thread(target=_settle, args=(future, call), name=name, daemon=True).start()
    except RuntimeError as error:
        future.set_exception(OSError(str(error)))
    return future


async def in_thread(call: Callable[[], Result]) -> Result:
    """The result of a call that runs in a new thread."""
    return await asyncio.wrap_future(start(call))


class Busy(Exception):
    """A worker rejected a call because too many others are waiting."""


class Worker:
    """A thread that runs one call at a time.

    At most `most_waiting` calls wait or run. After each call the thread sleeps `rest` times as long
    as the call took, to leave Python's global lock to other threads.
    """

    def __init__(self, name: str, *, most_waiting: int | None = None, rest: float = 0.0) -> None:
        self._name, self._most_waiting, self._rest = name, most_waiting, rest
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._waiting = 0
        self._started = False

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of a call, which is skipped if the caller is cancelled before it starts.

        Raises Busy immediately if too many calls are waiting.
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
    """The result of a call, which continues if the caller is cancelled.

    From Python 3.14 on, `asyncio.shield` would log an error that occurs after the cancellation.
    """
    try:
        await asyncio.wait([call])
    except asyncio.CancelledError:
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise
    return call.result()


class Lookups(ThreadPoolExecutor):
    """The executor in which the event loop looks up host names, with one thread per name.

    A lookup that hangs does not delay that of another name. Simultaneous lookups of a name share
    a thread. asyncio requires a subclass of ThreadPoolExecutor, whose own threads are not used.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._lock = threading.Lock()
        self._running: dict[Any, Future[Any]] = {}

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Run the call, or wait for an equal one that is running."""
        key = (fn, args)
        with self._lock:
            future: Future[Result] | None = self._running.get(key)
            if future is None:
                future = Future()
                future.set_running_or_notify_cancel()  # one of several callers must not cancel it
                future.add_done_callback(lambda _: self._running.pop(key))
                self._running[key] = future
                call = lambda: fn(*args, **kwargs)  # noqa: E731 -- mypy knows its type
                threading.Thread(target=_settle, args=(future, call), daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Return immediately, since the threads are daemons."""


def _settle(future: "Future[Result]", call: Callable[[], Result]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 -- raised where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
