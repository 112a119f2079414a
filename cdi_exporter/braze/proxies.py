"""Chooses the proxy of a request from HTTPS_PROXY, ALL_PROXY and NO_PROXY.

The variables have the meaning that they have for curl and Python's standard library. They are
parsed here because httpx fails to start with some valid values, such as networks and IPv6
addresses in NO_PROXY.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cdi_exporter.config.mistakes import one_line, phrase, show_value
from cdi_exporter.errors import ConfigError

EXPECTED = "expected an HTTP proxy, such as http://proxy.example:3128"

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the environment variable that sets it."""

    variable: str
    url: str = field(repr=False)
    """Never logged or shown: it may contain a password."""


class Proxies:
    """The proxies set by environment variables, and the exceptions in NO_PROXY."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.ignored: list[tuple[str, str]] = []
        """The variable and the text of each invalid entry of NO_PROXY; the text may be logged."""
        self._everywhere = False
        self._exceptions: list[tuple[Network | str, int | None]] = []
        """Networks, or domains with their subdomains, and the only port, or None for all ports."""
        variable = next((each for each in ("no_proxy", "NO_PROXY") if environ.get(each)), "")
        for entry in filter(None, re.split(r"[,\s]+", environ.get(variable, ""))):
            if entry == "*":
                self._everywhere = True
                continue
            try:
                self._exceptions.append(_exception(entry))
            except ValueError:
                self.ignored.append((variable, show_value(entry) or "…"))

    def proxy_for(self, url: str) -> Proxy | None:
        """The proxy for requests to `url`, or None. Raises ConfigError if the proxy is invalid."""
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
        if self._everywhere or any(
            only in (None, port) and _covers(what, host) for what, only in self._exceptions
        ):
            return None
        for name in (f"{parts.scheme}_proxy", "all_proxy"):
            # In a CGI script, HTTP_PROXY is a header of the request.
            is_header = name == "http_proxy" and "REQUEST_METHOD" in self._environ
            # The lower-case name has precedence, even if its value is empty.
            variable = name if name in self._environ or is_header else name.upper()
            if value := self._environ.get(variable, "").strip():
                return Proxy(variable, _url(variable, value))
        return None


def _covers(what: Network | str, host: str) -> bool:
    address = _address(host)
    if not isinstance(what, str):
        return address is not None and address in what
    return host == what or (address is None and host.endswith(f".{what}"))


def _exception(entry: str) -> tuple[Network | str, int | None]:
    """Parse an entry of NO_PROXY into a network or domain, and a port. Raises ValueError."""
    if "/" in entry:
        return ipaddress.ip_network(re.sub(r"[][]", "", entry), strict=False), None
    host, port = entry.lower(), ""
    if _address(host) is None:
        # An IPv6 address with a port is in brackets.
        bracketed = re.fullmatch(r"\[(.*)\](?::(\d{1,5}))?", host)
        host, port = bracketed.groups() if bracketed else host.partition(":")[::2]
        if bracketed and _address(host) is None:
            raise ValueError(entry)
    only = int(port) if port else None
    if (address := _address(host)) is not None:
        return ipaddress.ip_network(address), only
    name = host.removeprefix("*").strip(".")
    if not name or "*" in name or not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(entry)
    return name, only


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _url(variable: str, value: str) -> str:
    """The URL of a proxy, with http:// if it has no scheme. Raises ConfigError."""
    url = value if "://" in value else f"http://{value}"
    if problem := _problem(url):
        line = f"{variable}: {phrase(show_value(value), problem)}; {EXPECTED}"
        raise ConfigError([one_line(line)])
    return url


def _problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is not a URL with a valid port"
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy, which is not supported"
    if parts.scheme not in _PORTS:
        return "is neither http nor https"
    if not url.isascii() or not url.isprintable() or " " in url or not _HOST.fullmatch(host):
        return "has no valid host"
    if port == 0:
        return "has no valid port"
    more = parts.path.strip("/") or parts.query or parts.fragment
    return "has more than a host and a port" if more else None
