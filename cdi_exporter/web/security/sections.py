"""The keys of the web configuration file, their valid values, and OpenSSL's names for them.

The toolkit accepts any plain value as text, exactly as written in the file: `X-XSS-Protection: 1`.
Therefore all values except those of `TYPED` are text here.
"""

import math
import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Final

from cdi_exporter.config.forms import Form, Reader, Sections, list_of, mapping_of, scalar
from cdi_exporter.config.mistakes import RedactedError
from cdi_exporter.config.secret import Secret
from cdi_exporter.config.yaml_lines import KeyPath

TYPED = frozenset({"http2", "prefer_server_cipher_suites", "interval", "burst"})

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

CIPHER_SUITES: Final[Mapping[str, str]] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""OpenSSL's names of the cipher suites up to TLS 1.2, in Go's order of preference. Go ignores the
order in the file since version 1.17."""

TLS13_CIPHER_SUITES: Final[Collection[str]] = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""Cipher suites that are always on with TLS 1.3, both in Go and in OpenSSL."""

CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

VERIFIED: Final[Mapping[str, ssl.VerifyMode]] = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

UNVERIFIED: Final[Mapping[str, str]] = {
    "RequestClientCert": "VerifyClientCertIfGiven",
    "RequireAnyClientCert": "RequireAndVerifyClientCert",
    "RequireClientCert": "RequireAndVerifyClientCert",
}
"""Values that do not verify the client's certificate, with the most similar supported value."""

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""The headers that can be set, with their valid values; empty: any value."""

_LINE_ENDS = re.compile(r"[\r\n]+")
"""Line ends in a header's value in YAML, which are sent as spaces."""

EXPECTED_INTERVAL = "expected a Go duration such as 1s, 100ms or 1m30s"
NOT_A_HASH = (
    "not a bcrypt hash with a cost from 4 to 31; expected a line such as htpasswd -nBC 10 writes, "
    "without the user"
)

_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
_NANOSECONDS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_NANOSECONDS)})"
_DURATION = re.compile(rf"[-+]?({_PART})+")

SHORTEST_HASH = 59
"""Least bytes of a bcrypt hash that Go accepts."""

_HASH = re.compile(r"\$[\0-2](\$|[^$].)(0[4-9]|[12][0-9]|3[01])", re.DOTALL)
"""The start of a hash that Go accepts: a version up to 2, perhaps a letter, and the cost."""


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


def one_of(value: str, known: Collection[str]) -> str:
    """The value if it is known; else raises ValueError with the nearest one, or with all."""
    if value in known:
        return value
    names = {each.upper(): each for each in known}
    near = get_close_matches(value.upper(), names, n=1, cutoff=0.8)
    expected = names[near[0]] if near else ("one of " if len(known) > 1 else "") + ", ".join(known)
    msg = f"expected {expected}"
    raise ValueError(msg)


def _client_auth(value: str) -> str:
    if value in UNVERIFIED:
        msg = (
            "asks for a certificate without verifying it, which Python's TLS does not support; "
            f"expected {UNVERIFIED[value]} with client_ca_file"
        )
        raise ValueError(msg)
    return value and one_of(value, VERIFIED)


