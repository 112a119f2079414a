"""The keys of the file, and how their values are written.

The toolkit takes any plain value where it wants text, as it is written: `X-XSS-Protection: 1`.
So all values but those of `TYPED` come here as text.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cdi_exporter.config.forms import Form, Key, Reader, Sections, list_of, mapping_of, scalar
from cdi_exporter.config.mistakes import RedactedError
from cdi_exporter.config.secret import Secret
from cdi_exporter.config.yaml_lines import KeyPath
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
        raise ValueError(msg)  # noqa: TRY004 -- a check raises ValueError
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        msg = "expected true or false, without quotes"
        raise ValueError(msg)  # noqa: TRY004 -- a check raises ValueError
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
        raise RedactedError(msg)
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


def _form(check: Callable[[object], object]) -> Form:
    return scalar(check, "", "", {})


def _named(name: Callable[[str], str]) -> Form:
    return _form(lambda value: name(_text(value)))


def _by_name(form: Form) -> Form:
    """A mapping whose keys the user chooses."""

    def read(value: object, path: KeyPath, reader: Reader) -> Any:
        if not isinstance(value, dict):
            return reader.wrong_kind(path, value, "expected a mapping")
        return {name: form.read(each, (*path, name), reader) for name, each in value.items()}

    return Form("", "", {}, read)


_TEXT = _form(_text)
_TRUTH = _form(_truth)
_TEXT_OR_NOTHING = _form(lambda value: None if value is None else _text(value))

Text = Annotated[str | None, Key(_TEXT)]
Truth = Annotated[bool | None, Key(_TRUTH)]
Version = Annotated[str | None, Key(_named(names.version))]
Texts = Annotated[list[str] | None, Key(list_of(_TEXT))]


@dataclass(frozen=True, slots=True)
class TlsSection:
    """TLS; it is on when a certificate, a key, a client CA or a client_auth_type is named."""

    cert: Text = None
    key: Text = None
    client_ca: Text = None
    cert_file: Text = None
    key_file: Text = None
    client_ca_file: Text = None
    client_auth_type: Annotated[str | None, Key(_named(names.client_auth))] = None
    client_allowed_sans: Texts = None
    cipher_suites: Annotated[list[str] | None, Key(list_of(_named(names.cipher_suite)))] = None
    curve_preferences: Annotated[list[str] | None, Key(list_of(_named(names.curve)))] = None
    min_version: Version = None
    max_version: Version = None
    prefer_server_cipher_suites: Truth = None

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


@dataclass(frozen=True, slots=True)
class HttpSection:
    """The protocol and the headers of each answer."""

    http2: Truth = None
    headers: Annotated[Mapping[str, str | None] | None, Key(_by_name(_TEXT_OR_NOTHING))] = None


@dataclass(frozen=True, slots=True)
class RateLimitSection:
    """One request per `interval`, and `burst` of them at once."""

    interval: Annotated[float | None, Key(_form(_interval))] = None
    burst: Annotated[int | None, Key(_form(_burst))] = None


@dataclass(frozen=True, slots=True)
class WebConfigFile:
    """The file of `--web.config.file`."""

    tls_server_config: Annotated[TlsSection | None, Key(mapping_of(TlsSection))] = None
    http_server_config: Annotated[HttpSection | None, Key(mapping_of(HttpSection))] = None
    basic_auth_users: Annotated[Mapping[str, Secret] | None, Key(_by_name(_form(_hash)))] = None
    rate_limit: Annotated[RateLimitSection | None, Key(mapping_of(RateLimitSection))] = None


SECTIONS: Sections = (
    ("", WebConfigFile),
    ("tls_server_config", TlsSection),
    ("http_server_config", HttpSection),
    ("rate_limit", RateLimitSection),
)
"""Every section by its key path."""
