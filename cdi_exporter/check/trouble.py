"""What went wrong with a request, as a finding: what holds, and what to do about it."""

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cdi_exporter.braze.client import causes
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.check.clusters import cluster_of, dashboard_of, known
from cdi_exporter.check.report import HISTORY_PERMISSION, LIST_PERMISSION, Finding, Level
from cdi_exporter.errors import (
    ApiError,
    ConnectionFailed,
    Forbidden,
    NotFound,
    RequestTimeout,
    ServerError,
    Unauthorized,
)
from cdi_exporter.web.advice import ADVICE

_OF_THE_LIBRARY = re.compile(r" \(_ssl\.c:\d+\)$")

_NEW_KEY = (
    "The permissions of a key cannot be changed: create a new one in Braze under Settings, APIs "
    "and Identifiers"
)
_SET_CA_FILE = "Where a proxy of your network opens TLS, name its certificates in ca_file."
_CA_FILE_LACKS_IT = "Nothing in ca_file leads to it: add the certificate of the CA that issued it."
_ALLOWLIST = (
    "Where the key has an IP allowlist, that may leave this machine out; or the plan may lack "
    "Cloud Data Ingestion."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where was asked, with the certificates of `ca_file` and the proxies of `environ`."""

    endpoint: str
    environ: Mapping[str, str]
    ca_file: str | None = None

    @property
    def host(self) -> str:
        """The endpoint as people name it, with its cluster where that is known."""
        cluster = cluster_of(self.endpoint)
        host = urlsplit(self.endpoint).netloc
        return f"{host} ({cluster})" if cluster else host

    @property
    def proxy(self) -> str:
        """A sentence on the proxy that may be in the way; its URL may hold a password."""
        proxy = Proxies(self.environ).proxy_for(self.endpoint)
        if proxy is None:
            return ""
        return f" {proxy.variable} is set: unless NO_PROXY names the host, that may be why."


def failed(error: ApiError, place: Place) -> Finding:
    """Why nothing, or no more, could be read."""
    if error.web_page and not isinstance(error, ServerError):
        return _web_page(error, place)
    if error.code == NotFound.code:
        return _error("not_found", f"404: {place.host} has no such API", _endpoints())
    match error:
        case Unauthorized():
            return _unauthorized(place)
        case ConnectionFailed():
            return _no_connection(error, place)
        case RequestTimeout():
            return _error("timeout", f"{place.host}: {error}", ADVICE["timeout"] + place.proxy)
    return _error(error.reason, str(error), ADVICE[error.reason])


def list_forbidden() -> Finding:
    """The key may read histories, but not the list that is needed."""
    return _error(
        "list_forbidden",
        f"403: the key lacks the permission {LIST_PERMISSION}",
        f"{_NEW_KEY} with {LIST_PERMISSION} and {HISTORY_PERMISSION}; or name the integrations' "
        "IDs in the configuration, which then needs the second alone.",
    )


def history_forbidden() -> Finding:
    """The key may not read histories, without which there is nothing to show."""
    return _error(
        "history_forbidden",
        f"403: the key lacks the permission {HISTORY_PERMISSION}",
        f"{_NEW_KEY} with {HISTORY_PERMISSION}. {_ALLOWLIST}",
    )


def both_forbidden() -> Finding:
    """The key may read neither."""
    return _error(
        "forbidden",
        f"403: the key lacks {LIST_PERMISSION} and {HISTORY_PERMISSION}",
        f"{_NEW_KEY} with both. {_ALLOWLIST}",
    )


def forbidden(error: ApiError | None) -> bool:
    """Whether Braze itself, and no proxy, says that a permission is missing."""
    return isinstance(error, Forbidden) and not error.web_page


def _unauthorized(place: Place) -> Finding:
    dashboard = dashboard_of(place.endpoint)
    belongs = f"; this endpoint belongs to the dashboard at {dashboard}" if dashboard else ""
    return _error(
        "unauthorized",
        f"401: Braze does not know this API key at {place.host}",
        "Compare the key with those in Braze under Settings, APIs and Identifiers: a deleted one "
        f"is unknown too. Each cluster knows its own keys alone{belongs}. The same page names "
        "the endpoint of your workspace.",
    )


def _web_page(error: ApiError, place: Place) -> Finding:
    status = f"{error.code}: " if error.code.isdigit() else ""
    return _error(
        "web_page",
        f"{status}a web page came from {place.host} in place of Braze's answer",
        "A proxy, a firewall or a login page answers, so that nothing is known of the key. "
        f"Check the endpoint and the way to it.{place.proxy}",
    )


def _no_connection(error: ConnectionFailed, place: Place) -> Finding:
    said = _OF_THE_LIBRARY.sub("", str(error).removeprefix("no answer: "))
    for cause in causes(error):
        match cause:
            case socket.gaierror():
                return _error(
                    "name_resolution",
                    f"the name {urlsplit(place.endpoint).hostname} is not found: {said}",
                    f"Check how the endpoint is spelt. {_endpoints()}{place.proxy}",
                )
            case ssl.SSLCertVerificationError():
                return _error(
                    "certificate",
                    f"the certificate of {place.host} is not trusted: {said}",
                    (_CA_FILE_LACKS_IT if place.ca_file else _SET_CA_FILE)
                    + f" Else check the endpoint: it may be somebody else's.{place.proxy}",
                )
            case ssl.SSLError():
                return _error(
                    "tls",
                    f"no TLS connection to {place.host}: {said}",
                    "Something that speaks no TLS, or another version of it, may be answering: "
                    f"check the endpoint and its port.{place.proxy}",
                )
    return _error(
        "connection", f"no connection to {place.host}: {said}", ADVICE["connection"] + place.proxy
    )


def _endpoints() -> str:
    return f"Braze's REST endpoints are {known()}."


def _error(code: str, text: str, advice: str) -> Finding:
    return Finding(Level.ERROR, code, text, advice)
