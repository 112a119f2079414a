"""Requests of the client, and how it handles each answer."""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import httpx
import pytest
import respx

from cdi_exporter import __version__
from cdi_exporter.braze.client import MOST_BYTES, MOST_ERROR_BYTES, TRIES
from cdi_exporter.clock import Clock
from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedStatus,
)
from cdi_exporter.model import Endpoint
from tests.unit.braze.client_helpers import (
    BASE,
    EMPTY,
    KEY,
    Body,
    ClientUnderTest,
    Server,
    client_under_test,
    now,
    page,
)
from tests.virtual import EPOCH, run, virtual_clock

BOTH = [Endpoint.INTEGRATIONS, Endpoint.HISTORY]
LINK = '</cdi/integrationsabc/job_sync_status?cursor=c2tpcDoxMA==>; rel="next"'


def requests_sent(*pages: tuple[str, str | None]) -> list[httpx.Request]:
    """The requests that fetch these pages of histories. Each is answered."""

    async def main() -> list[httpx.Request]:
        with respx.mock() as mock:
            route = mock.route(host="rest.test").respond(json=EMPTY)
            async with client_under_test() as braze:
                for identifier, cursor in pages:
                    await braze.history(identifier, cursor)
            return [call.request for call in route.calls]

    return run(main())


def error_of(
    response: httpx.Response, endpoint: Endpoint = Endpoint.HISTORY
) -> tuple[ApiError, ClientUnderTest, int]:
    """The error that an answer causes, the client afterwards, and the number of requests."""

    async def main() -> tuple[ApiError, ClientUnderTest, int]:
        with respx.mock() as mock:
            route = mock.route(host="rest.test").mock(return_value=response)
            async with client_under_test() as braze:
                with pytest.raises(ApiError) as caught:
                    await braze.fetch(endpoint)
            assert braze.settled()
            return caught.value, braze, route.call_count

    return run(main())


# Requests


