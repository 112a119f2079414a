"""The keys of the file, and how their values are written.

The toolkit takes any plain value where it wants text, as it is written: `X-XSS-Protection: 1`.
So all values but those of `TYPED` come here as text.
"""

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from cdi_exporter.config.mistakes import Unshown
from cdi_exporter.config.schema import Section
from cdi_exporter.config.secret import Secret
from cdi_exporter.web.security import names

TYPED = frozenset({"http2", "prefer_server_cipher_suites", "interval", "burst"})

EXPECTED_INTERVAL = "expected a duration as Go writes it, such as 1s, 100ms or 1m30s"
EXPECTED_BURST = "expected a whole number of requests"
EXPECTED_HASH = "expected a bcrypt hash, such as htpasswd -nBC 10 writes"

_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
_NANOSECONDS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_NANOSECONDS)})"
_DURATION = re.compile(rf"[-+]?({_PART})+")

SHORTEST_HASH = 59
_CHEAPEST, _DEAREST = 4, 31


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "expected text"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        msg = "expected true or false, without quotes"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    return value


def _number(value: object, expected: str) -> int:
    """A number without what stands after its point, as Go's YAML reads it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(expected)
    return int(value)


def _interval(value: object) -> float:
    """Seconds; a number without a unit counts nanoseconds."""
    if not isinstance(value, str):
        return _number(value, EXPECTED_INTERVAL) / 10**9
    if value == "0":
        return 0.0
    if not _DURATION.fullmatch(value):
        raise ValueError(EXPECTED_INTERVAL)
    parts = re.findall(_PART, value)
    seconds = sum(float(count) * _NANOSECONDS[unit] for count, unit in parts) / 10**9
    return -seconds if value.startswith("-") else seconds


def _burst(value: object) -> int:
    return _number(value, EXPECTED_BURST)


def _hash(value: object) -> Secret:
    """A bcrypt hash in the shape that the toolkit asks for; never shown."""
    text = value if isinstance(value, str) else ""
    problem = _problem_of_hash(text)
    if problem:
        msg = f"crypto/bcrypt: {problem}; {EXPECTED_HASH}"
        raise Unshown(msg)
    return Secret(text)


def _problem_of_hash(text: str) -> str | None:
    if len(text.encode("utf-8", "replace")) < SHORTEST_HASH:
        return "hashedSecret too short to be a bcrypted password"
    if text[0] != "$":
        return "bcrypt hashes must start with '$'"
    if text[1] > "2":
        return "bcrypt algorithm version is newer than current version '2'"
    cost = text[3 if text[2] == "$" else 4 :][:2]
    if not (cost.isascii() and cost.isdigit()):
        return "the cost is no number"
    if not _CHEAPEST <= int(cost) <= _DEAREST:
        return f"cost {int(cost)} is outside allowed range ({_CHEAPEST},{_DEAREST})"
    return None


Text = Annotated[str, BeforeValidator(_text)]
Truth = Annotated[bool, BeforeValidator(_truth)]
Interval = Annotated[float, BeforeValidator(_interval)]
Burst = Annotated[int, BeforeValidator(_burst)]
Hash = Annotated[Secret, BeforeValidator(_hash)]
Version = Annotated[Text, AfterValidator(names.version)]
CipherSuite = Annotated[Text, AfterValidator(names.cipher_suite)]
Curve = Annotated[Text, AfterValidator(names.curve)]
ClientAuth = Annotated[Text, AfterValidator(names.client_auth)]


class TlsSection(Section):
    """TLS; it is on when a certificate, a key, a client CA or a client_auth_type is named."""

    cert: Text | None = None
    key: Text | None = None
    client_ca: Text | None = None
    cert_file: Text | None = None
    key_file: Text | None = None
    client_ca_file: Text | None = None
    client_auth_type: ClientAuth | None = None
    client_allowed_sans: list[Text] | None = None
    cipher_suites: list[CipherSuite] | None = None
    curve_preferences: list[Curve] | None = None
    min_version: Version | None = None
    max_version: Version | None = None
    prefer_server_cipher_suites: Truth | None = None

    @property
    def on(self) -> bool:
        """Whether TLS is served, or the file refused for what that takes."""
        return any(
            (
                self.cert,
                self.key,
                self.client_ca,
                self.cert_file,
                self.key_file,
                self.client_ca_file,
                self.client_auth_type,
                self.client_allowed_sans,
            )
        )


class HttpSection(Section):
    """The protocol and the headers of each answer."""

    http2: Truth | None = None
    headers: dict[str, Text | None] | None = None


class RateLimitSection(Section):
    """One request per `interval`, and `burst` of them at once."""

    interval: Interval | None = None
    burst: Burst | None = None


class File(Section):
    """The file of `--web.config.file`."""

    tls_server_config: TlsSection | None = None
    http_server_config: HttpSection | None = None
    basic_auth_users: dict[str, Hash] | None = None
    rate_limit: RateLimitSection | None = None


SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("", File),
    ("tls_server_config", TlsSection),
    ("http_server_config", HttpSection),
    ("rate_limit", RateLimitSection),
)
"""Every section by its key path."""
