"""The memory of rejected responses, which is freed without the garbage collector."""

import gc
import tracemalloc
from collections.abc import Iterator

import httpx
import pytest

from cdi_exporter.errors import ApiError
from cdi_exporter.workspace.api import Api
from tests.unit.braze.client_helpers import Server, client_under_test, page
from tests.virtual import run, virtual_clock

ANSWERS = 20


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """Trace memory with the garbage collector off."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"[" * 500_000),
        (200, b"no JSON " * 60_000),
        (200, page(*[{"job_status": "running"}] * 20_000).content),
        (200, b" " * 2_000_000),
        (400, b" " * 60_000),
    ],
    ids=["too deep", "no JSON", "too many rows", "too large", "an error"],
)
def test_a_rejected_response_is_not_kept_in_memory(status: int, body: bytes) -> None:
    """After several rejected responses, memory has not grown by their bodies."""

    async def kept() -> int:
        clock = virtual_clock()
        async with client_under_test(
            Server(httpx.Response(status, content=body)), clock=clock
        ) as braze:
            api = Api(braze.client, clock)
            before = 0
            for number in range(ANSWERS + 1):
                with pytest.raises(ApiError):
                    await api.history("abc", None, await api.permit())
                if not number:  # after the one-time allocations
                    before = tracemalloc.get_traced_memory()[0]
            return tracemalloc.get_traced_memory()[0] - before

    assert run(kept()) < 2 * len(body)
