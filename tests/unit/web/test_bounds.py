"""Limits on what clients can make the web server do, hold and repeat."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cdi_exporter.threads import Busy, Worker
from cdi_exporter.web.connections import CONNECTION
from cdi_exporter.web.delivery import CHUNK, LargeResponse, Outstanding
from cdi_exporter.web.heads import Refused, checked, valid_host
from cdi_exporter.web.routes import MOST_KEPT, PAGE_SECONDS, WebOptions, create_app
from tests.shown import Shown, example, facts, get, workspace


class Wire:
    """A client's connection, which records whether either side closed it."""

    def __init__(self) -> None:
        self.gone = False
        self.aborted = False
        self.transport = self

    async def received(self) -> bool:
        return not self.gone

    def abort(self) -> None:
        self.aborted = True


def test_a_worker_refuses_calls_over_its_limit() -> None:
    """A call over the limit is refused at once.

    When the others are done, calls are accepted again.
    """

    async def main() -> None:
        release = asyncio.Event()
        loop = asyncio.get_running_loop()
        worker = Worker("test", most_waiting=3)

        def wait() -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(60)

        calls = [asyncio.create_task(worker.run(wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await worker.run(wait)
        release.set()
        await asyncio.gather(*calls)
        assert await worker.run(lambda: 7) == 7

    asyncio.run(main())


def test_equal_pages_are_rendered_once_a_second() -> None:
    """All clients get the same page until the data or the second changes.

    Only some pages are kept.
    """
    source = Shown(workspace("w", facts("a")))
    rendered: list[str] = []

    async def render(work: Callable[[], bytes]) -> bytes:
        await asyncio.sleep(0)
        rendered.append("page")
        return work()

    async def main() -> None:
        source.render_page = render  # type: ignore[method-assign]
        transport = httpx.ASGITransport(create_app(source, WebOptions()))
        async with httpx.AsyncClient(transport=transport, base_url="http://e") as client:
            answers = await asyncio.gather(*(client.get("/") for _ in range(200)))
            assert len({answer.text for answer in answers}) == 1
            assert len(rendered) == 1
            source.show(workspace("w", facts("b")))
            await client.get("/")
            assert len(rendered) == 2
            source.now += PAGE_SECONDS
            await client.get("/")
            assert len(rendered) == 3
            for number in range(1, MOST_KEPT):
                await client.get(f"/?q={number}")
            await client.get("/")
            assert len(rendered) == 2 + MOST_KEPT
            for number in range(MOST_KEPT, 2 * MOST_KEPT):
                await client.get(f"/?q={number}")
            await client.get("/")
            assert len(rendered) == 3 + 2 * MOST_KEPT

    asyncio.run(main())


def test_too_many_pages_are_answered_with_503() -> None:
    """The response contains the time after which to retry."""

    async def busy(work: object) -> bytes:
        raise Busy

    source = example()
    source.render_page = busy  # type: ignore[method-assign]
    for path in ("/", "/api/v1/status"):
        answer = get(source, path)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"


def test_the_oldest_outstanding_answers_are_aborted() -> None:
    """An answer to several clients counts once. The newest answer is never aborted."""
    outstanding = Outstanding(most=100)
    wires: list[Any] = [Wire() for _ in range(12)]
    shared = bytes(30)
    holds = [outstanding.holding(shared, wire) for wire in wires[:5]]
    for hold in holds:
        hold.__enter__()
    assert outstanding.size == 30
    more = [outstanding.holding(bytes([number]) * 30, wires[5 + number]) for number in range(7)]
    for hold in more:
        hold.__enter__()
    assert outstanding.size <= 120  # four answers of the newest one's size
    assert [wire.aborted for wire in wires] == [True] * 8 + [False] * 4
    for hold in reversed([*holds, *more]):
        hold.__exit__(None, None, None)
    assert outstanding.size == 0


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
def test_a_large_answer_is_sent_in_chunks(size: int) -> None:
    """No chunk is larger than the limit. Together the chunks are the whole answer."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    body = bytes(range(256)) * (size // 256 + 1)
    response = LargeResponse(body[:size], {}, Outstanding())
    asyncio.run(response({"type": "http"}, receive, send))
    start, *chunks = sent
    assert (b"content-length", str(size).encode()) in start["headers"]
    assert b"".join(each["body"] for each in chunks) == body[:size]
    assert max(len(each["body"]) for each in chunks) <= CHUNK
    assert [each["more_body"] for each in chunks] == [True] * (len(chunks) - 1) + [False]


def test_a_delivered_answer_is_released_at_once() -> None:
    """The memory is not held during the delivery check, which takes up to half a second."""
    body = bytes(2 * CHUNK)
    before = sys.getrefcount(body)
    held: list[int] = []

    class Taking(Wire):
        async def received(self) -> bool:
            held.append(sys.getrefcount(body) - before)
            return True

    async def send(message: Any) -> None:
        """Accept the message."""

    async def receive() -> Any:
        raise AssertionError

    async def main() -> None:
        scope = {"type": "http", "state": {CONNECTION: Taking()}}
        await LargeResponse(body, {}, Outstanding(), after=lambda: None)(scope, receive, send)

    asyncio.run(main())
    assert held == [0]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:10234", "[::1]:10234", "10.0.0.1", "a-b_c.example:1"]
)
def test_a_valid_host_header_is_used_in_service_discovery(host: str) -> None:
    """Prometheus sends such a header."""
    assert valid_host(host) == host
    assert f"{host}" in get(example(), "/sd", headers={"Host": host}).text


@pytest.mark.parametrize(
    "host",
    ["", 'evil"<b>', "x y:1", "a:1/../", "a,b", "[::1", "a:123456", "a:", "ä", "a@b", "a\tb"],
)
def test_an_invalid_host_header_is_not_echoed(host: str) -> None:
    """Service discovery refuses it. The page shows a placeholder."""
    assert valid_host(host) is None
    if host.isascii():
        assert get(example(), "/sd", headers={"Host": host}).status_code == 400
        page = get(example(), "/", headers={"Host": host})
        assert page.status_code == 200


@pytest.mark.parametrize(
    "path", ["/-/metrics", "/sd", "/", "/api/v1/status", "/nowhere", "/-/healthy", "/probe"]
)
def test_every_answer_forbids_sniffing_and_caching(path: str) -> None:
    """This includes errors."""
    answer = get(example(), path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://exporter:10234"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_another_site_cannot_reload(headers: dict[str, str], status: int) -> None:
    """A form on another website can send a request to the exporter through a user's browser."""
    source = example()

    async def reload() -> None:
        """Succeed."""

    source.reload = reload  # type: ignore[method-assign]
    answer = get(
        source, "/-/reload", method="POST", headers=headers, web={"enable_lifecycle": True}
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://localhost:10234/metrics", "/metrics"),
        ("HTTP://LOCALHOST:10234/probe?workspace=a", "/probe?workspace=a"),
        ("https://localhost:10234", "/"),
        ("http://localhost:10234?x=1", "/?x=1"),
        ("/metrics", "/metrics"),
    ],
)
def test_a_whole_url_is_accepted_as_the_target(target: str, path: str) -> None:
    """Clients behind a proxy send such a target."""
    head = f"GET {target} HTTP/1.1\r\nHost: localhost:10234\r\n\r\n".encode()
    assert checked(head) == f"GET {path} HTTP/1.1\r\nHost: localhost:10234\r\n\r\n".encode()


@pytest.mark.parametrize("hosts", ["", "Host: other\r\n", "Host: a\r\nHost: localhost\r\n"])
def test_a_target_on_another_host_is_refused(hosts: str) -> None:
    """A request must have a single, unambiguous host."""
    with pytest.raises(Refused) as refused:
        checked(f"GET http://localhost/metrics HTTP/1.1\r\n{hosts}\r\n".encode())
    assert refused.value.status == 400