def _number(value: object, expected: str) -> int:
    """A number without its decimals, as Go's YAML library reads it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(expected)
    return int(value)


def _interval(value: object) -> float:
    """A Go duration in seconds; a number without a unit is in nanoseconds."""
    if not isinstance(value, str):
        return _number(value, EXPECTED_INTERVAL) / 10**9
    if value == "0":
        return 0.0
    if not _DURATION.fullmatch(value):
        raise ValueError(EXPECTED_INTERVAL)
    parts = re.findall(_PART, value)
    seconds = sum(float(count) * _NANOSECONDS[unit] for count, unit in parts) / 10**9
    return -seconds if value.startswith("-") else seconds


def _hash(value: object) -> Secret:
    """A bcrypt hash that the toolkit accepts; its value is never shown."""
    text = value if isinstance(value, str) else ""
    if len(text.encode("utf-8", "replace")) < SHORTEST_HASH or not _HASH.match(text):
        raise RedactedError(NOT_A_HASH)
    return Secret(text)


def _form(check: Callable[[object], object]) -> Form:
    return scalar(check, "", "", {})


def _name_of(known: Collection[str]) -> Form:
    return _form(lambda value: one_of(_text(value), known))


def _read_users(value: object, path: KeyPath, reader: Reader) -> Any:
    if not isinstance(value, dict):
        return reader.wrong_kind(path, value, "expected a mapping")
    return {
        name.encode("utf-8", "surrogatepass"): reader.attempt(
            partial(_hash, each), each, (*path, name)
        )
        for name, each in value.items()
    }


def _read_headers(value: object, path: KeyPath, reader: Reader) -> Any:
    """The headers as the bytes that are sent."""
    if not isinstance(value, dict):
        return reader.wrong_kind(path, value, "expected a mapping")
    found = []
    for name, each in value.items():
        if name not in HEADERS:
            problem = f"a header that cannot be set; expected one of {', '.join(HEADERS)}"
            reader.add((*path, name), problem)
        text = "" if each is None else each
        line = reader.attempt(partial(_header, name, text), text, (*path, name))
        found.append((name.encode("utf-8", "replace"), line))
    return tuple(found)


def _header(name: str, value: object) -> bytes:
    text = _text(value)
    if HEADERS.get(name):
        one_of(text, HEADERS[name])
    line = _LINE_ENDS.sub(" ", text).strip()
    if name in HEADERS and not all(char.isprintable() and char <= "\xff" for char in line):
        msg = "expected text that a header can hold"
        raise ValueError(msg)
    return line.encode("latin-1", "replace")


_TEXT = _form(_text)
_BURST = _form(partial(_number, expected="expected a whole number of requests"))
_USERS = Form("", "", {}, _read_users)
_HEADERS = Form("", "", {}, _read_headers)

Text = Annotated[str | None, _TEXT]
Truth = Annotated[bool | None, _form(_truth)]
Version = Annotated[str | None, _name_of(VERSIONS)]
CipherSuites = Annotated[
    list[str] | None, list_of(_name_of([*CIPHER_SUITES, *TLS13_CIPHER_SUITES]))
]
Curves = Annotated[list[str] | None, list_of(_name_of(CURVES))]
ClientAuth = Annotated[str | None, _form(lambda value: _client_auth(_text(value)))]


@dataclass(frozen=True, slots=True)
class TlsSection:
    """TLS; it is on if a certificate, a key, a client CA or a client_auth_type is set."""

    cert: Text = None
    key: Text = None
    client_ca: Text = None
    cert_file: Text = None
    key_file: Text = None
    client_ca_file: Text = None
    client_auth_type: ClientAuth = None
    client_allowed_sans: Annotated[list[str] | None, list_of(_TEXT)] = None
    cipher_suites: CipherSuites = None
    curve_preferences: Curves = None
    min_version: Version = None
    max_version: Version = None
    prefer_server_cipher_suites: Truth = None

    @property
    def on(self) -> bool:
        """Whether the file configures TLS, even if incompletely."""
        certificates = (self.cert, self.cert_file, self.key, self.key_file)
        clients = (self.client_ca, self.client_ca_file, self.client_auth_type)
        return any((*certificates, *clients, self.client_allowed_sans))


@dataclass(frozen=True, slots=True)
class HttpSection:
    """HTTP/2, and headers that are added to each response."""

    http2: Truth = None
    headers: Annotated[tuple[tuple[bytes, bytes], ...] | None, _HEADERS] = None


@dataclass(frozen=True, slots=True)
class RateLimitSection:
    """The rate limit: one request per `interval` (seconds), and `burst` requests at once."""

    interval: Annotated[float | None, _form(_interval)] = None
    burst: Annotated[int | None, _BURST] = None


@dataclass(frozen=True, slots=True)
class WebConfigFile:
    """The whole file."""

    tls_server_config: Annotated[TlsSection | None, mapping_of(TlsSection)] = None
    http_server_config: Annotated[HttpSection | None, mapping_of(HttpSection)] = None
    basic_auth_users: Annotated[Mapping[bytes, Secret] | None, _USERS] = None
    rate_limit: Annotated[RateLimitSection | None, mapping_of(RateLimitSection)] = None


SECTIONS: Sections = (
    ("", WebConfigFile),
    ("tls_server_config", TlsSection),
    ("http_server_config", HttpSection),
    ("rate_limit", RateLimitSection),
)
"""Every section by its key path."""