@pytest.mark.parametrize(
    ("identifier", "path"),
    [
        ("3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10", "3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10"),
        ("a/b", "a%2Fb"),
        ("../../users", "..%2F..%2Fusers"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b+c", "a%20b%2Bc"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("käse", "k%C3%A4se"),
        ("a@b:c", "a%40b%3Ac"),
        ("line\nbreak", "line%0Abreak"),
        ("\ud83d", "%3F"),
    ],
)
def test_an_id_is_a_single_path_segment(identifier: str, path: str) -> None:
    """An ID with any characters is percent-encoded and cannot change the path."""
    (request,) = requests_sent((identifier, None))
    assert request.url.raw_path.decode() == f"/cdi/integrations/{path}/job_sync_status"
    assert request.url.host == "rest.test"


@pytest.mark.parametrize(
    ("cursor", "query"),
    [
        (None, b""),
        ("c2tpcDoxMDA=", b"cursor=c2tpcDoxMDA%3D"),
        ("a+b/c==", b"cursor=a%2Bb%2Fc%3D%3D"),
        ("a&b=c#d", b"cursor=a%26b%3Dc%23d"),
        ("%3D", b"cursor=%253D"),
        ("é x", b"cursor=%C3%A9%20x"),
        ("\ud83d", b"cursor=%3F"),
    ],
)
def test_a_cursor_is_percent_encoded(cursor: str | None, query: bytes) -> None:
    """A cursor is opaque. Each of its characters must arrive unchanged."""
    (request,) = requests_sent(("abc", cursor))
    assert request.url.query == query


def test_a_request_has_the_documented_method_url_and_headers() -> None:
    """A request has the key as a bearer token, asks for JSON and names the exporter."""
    (request,) = requests_sent(("abc", None))
    assert request.method == "GET"
    assert str(request.url) == f"{BASE}/cdi/integrations/abc/job_sync_status"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"] == f"cdi-exporter/{__version__}"
    assert request.content == b""


def test_the_list_has_its_own_url() -> None:
    """With a cursor and without one."""

    async def main() -> list[str]:
        async with client_under_test(server := Server(page())) as braze:
            await braze.integrations()
            await braze.integrations("a=")
        return [str(request.url) for request in server.requests]

    assert run(main()) == [f"{BASE}/cdi/integrations", f"{BASE}/cdi/integrations?cursor=a%3D"]


def test_only_the_cursor_of_a_link_is_used() -> None:
    """The documented Link URL is malformed. Its cursor is sent to the endpoint's own path."""

    async def main() -> list[str]:
        async with client_under_test(server := Server(page(link=LINK), page())) as braze:
            first = await braze.history("abc")
            await braze.history("abc", first.next_cursor)
        return [request.url.raw_path.decode() for request in server.requests]

    path = "/cdi/integrations/abc/job_sync_status"
    assert run(main()) == [path, f"{path}?cursor=c2tpcDoxMA%3D%3D"]


def test_a_changed_key_is_used_by_the_next_request() -> None:
    """The key is read again for each request, including retries."""

    async def main() -> list[str]:
        keys = iter(["one", "two", "three"])
        server = Server(page(), page(status=503), page())
        async with client_under_test(server, key=lambda: next(keys)) as braze:
            await braze.history()
            await braze.history()
        return [request.headers["authorization"] for request in server.requests]

    assert run(main()) == ["Bearer one", "Bearer two", "Bearer three"]


def test_a_cookie_is_not_sent_back() -> None:
    """A request does not depend on the headers of earlier answers."""

    async def main() -> httpx.Request:
        server = Server(page(set_cookie="session=1; Path=/"))
        async with client_under_test(server) as braze:
            await braze.history()
            await braze.history()
        return server.requests[1]

    assert "cookie" not in run(main()).headers


# Statuses

STATUSES: list[tuple[int, type[ApiError], str, int]] = [
    (400, BadRequest, "other", 1),
    (401, Unauthorized, "unauthorized", 1),
    (403, Forbidden, "forbidden", 1),
    (404, NotFound, "other", 1),
    (429, RateLimited, "rate_limited", 1),
    (500, ServerError, "server_error", TRIES),
    (502, ServerError, "server_error", TRIES),
    (503, ServerError, "server_error", TRIES),
    (504, ServerError, "server_error", TRIES),
    (599, ServerError, "server_error", TRIES),
    (201, UnexpectedStatus, "other", 1),
    (204, UnexpectedStatus, "other", 1),
    (206, UnexpectedStatus, "other", 1),
    (304, UnexpectedStatus, "other", 1),
    (402, UnexpectedStatus, "other", 1),
    (405, UnexpectedStatus, "other", 1),
    (418, UnexpectedStatus, "other", 1),
    (600, UnexpectedStatus, "other", 1),
]


@pytest.mark.parametrize("endpoint", BOTH)
@pytest.mark.parametrize(("status", "kind", "reason", "requests"), STATUSES)
def test_each_status_has_its_error(
    status: int, kind: type[ApiError], reason: str, requests: int, endpoint: Endpoint
) -> None:
    """Each status has its reason. Each try is counted under its code. Only some are retried."""
    answer = httpx.Response(status, json={"message": "no", "errors": ["someone@example.com"]})
    error, braze, made = error_of(answer, endpoint)
    assert type(error) is kind
    assert (error.reason, error.code) == (reason, str(status))
    assert str(error).startswith(f"{status}: ")
    assert "example" not in str(error)
    assert made == requests
    assert braze.codes(endpoint) == {str(status): requests}


@pytest.mark.parametrize(
    ("endpoint", "permission"),
    [
        (Endpoint.INTEGRATIONS, "cdi.integration_list"),
        (Endpoint.HISTORY, "cdi.integration_job_status"),
    ],
)
def test_a_403_names_the_permission(endpoint: Endpoint, permission: str) -> None:
    """The message shows which permission the key lacks."""
    assert permission in str(error_of(httpx.Response(403, content=ERROR), endpoint)[0])


ERROR = b'{"message": "no", "errors": []}'
"""An error as Braze documents it."""

GATEWAYS: dict[str, tuple[dict[str, str], bytes]] = {
    "a web page": ({"content-type": "text/html"}, b"<html>Please sign in</html>"),
    "a web page of no type": ({}, b"\r\n<!doctype html><p>Please sign in"),
    "a web page that says it is JSON": ({"content-type": "application/json"}, b"<html>"),
    "text": ({"content-type": "text/plain"}, b"RBAC: access denied"),
    "a JSON text": ({"content-type": "application/json"}, b'"forbidden"'),
    "a JSON list": ({}, b'[{"message": "no"}]'),
    "JSON of somebody else": ({}, b'{"error": {"code": 403, "status": "PERMISSION_DENIED"}}'),
    "a message that is no text": ({}, b'{"message": {"en": "no"}}'),
    "an error cut short": ({}, b'{"message": "n'),
    "not gzip": ({"content-encoding": "gzip"}, b'{"message": "no"}'),
    "not text": ({}, b"\xff\xfe\xfd" * 100),
    "too large": ({}, b'{"message": "' + b" " * MOST_ERROR_BYTES + b'"}'),
    "nested too deep": ({}, b"[" * 50_000),
}
"""Responses that a proxy, gateway or firewall may send with any status."""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
@pytest.mark.parametrize("answer", GATEWAYS)
def test_a_status_from_a_proxy_is_not_blamed_on_the_key(answer: str, status: int) -> None:
    """The request is counted under its status. The reason is `invalid_response`."""
    headers, content = GATEWAYS[answer]
    error, braze, made = error_of(httpx.Response(status, headers=headers, stream=Body([content])))
    assert type(error) is InvalidResponse
    assert (error.reason, error.code, error.retryable) == ("invalid_response", str(status), False)
    assert made == 1
    assert braze.codes() == {str(status): 1}
    assert re.match(
        f"{status}: (something other than Braze answered|a web page came instead of Braze's "
        "answer); check the endpoint, and the proxies and firewalls between here and Braze",
        str(error),
    )
    assert error.web_page == ("web page" in answer)


@pytest.mark.parametrize("body", [b"", b"\r\n"])
@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
def test_a_status_without_a_body_is_believed(status: int, kind: type, body: bytes) -> None:
    """Nothing indicates that the response came from a proxy."""
    error, _, _ = error_of(httpx.Response(status, stream=Body([body])))
    assert type(error) is kind


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json", ""])
def test_an_error_of_braze_is_known_by_its_body(kind: str) -> None:
    """A proxy may change or remove the content type."""
    error, _, _ = error_of(httpx.Response(403, headers={"content-type": kind}, content=ERROR))
    assert (type(error), error.web_page) == (Forbidden, False)


@pytest.mark.parametrize("answer", GATEWAYS)
def test_a_server_error_is_recognised_with_any_body(answer: str) -> None:
    """Braze does not document the body of a 5xx. The request is retried."""
    headers, content = GATEWAYS[answer]
    error, _, _ = error_of(httpx.Response(503, headers=headers, stream=Body([content])))
    assert (type(error), error.reason, error.code) == (ServerError, "server_error", "503")


@pytest.mark.parametrize("status", [201, 202, 204, 206, 302, 304, 407, 451])
def test_an_undocumented_status_is_not_from_braze(status: int) -> None:
    """This holds even if the body looks like an error of Braze."""
    error, braze, _ = error_of(httpx.Response(status, content=ERROR if status != 204 else b""))
    assert (type(error), error.reason, error.code) == (UnexpectedStatus, "other", str(status))
    assert braze.codes() == {str(status): 1}


@pytest.mark.parametrize("content", [b"<html>Please sign in</html>", b" <!DOCTYPE html>"])
def test_a_200_with_a_web_page_is_reported_as_a_web_page(content: bytes) -> None:
    """For example, a captive portal answers like this."""
    error, braze, _ = error_of(httpx.Response(200, content=content))
    assert (type(error), error.code, error.web_page) == (InvalidResponse, "invalid_response", True)
    assert str(error).startswith("the answer is a web page instead of JSON; check")
    assert braze.codes() == {"invalid_response": 1}


@pytest.mark.parametrize("content", [ERROR, b"slow down"])
def test_a_429_from_a_gateway_is_obeyed(content: bytes) -> None:
    """A gateway's Retry-After counts. Its other rate limit headers are ignored."""

    async def main() -> float:
        headers = {"retry-after": "77", "x-ratelimit-remaining": "0", "x-ratelimit-limit": "1"}
        headers["x-ratelimit-reset"] = str(EPOCH + 3000)
        if content == ERROR:
            headers = {"retry-after": "77"}
        async with client_under_test(
            Server(httpx.Response(429, headers=headers, content=content))
        ) as braze:
            with pytest.raises(ApiError):
                await braze.history()
            return braze.client.budgets[Endpoint.HISTORY].delay()

    assert run(main()) == 77


def test_a_429_whose_body_never_ends_is_obeyed() -> None:
    """The status and Retry-After have arrived. The client does not wait long for the rest."""

    async def main() -> tuple[float, float]:
        async def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(429, headers={"retry-after": "77"}, stream=Body([b"x"] * 99, 1))

        async with client_under_test(Server(answer)) as braze:
            with pytest.raises(InvalidResponse):
                await braze.history()
            return braze.client.budgets[Endpoint.HISTORY].delay(), now()

    assert run(main()) == (77, 2)


def test_limits_from_a_gateway_are_ignored() -> None:
    """They do not delay requests and do not appear in the metrics."""

    async def main() -> tuple[float, object]:
        headers = {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"}
        headers["x-ratelimit-reset"] = str(EPOCH + 3000)
        async with client_under_test(
            Server(httpx.Response(403, headers=headers, content=b"denied"))
        ) as braze:
            with pytest.raises(InvalidResponse):
                await braze.history()
            budget = braze.client.budgets[Endpoint.HISTORY]
            return budget.delay(), budget.last.limit

    assert run(main()) == (0, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target", ["https://elsewhere.test/cdi", "//elsewhere.test/cdi", "/cdi/integrations", ""]
)
def test_no_redirect_is_followed(status: int, target: str) -> None:
    """The key is sent only to the configured endpoint."""

    async def main() -> tuple[ApiError, int, int]:
        with respx.mock(assert_all_called=False) as mock:
            configured = mock.route(host="rest.test").respond(status, headers={"location": target})
            elsewhere = mock.route(host="elsewhere.test").respond(json=EMPTY)
            async with client_under_test() as braze:
                with pytest.raises(UnexpectedStatus) as caught:
                    await braze.history()
            return caught.value, configured.call_count, elsewhere.call_count

    error, configured, elsewhere = run(main())
    assert (error.code, configured, elsewhere) == (str(status), 1, 0)


# Undocumented answers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><title>502 Bad Gateway</title></html>",
        b"upstream connect error",
        b'{"message": "success", "results": [',
        b'{"message": "success", "results": []} trailing',
        b'{"message": "success", "results": ["\xff\xfe"]}',
        b"\x80\x81\x82",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"message": "success", "results": [' + b"9" * 5_000 + b"]}",
        b"null",
        b"[]",
        b"{}",
        b'{"message": "success"}',
        b'{"message": "failure", "results": []}',
    ],
    ids=lambda body: body[:30].decode("ascii", "replace"),
)
@pytest.mark.parametrize("endpoint", BOTH)
def test_a_200_without_a_valid_page_is_invalid(body: bytes, endpoint: Endpoint) -> None:
    """It is counted as `invalid_response`, not as 200. The request is not retried."""
    error, braze, made = error_of(httpx.Response(200, content=body), endpoint)
    assert type(error) is InvalidResponse
    assert error.reason == "invalid_response"
    assert made == 1
    assert braze.codes(endpoint) == {"invalid_response": 1}


@pytest.mark.parametrize("endpoint", BOTH)
def test_a_deeply_nested_answer_is_invalid_or_one_invalid_item(endpoint: Endpoint) -> None:
    """Python's parser refuses this nesting before version 3.14. Later versions parse it."""

    async def main() -> None:
        body = b'{"message": "success", "results": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}"

        async def respond(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=body)

        async with client_under_test(Server(respond)) as braze:
            with suppress(InvalidResponse):
                assert (await braze.fetch(endpoint)).invalid == 1

    run(main())


def rows_read(**answer: Any) -> Coroutine[Any, Any, int]:
    """The number of rows that the client reads from a 200."""

    async def main() -> int:
        async def respond(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, **answer)

        async with client_under_test(Server(respond)) as braze:
            return (await braze.history()).undated_running

    return main()


PAGE = json.dumps(EMPTY | {"results": [{"job_status": "running"}]}).encode()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        (None, bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
def test_a_compressed_answer_is_read(
    encoding: str | None, compress: Callable[[bytes], bytes]
) -> None:
    """The body is sent at once or in parts, with the same result."""
    body = compress(PAGE)
    headers = {} if encoding is None else {"content-encoding": encoding}
    assert run(rows_read(headers=headers, content=body)) == 1
    bits = [body[at : at + 7] for at in range(0, len(body), 7)]
    assert run(rows_read(headers=headers, stream=Body(bits))) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_answer_may_start_with_a_byte_order_mark(encoding: str) -> None:
    """JSON must not have a byte order mark, but some servers send one."""
    assert run(rows_read(content=PAGE.decode().encode(encoding))) == 1


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("beyond", [0, 1])
def test_a_body_larger_than_one_mebibyte_is_refused(beyond: int, compressed: bool) -> None:
    """The limit applies to the decompressed body and is exact."""
    body = PAGE.rjust(MOST_BYTES + beyond)
    headers = {"content-encoding": "gzip"} if compressed else {}
    coroutine = rows_read(headers=headers, content=gzip.compress(body, 1) if compressed else body)
    if beyond:
        with pytest.raises(InvalidResponse, match="larger than 1 MiB"):
            run(coroutine)
    else:
        assert run(coroutine) == 1


@pytest.mark.parametrize(
    "rest", [b"x", bytes(90 * 2**20), gzip.compress(PAGE)], ids=["a byte", "90 MiB", "a member"]
)
def test_data_after_the_end_of_a_gzip_member_is_refused(rest: bytes) -> None:
    """It is refused at once.

    Keeping it would take memory, and copying it repeatedly would take time.
    """
    whole = gzip.compress(PAGE) + rest
    parts = [whole[at : at + 2**16] for at in range(0, len(whole), 2**16)]
    for chunks in (parts, [gzip.compress(PAGE), rest]):
        body = Body(chunks)
        with pytest.raises(InvalidResponse, match="invalid encoding"):
            run(rows_read(headers={"content-encoding": "gzip"}, stream=body))
        assert body.sent <= 2 * 2**20 + len(rest) * (chunks is not parts)


def test_a_gzip_trailer_that_arrives_separately_is_read() -> None:
    """The last bytes of a gzip member contain no text."""
    whole = gzip.compress(PAGE)
    assert (
        run(rows_read(headers={"content-encoding": "gzip"}, stream=Body([whole[:-8], whole[-8:]])))
        == 1
    )


def test_no_more_than_the_limit_is_read() -> None:
    """The client reads at most two mebibytes of an endless body."""
    body = Body(b" " * 2**20 for _ in range(10_000))
    with pytest.raises(InvalidResponse):
        run(rows_read(stream=body))
    assert body.sent <= MOST_BYTES + 2**20


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip,gzip", "br", "zstd", "rot13"])
def test_an_encoding_that_was_not_requested_is_invalid(encoding: str) -> None:
    """A body that is compressed twice could fill the memory before its size is known."""
    body = PAGE
    for _ in range(encoding.count("gzip")):
        body = gzip.compress(body)
    with pytest.raises(InvalidResponse, match="encoding"):
        run(rows_read(headers={"content-encoding": encoding}, content=body))


# Request statistics


def test_a_request_is_recorded() -> None:
    """A record has the time, the endpoint, the integration, the code and the duration."""

    async def main() -> list[tuple[object, ...]]:
        server = Server(page(), page(status=404), seconds=0.75)
        async with client_under_test(server) as braze:
            await braze.integrations()
            with pytest.raises(NotFound):
                await braze.history("xyz")
        return [
            (each.at, each.endpoint, each.integration_id, each.code, each.seconds)
            for each in braze.stats.recent
        ]

    assert run(main()) == [
        (EPOCH + 0.75, "integrations", None, "200", 0.75),
        (EPOCH + 1.5, "job_sync_status", "xyz", "404", 0.75),
    ]


def test_items_that_cannot_be_read_are_counted() -> None:
    """Invalid items are counted per endpoint."""

    async def main() -> list[int]:
        async with client_under_test(Server(page(7, None), page(7))) as braze:
            await braze.integrations()
            await braze.history()
            return [each.invalid_items for each in braze.stats.endpoints.values()]

    assert run(main()) == [2, 1]


@pytest.mark.parametrize("ahead", [-3600, -30, 0, 30, 3600])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_the_difference_to_the_servers_clock_is_known(ahead: int, status: int) -> None:
    """It follows from the Date of the first answer. The documented errors have a Date as well."""
    assert skew((status, page().content, {"date": _http_date(EPOCH + ahead)})) == ahead


Answer = tuple[int, bytes, dict[str, str]]


def skew(*answers: Answer) -> float:
    """The difference to the server's clock after these answers."""

    async def main() -> float:
        several = [httpx.Response(s, content=c, headers=h) for s, c, h in answers]
        clock = virtual_clock()
        still = Clock(lambda: EPOCH, clock.monotonic, clock.sleep, clock.rng)
        async with client_under_test(Server(*several), clock=still) as braze:
            for _ in several:
                with suppress(ApiError):
                    await braze.history()
            return braze.client.skew

    return run(main())


@pytest.mark.parametrize(
    "answer",
    [
        (502, b"<html>Bad gateway</html>", {}),
        (502, b"", {}),
        (403, b"<html>", {}),
        (200, b"<html>", {}),
        (200, b"{}", {}),
        (302, ERROR, {}),
        (200, page().content, {"age": "0"}),
        (200, page().content, {"age": "3600"}),
        (404, ERROR, {"age": "12"}),
    ],
)
def test_the_date_of_a_gateways_or_cached_answer_is_ignored(
    answer: Answer,
) -> None:
    """A gateway has a clock of its own, and a cache keeps old dates. Repetition changes nothing."""
    status, content, headers = answer
    dated = (status, content, {**headers, "date": _http_date(EPOCH + 30 * 86_400)})
    assert skew(*[dated] * 5) == 0


GOOD = page().content


def dated(*seconds: float) -> list[Answer]:
    return [(200, GOOD, {"date": _http_date(EPOCH + ahead)}) for ahead in seconds]


@pytest.mark.parametrize(
    ("seconds", "believed"),
    [
        ([0, 3600], 0),
        ([0, 3600, 3600], 0),
        ([0, 3600, 3600, 3600], 3600),
        ([0, 3600, 3605, 3610], 3610),
        ([0, 3600, -3600, 3600, -3600, 3600], 0),
        ([0, 3600, 3600, 0, 3600, 3600, 0], 0),
        ([2_592_000], 0),
        ([2_592_000] * 2 + [0], 0),
        ([2_592_000] * 3, 2_592_000),
        ([-3600, -3590, -3580], -3580),
        ([0, 20, 40, 60, 80], 80),
    ],
)
def test_a_jump_of_the_servers_clock_is_believed_once_several_answers_agree(
    seconds: list[float], believed: float
) -> None:
    """A single odd Date is ignored. A slow drift is followed."""
    assert skew(*dated(*seconds)) == believed


def _http_date(seconds: float) -> str:
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)
