"""The single values of the configuration file: their checks and their forms.

A check takes a value as YAML has it, and returns the valid value. It raises ValueError with text
that continues a sentence about the value, or RedactedError if the value must not be shown.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import urlsplit

from cdi_exporter.config.forms import scalar
from cdi_exporter.config.mistakes import copied_with_more, holds_api_key
from cdi_exporter.files import read_plain, read_within, reason_of
from cdi_exporter.pem import client_context, trust

MOST_REQUESTS = 1_000_000
"""Requests per minute: far above any limit of Braze."""

LONGEST_TEXT = 4_096
"""Characters of a path or another text. Linux has the same limit for paths."""

LONGEST_NAME = 200
"""Characters of a name, an ID or a pattern. Names become labels; patterns are matched to them."""

UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000}
UNITS |= {"s": 1000, "ms": 1}
"""Milliseconds of each unit, in the order in which the units must be written."""

_WHOLE = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in UNITS))
_DECIMAL_SECONDS = re.compile(r"[0-9]+\.[0-9]+(?=s$)")

LONGEST_DURATION_TEXT = 50
"""Characters: enough for every unit, and few enough that converting the digits is fast."""

LONGEST_DURATION = 100 * UNITS["y"] // 1000
"""Seconds, as in the error message: far above any useful duration."""

EXPECTED_DURATION = "expected a duration such as 10s, 1h30m or 500ms"

EXPECTED_TEXT = "expected text"
EXPECTED_ENDPOINT = "expected only the REST endpoint, such as rest.iad-03.braze.com"
EXPECTED_ID = "expected an integration ID as Braze shows it"
PLAIN_HTTP = (
    "uses plain http; expected https://… (plain http is allowed only for loopback addresses)"
)
EXPECTED_INTEGRATIONS = "expected auto, or a list of integration IDs"
EXPECTED_SHARE = "expected a number above 0 and at most 1"
EXPECTED_LIMIT = f"expected a whole number of requests per minute, from 1 to {MOST_REQUESTS}"
EXPECTED_CERTIFICATES = "expected a file of PEM certificates"

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWABLE = re.compile(r"[A-Za-z0-9._:/\[\]-]*")


def raise_first(problems: Iterable[tuple[object, str | None]], expected: str) -> None:
    """Raise ValueError for the first of the problems that holds. Each is (holds, problem)."""
    for holds, problem in problems:
        if holds:
            msg = f"{problem}; {expected}"
            raise ValueError(msg)


def text(value: object, most: int = LONGEST_TEXT) -> str:
    """Text that is not blank, contains no control characters and is not too long."""
    if not isinstance(value, str):
        quotes = "" if isinstance(value, dict | list | None) else " (put it into quotes)"
        raise ValueError(EXPECTED_TEXT + quotes)  # noqa: TRY004 -- a check raises ValueError
    if not value.strip():
        problem = f"is empty; {EXPECTED_TEXT}"
    elif len(value) > most:
        problem = f"has {len(value):,} characters; expected at most {most:,}"
    elif any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in value):
        problem = f"contains control characters; {EXPECTED_TEXT}"
    else:
        return value
    raise ValueError(problem)


def name(value: object) -> str:
    """Text for a label, without leading or trailing spaces, which are invisible there."""
    found = text(value, LONGEST_NAME)
    if found != found.strip():
        msg = f"has leading or trailing spaces; {EXPECTED_TEXT} without them"
        raise ValueError(msg)
    return found


def integration_id(value: object) -> str:
    """An integration ID, or the last part of the integration's URL in the Braze dashboard.

    The ID can be a segment of a URL's path, because the client percent-encodes it.
    """
    found = name(value)
    if found.startswith(("https://", "http://")):
        found = urlsplit(found).path.rstrip("/").rpartition("/")[2]
    if found not in ("", ".", ".."):
        return found
    msg = f"is {'not an integration ID' if found else 'a URL without an ID'}; {EXPECTED_ID}"
    raise ValueError(msg)


def parse_duration(text: str) -> float:
    """The seconds of a duration such as `1h30m`. Decimal seconds (`0.5s`) and `0` are allowed.

    As in Prometheus, each unit (y, w, d, h, m, s, ms) occurs at most once, the larger first.
    Raises ValueError for other text.
    """
    if text == "0":
        return 0.0
    if not text or len(text) > LONGEST_DURATION_TEXT:
        raise ValueError(EXPECTED_DURATION)
    if decimal := _DECIMAL_SECONDS.match(text):
        seconds = float(decimal[0])
    elif whole := _WHOLE.fullmatch(text):
        counts = [int(count or 0) for count in whole.groups()]
        seconds = sum(map(int.__mul__, counts, UNITS.values())) / 1000
    else:
        raise ValueError(EXPECTED_DURATION)
    if seconds > LONGEST_DURATION:
        msg = "is too long; expected at most 100y"
        raise ValueError(msg)
    return seconds


def format_duration(seconds: float) -> str:
    """A duration in its shortest notation, rounded to milliseconds."""
    left = round(seconds * 1000)
    written = ""
    for unit, size in UNITS.items():
        count, left = divmod(left, size)
        written += f"{count}{unit}" if count else ""
    return written or "0s"


def duration(value: object) -> float:
    """Seconds of a duration. The number 0 needs no unit."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(EXPECTED_DURATION)  # noqa: TRY004 -- a check raises ValueError
    if isinstance(value, int) and value == 0:
        return 0.0
    msg = f"has no unit; {EXPECTED_DURATION}"
    raise ValueError(msg)


