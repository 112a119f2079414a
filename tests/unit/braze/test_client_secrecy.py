"""Errors, logs and statistics contain neither the key nor the body of an answer."""

import logging
import traceback
from collections.abc import Iterator

import httpx
import pytest

from cdi_exporter.errors import ApiError, ConnectionFailed
from cdi_exporter.model import Endpoint
from tests.unit.braze.client_helpers import (
    BASE,
    KEY,
    ClientUnderTest,
    Server,
    client_under_test,
    page,
)
from tests.virtual import run

PERSON = "someone@example.com"
BODY = PERSON.encode()


def texts_of(error: BaseException | None, depth: int = 9) -> Iterator[str]:
    """All texts that an error and its causes may print."""
    while error is not None and depth:
        yield str(error)
        yield repr(error)
        yield repr(error.args)
        yield repr({name: value for name, value in vars(error).items() if name != "request"})
        yield repr(getattr(error, "doc", ""))
        yield from traceback.format_exception(error)
        for cause in (error.__cause__, error.__context__):
            yield from texts_of(cause, depth - 1)
        return


def failure(answer: httpx.Response | Exception, key: str = KEY) -> tuple[ApiError, str, int]:
    """The error, all texts that may show it, and the number of requests."""

    async def main() -> tuple[ApiError, str, int]:
        server = Server(answer)
        async with client_under_test(server, key=lambda: key) as braze:
            with pytest.raises(ApiError) as caught:
                await braze.history()
            return caught.value, _everything(caught.value, braze), len(server.requests)

    return run(main())


def _everything(error: ApiError, braze: ClientUnderTest) -> str:
    traffic = braze.stats
    endpoint = traffic.endpoints[Endpoint.HISTORY]
    shown = [repr(braze.client), repr(traffic.recent), repr(vars(endpoint))]
    shown.append(repr(endpoint.snapshot(braze.client.budgets[Endpoint.HISTORY].last)))
    return "\n".join([*texts_of(error), *shown])


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused", request=httpx.Request("GET", BASE)),
        httpx.LocalProtocolError("broken"),
        OSError(5, "broken"),
        TimeoutError(),
        *(httpx.Response(status, content=BODY) for status in (302, 400, 401, 403, 404, 429, 500)),
        httpx.Response(200, content=BODY),
        httpx.Response(200, content=b"\xff" + BODY),
        httpx.Response(200, content=b"[" * 50_000 + BODY),
        httpx.Response(200, content=b'{"message": "' + BODY + b'"}'),
        httpx.Response(200, content=BODY * 700_000),
    ],
    ids=lambda answer: f"{answer!r} {getattr(answer, 'content', b'')[:9]!r}",
)
def test_no_error_shows_a_key_or_a_body(answer: httpx.Response | Exception) -> None:
    """This applies to the error, its causes and the request statistics."""
    _, everything, made = failure(answer)
    assert made > 0
    assert KEY not in everything
    assert PERSON not in everything


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        f"{KEY} ",
        f" {KEY}",
        f"{KEY} two",
        f"{KEY}\n",
        f"{KEY}\r\nX-Other: 1",
        f"{KEY}\t",
        f"{KEY}\x00",
        f"{KEY}\x7f",
        f"{KEY}é",
        f"{KEY}\u2028",
        f"{KEY}\ud800",
    ],
    ids=ascii,
)
def test_a_key_that_cannot_be_sent_in_a_header_is_an_error(key: str) -> None:
    """The error names the API key but shows no part of it. No request is made."""
    error, everything, made = failure(page(), key)
    assert type(error) is ConnectionFailed
    assert made == 0
    assert "API key" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY not in everything


@pytest.mark.parametrize("key", [KEY, f"{KEY}\n"], ids=ascii)
def test_no_log_line_shows_a_key(caplog: pytest.LogCaptureFixture, key: str) -> None:
    """This includes the libraries' own lines at the level debug."""
    caplog.set_level(logging.DEBUG)
    failure(httpx.Response(500), key)
    failure(httpx.ConnectError("refused"), key)
    assert KEY not in caplog.text
    assert KEY not in repr([record.__dict__ for record in caplog.records])
