"""Which proxy a request goes through: the rules of HTTPS_PROXY, ALL_PROXY and NO_PROXY.

The variables are those that curl and Python's own library know, read here since httpx refuses
to start with some values that they accept: networks and IPv6 addresses in NO_PROXY.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from cdi_exporter.config.mistakes import one_line, phrase, show_value
from cdi_exporter.errors import ConfigError

EXPECTED = "expected an HTTP proxy, such as http://proxy.example:3128"

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it."""

    variable: str
    url: str = field(repr=False)
    """May hold a password: not to be shown."""


class Proxies:
    """The proxies that the environment names."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.ignored: list[tuple[str, str]] = []
        """Entries of NO_PROXY that mean nothing, with their variable; as they may be shown."""
        self._everywhere = False
        self._exceptions: list[tuple[Network | str, int | None]] = []
        """What goes without a proxy: a network, or a name with all below it; to one port if named.
        """
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
        """The proxy for requests to a URL; None if there is none. Raises ConfigError."""
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
        if self._everywhere or any(
            only in (None, port) and _covers(what, host) for what, only in self._exceptions
        ):
            return None
        for name in (f"{parts.scheme}_proxy", "all_proxy"):
            variable, value = self._value(name)
            if value:
                return Proxy(variable, _url(variable, value))
        return None

    def _value(self, name: str) -> tuple[str, str]:
        """A variable and its value; the name in small letters counts first, also if empty."""
        variables = [name, name.upper()]
        if name == "http_proxy" and "REQUEST_METHOD" in self._environ:
            variables = [name]  # in a CGI script the other one is a header of the request
        for variable in variables:
            if variable in self._environ:
                return variable, self._environ[variable].strip()
        return name, ""


def _covers(what: Network | str, host: str) -> bool:
    address = _address(host)
    if not isinstance(what, str):
        return address is not None and address in what
    return host == what or (address is None and host.endswith(f".{what}"))


def _exception(entry: str) -> tuple[Network | str, int | None]:
    """An entry of NO_PROXY: what it covers, and at which port; raises ValueError."""
    if "/" in entry:
        return ipaddress.ip_network(re.sub(r"[][]", "", entry), strict=False), None
    host, port = _split(entry.lower())
    if (address := _address(host)) is not None:
        return ipaddress.ip_network(address), port
    name = host.removeprefix("*").strip(".")
    if not name or "*" in name or not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(entry)
    return name, port


def _split(entry: str) -> tuple[str, int | None]:
    """A host and a port; an IPv6 address may be in brackets."""
    if _address(entry) is not None:
        return entry, None
    bracketed = re.fullmatch(r"\[(.*)\](?::(\d{1,5}))?", entry)
    host, port = bracketed.groups() if bracketed else (entry.partition(":")[::2])
    if bracketed and _address(host) is None:
        raise ValueError(entry)
    return host, int(port) if port else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address; one that is IPv4 in the form of IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _url(variable: str, value: str) -> str:
    """The URL of a proxy; a scheme may be missing. Raises ConfigError."""
    url = value if "://" in value else f"http://{value}"
    problem = _problem(url)
    if problem:
        line = f"{variable}: {phrase(show_value(value), problem)}; {EXPECTED}"
        raise ConfigError([one_line(line)])
    return url


def _problem(url: str) -> str | None:
    """What is wrong with the URL of a proxy."""
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is not a URL with a valid port"
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy, which is not supported"
    if parts.scheme not in _PORTS:
        return "is neither http nor https"
    if not url.isascii() or not url.isprintable() or " " in url or not _HOST.fullmatch(host):
        return "has no valid host"
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        return "has more than a host and a port" if port != 0 else "has no valid port"
    return None