def positive_duration(value: object) -> float:
    """Seconds of a duration above 0."""
    seconds = duration(value)
    if seconds == 0:
        msg = f"must be greater than zero; {EXPECTED_DURATION}"
        raise ValueError(msg)
    return seconds


def never_or_duration(value: object) -> float | None:
    """Seconds of a duration above 0; None for `never`."""
    if value == "never":
        return None
    try:
        return positive_duration(value)
    except ValueError as error:
        msg = f"{error}, or never"
        raise ValueError(msg) from error


def share(value: object) -> float:
    """A number above 0 and at most 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(EXPECTED_SHARE)
    return float(value)


def limit(value: object) -> int:
    """Requests per minute."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_REQUESTS:
        raise ValueError(EXPECTED_LIMIT)
    return value


def ca_file(path: str) -> str:
    """The path of a file of PEM certificates. The file is read once, to find errors early."""
    try:
        content = read_within(lambda: read_plain(path))
    except (OSError, ValueError) as error:
        msg = f"cannot be read ({reason_of(error)}); {EXPECTED_CERTIFICATES}"
        raise ValueError(msg) from error
    try:
        trust(client_context(), content)
    except ValueError as error:
        msg = f"{error}; {EXPECTED_CERTIFICATES}"
        raise ValueError(msg) from error
    return path


def endpoint(value: object) -> str:
    """The base URL of a REST endpoint, `https://host[:port]` without a trailing slash."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(EXPECTED_ENDPOINT)
    written = value.strip()
    extra = copied_with_more(written)
    try:
        parts = urlsplit(written if "://" in written else f"https://{written}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        msg = f"{extra or 'is not a URL'}; {EXPECTED_ENDPOINT}"
        raise ValueError(msg) from None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    is_host = address is not None or (len(host) <= 253 and _HOST.fullmatch(host) is not None)
    is_loopback = host == "localhost" or any(address in network for network in _LOOPBACK if address)
    problems = (
        (extra, extra),
        ("@" in written, "contains credentials"),
        (parts.scheme not in _DEFAULT_PORTS, "is neither https nor http"),
        (parts.path.strip("/") or "?" in written or "#" in written, "has more than a host"),
        (holds_api_key(host), "looks like an API key"),
        (not _SHOWABLE.fullmatch(written) or not is_host or port == 0, "is not a host name"),
    )
    raise_first(problems, EXPECTED_ENDPOINT)
    if parts.scheme == "http" and not is_loopback:
        raise ValueError(PLAIN_HTTP)
    shown = f"[{host}]" if ":" in host else host
    suffix = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{shown}{suffix}"


_NAME_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}
_DURATION_PATTERN = "".join(f"([0-9]+{unit})?" for unit in UNITS)
_DURATION_SCHEMA = {
    "type": "string",
    "pattern": rf"^(?=.)({_DURATION_PATTERN}|[0-9]+\.[0-9]+s|0)$",
}
TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}

NAME = scalar(name, "text", EXPECTED_TEXT, _NAME_SCHEMA)
PATTERN = scalar(
    lambda value: text(value, LONGEST_NAME), "pattern", "expected a pattern", _NAME_SCHEMA
)
INTEGRATION_ID = scalar(integration_id, "text", EXPECTED_ID, _NAME_SCHEMA)
ENDPOINT = scalar(
    endpoint,
    "host or URL",
    EXPECTED_ENDPOINT,
    TEXT_SCHEMA | {"examples": ["rest.iad-03.braze.com"]},
)
DURATION = scalar(
    duration, "duration", EXPECTED_DURATION, {"anyOf": [_DURATION_SCHEMA, {"const": 0}]}
)
POSITIVE_DURATION = scalar(positive_duration, "duration", EXPECTED_DURATION, _DURATION_SCHEMA)
NEVER_OR_DURATION = scalar(
    never_or_duration,
    "duration or `never`",
    f"{EXPECTED_DURATION}, or never",
    {"anyOf": [{"const": "never"}, _DURATION_SCHEMA]},
)
LIMIT = scalar(
    limit,
    "whole number",
    EXPECTED_LIMIT,
    {"type": "integer", "minimum": 1, "maximum": MOST_REQUESTS},
)
SHARE = scalar(
    share, "number", EXPECTED_SHARE, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
)
