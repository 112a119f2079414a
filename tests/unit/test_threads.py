"""Calls outside the event loop. A call that hangs must not delay anything else."""

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cdi_exporter.threads import Lookups, Worker, in_thread, result_of


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """An event that is set at the end, to release calls that wait for it."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


@pytest.mark.parametrize("names", [6, 64])
def test_lookups_that_hang_do_not_delay_other_lookups(names: int) -> None:
    """Another name is looked up at once, however many lookups hang."""

    async def main(release: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Lookups())
        stuck = [loop.run_in_executor(None, release.wait, 60 + name) for name in range(names)]
        found = await asyncio.wait_for(loop.getaddrinfo("127.0.0.1", 80), 30)
        assert found[0][4] == ("127.0.0.1", 80)
        assert not any(each.done() for each in stuck)
        for each in stuck:
            each.cancel()

    with hanging() as release:
        asyncio.run(main(release))


def test_equal_lookups_share_a_thread_and_outlive_a_cancelled_caller() -> None:
    """A name whose lookup hangs takes one thread, however often it is requested."""
    calls: list[str] = []

    def look_up(name: str, release: threading.Event) -> str:
        calls.append(name)
        release.wait(60)
        return "address"

    async def main(release: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Lookups())
        before = threading.active_count()
        lookups = [loop.run_in_executor(None, look_up, "name", release) for _ in range(50)]
        assert threading.active_count() <= before + 1
        lookups[0].cancel()
        await asyncio.sleep(0)
        release.set()
        assert set(await asyncio.gather(*lookups[1:])) == {"address"}
        assert calls == ["name"]
        assert await loop.run_in_executor(None, look_up, "name", release) == "address"
        assert calls == ["name", "name"]

    with hanging() as release:
        asyncio.run(main(release))


def test_an_error_of_a_lookup_reaches_its_caller() -> None:
    """The event loop's own pool does the same."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Lookups())
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("256.256.256.256", 80, flags=socket.AI_NUMERICHOST)

    asyncio.run(main())


def test_a_worker_makes_calls_in_order_and_skips_cancelled_ones() -> None:
    """A call is skipped if its caller was cancelled before the call started."""
    made: list[int] = []

    async def main(release: threading.Event) -> None:
        worker = Worker("test")
        first = asyncio.create_task(worker.run(release.wait))
        others = [asyncio.create_task(worker.run(lambda n=n: made.append(n))) for n in range(3)]  # type: ignore[misc]
        await asyncio.sleep(0)
        others[1].cancel()
        await asyncio.sleep(0)
        release.set()
        assert await first
        await asyncio.gather(*others, return_exceptions=True)
        assert made == [0, 2]
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)

    with hanging() as release:
        asyncio.run(main(release))


EXITS = """
import asyncio, threading, time
from cdi_exporter.threads import Lookups, Worker, in_thread, result_of

async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Lookups())
    hang = threading.Event().wait
    loop.run_in_executor(None, hang)
    tasks = [asyncio.create_task(each) for each in (Worker("w").run(hang), in_thread(hang))]
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


def test_calls_that_hang_do_not_hold_up_the_exit() -> None:
    """The process ends even if a lookup, a worker's call and another call never return."""
    done = subprocess.run([sys.executable, "-c", EXITS], timeout=60, check=False)
    assert done.returncode == 0


def test_a_call_in_a_thread_gives_its_result() -> None:
    """An error is raised as well."""
    assert asyncio.run(in_thread(lambda: 7)) == 7
    with pytest.raises(KeyError):
        asyncio.run(in_thread(lambda: dict[str, int]()["missing"]))


@pytest.mark.parametrize("late", [None, ValueError("too late")])
def test_a_call_outlives_a_cancelled_wait_and_its_error_is_not_logged(
    late: Exception | None,
) -> None:
    """Another caller may still wait for the call."""

    async def main() -> None:
        complaints: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: complaints.append(it))
        call: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        waits = [asyncio.create_task(result_of(call)) for _ in range(2)]
        await asyncio.sleep(0)
        for each in waits[: 1 if late is None else 2]:
            each.cancel()
        await asyncio.sleep(0)
        assert not call.done()
        if late is None:
            call.set_result("done")
            assert await waits[1] == "done"
        else:
            call.set_exception(late)
        del call
        await asyncio.gather(*waits, return_exceptions=True)
        waits.clear()
        gc.collect()
        await asyncio.sleep(0)
        assert complaints == []

    asyncio.run(main())
