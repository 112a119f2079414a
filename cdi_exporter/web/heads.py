"""Splits the bytes of a connection into the heads of requests, and validates them.

Stricter than a parser must be: a head that two programs could interpret differently (a bare line
feed, a folded line, two lengths) is refused before it is parsed. The exporter accepts no request
bodies, so each head follows directly after the one before.
"""

import re

MOST_BYTES = 16 * 1024
"""Most bytes of one head: more than browsers and proxies send."""

END = b"\r\n\r\n"

_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~]+ HTTP/1\.[01]")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(.*?)[ \t]*", re.DOTALL)


class Refused(Exception):
    """A request that is refused, with the HTTP status and the reason for the answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class RequestHeads:
    """The bytes of a connection that are not processed yet."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        return len(self._unread)

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._unread += data

    def next_head(self) -> bytes | None:
        """Return the next head, or None while it is incomplete; raises Refused."""
        if not self._searched:
            self._skip_empty_lines()
        if self._unread == b"\r":
            return None
        end = self._unread.find(END, max(0, self._searched - len(END) + 1))
        size = end + len(END) if end >= 0 else len(self._unread)
        if _BARE.search(self._unread, max(0, self._searched - 1), size):
            raise Refused(400, "A line ends without CR LF.")
        if size > MOST_BYTES:
            raise Refused(431, "The request's head is too large.")
        if end < 0:
            self._searched = size
            return None
        head = bytes(self._unread[:size])
        del self._unread[:size]
        self._searched = 0
        return checked(head)

    def _skip_empty_lines(self) -> None:
        while self._unread.startswith(b"\r\n"):
            del self._unread[:2]
        if self._unread and not self._unread[:1].isalpha() and self._unread != b"\r":
            raise Refused(400, "Not an HTTP request.")


def valid_host(host: str | None) -> str | None:
    """The Host header if it is `host` or `host:port`; None otherwise: it must not be echoed."""
    return host if host and _HOST.fullmatch(host) else None


def checked(head: bytes) -> bytes:
    """The head, with only the path as its target; raises Refused if it is not acceptable.

    Clients of a proxy send the whole URL (RFC 9112, section 3.2.2). Its host must equal the Host
    header, so that the host is unambiguous. A malformed head, or one that announces a body, is
    refused.
    """
    request_line, *lines = head.removesuffix(END).split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(request_line):
        raise Refused(400, "Not an HTTP/1.1 request.")
    values: dict[bytes, list[bytes]] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Refused(400, "A header is malformed.")
        values.setdefault(field[1].lower(), []).append(field[2])
    lengths, encoded = values.get(b"content-length", []), b"transfer-encoding" in values
    if len(lengths) + encoded > 1 or not all(length.isdigit() for length in lengths):
        raise Refused(400, "The length of the request is not clear.")
    if encoded or any(length.strip(b"0") for length in lengths):
        raise Refused(413, "A request has no body here.")
    _, target, _ = request_line.split(b" ")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return head
    if [host.lower() for host in values.get(b"host", [])] != [absolute[1].lower()]:
        raise Refused(400, "The Host header is not the host of the request's target.")
    path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
    return head.replace(b" %b " % target, b" %b " % path, 1)
