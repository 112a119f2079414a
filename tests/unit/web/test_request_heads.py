"""Request heads: how they are cut from a stream, and which ambiguous ones are refused."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.web.heads import MOST_BYTES, Refused, RequestHeads

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


def taken(*pieces: bytes) -> list[bytes]:
    """The heads that are read from these pieces."""
    heads, found = RequestHeads(), []
    for piece in pieces:
        heads.feed(piece)
        while (head := heads.next_head()) is not None:
            found.append(head)
    return found


def status(*pieces: bytes) -> int:
    with pytest.raises(Refused) as refused:
        taken(*pieces)
    return refused.value.status


def field(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET / HTTP/1.1", b"Host: x", *lines, b"", b""])


@given(st.lists(st.sampled_from([GET, POST, b"\r\n"]), max_size=5), st.data())
def test_heads_may_arrive_in_any_parts(sent: list[bytes], data: st.DataObject) -> None:
    """Any division into pieces gives the same heads. Empty lines between them are skipped."""
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert taken(*pieces) == [each for each in sent if each != b"\r\n"]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_a_head_or_refused(pieces: list[bytes]) -> None:
    """Nothing else is raised, and no head contains a bare line end."""
    with suppress(Refused):
        for head in taken(*pieces):
            assert b"\n" not in head.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\n",
        b"GET / HTTP/1.1\rHost: x\r\n\r\n",
        field(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
        field(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
        field(b"Content-Length: 0", b"Content-Length: 0"),
        field(b"Content-Length: 5", b"Content-Length: 6"),
        field(b"Content-Length: 0, 0"),
        field(b"Content-Length: +0"),
        field(b"Content-Length: 0x0"),
        field(b"Content-Length:"),
        field(b"Content-Length : 5"),
        field(b"Content-Length\t: 5"),
        field(b"X: a", b" folded"),
        field(b"X: a", b"\tContent-Length: 5"),
        field(b" Content-Length: 5"),
        field(b"no colon"),
        field(b": no name"),
        b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_an_ambiguous_request_head_is_refused(bytes_sent: bytes) -> None:
    """It is refused at once, even if it arrives byte by byte."""
    assert status(bytes_sent) == 400
    assert status(*(bytes([each]) for each in bytes_sent)) == 400


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5"],
        [b"Content-Length: 99999999999999999999999999"],
        [b"Content-Length: " + b"9" * 8000],
        [b"transfer-encoding: chunked"],
        [b"Transfer-Encoding: identity"],
        [b"Transfer-Encoding: \x0bchunked"],
    ],
)
def test_a_body_is_refused_before_it_arrives(lines: list[bytes]) -> None:
    """No endpoint accepts a body."""
    assert status(field(*lines)) == 413


def test_a_request_with_an_empty_body_is_accepted() -> None:
    """Some clients send `Content-Length: 0` with a POST."""
    assert taken(POST, field(b"Content-Length: 00")) == [POST, field(b"Content-Length: 00")]


def test_a_request_head_has_a_maximum_size() -> None:
    """A single long header and many short ones are both refused."""
    assert status(field(b"X: " + b"x" * MOST_BYTES)) == 431
    assert status(b"GET / HTTP/1.1\r\nX: ", *([b"x" * 1000] * 17)) == 431
    assert status(b"GET / HTTP/1.1\r\n", *([b"X: 1\r\n"] * (MOST_BYTES // 6 + 1))) == 431
    fits = field(b"X: " + b"x" * (MOST_BYTES - len(field(b"X: "))))
    assert taken(fits) == [fits]
