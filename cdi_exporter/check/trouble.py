"""A failed request as a finding of `check`: the texts of the table of problems, filled in."""

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cdi_exporter import problems
from cdi_exporter.braze.client import causes
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.check.clusters import cluster_of, dashboard_of, known
from cdi_exporter.check.report import Finding, Level
from cdi_exporter.errors import ApiError, ConnectionFailed, Forbidden, NotFound, ServerError
from cdi_exporter.problems import Problem

_OF_THE_LIBRARY = re.compile(r" \(_ssl\.c:\d+\)$")


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
    problem = _problem(error, place)
    dashboard = dashboard_of(place.endpoint)
    belongs = f"; this endpoint belongs to the dashboard at {dashboard}" if dashboard else ""
    values = {
        "error": str(error),
        "detail": _OF_THE_LIBRARY.sub("", str(error).removeprefix("no answer: ")),
        "status": f"{error.code}: " if error.code.isdigit() else "",
        "host": place.host,
        "name": urlsplit(place.endpoint).hostname,
        "proxy": place.proxy,
        "endpoints": f"Braze's REST endpoints are {known()}.",
        "dashboard": belongs,
        "advice": problem.advice,
    }
    advice = problem.check_advice or problem.advice
    text = problem.check_text.format_map(values)
    return Finding(Level.ERROR, problem.kind, text, advice.format_map(values))


def refused(problem: Problem, level: Level = Level.ERROR) -> Finding:
    """A permission that the key lacks; nothing has to be filled in."""
    return Finding(level, problem.kind, problem.check_text, problem.check_advice)


def forbidden(error: ApiError | None) -> bool:
    """Whether Braze itself, and no proxy, says that a permission is missing."""
    return isinstance(error, Forbidden) and not error.web_page


def _problem(error: ApiError, place: Place) -> Problem:
    if error.web_page and not isinstance(error, ServerError):
        return problems.WEB_PAGE
    if error.code == NotFound.code:
        return problems.NOT_FOUND
    if isinstance(error, ConnectionFailed):
        return _connection_problem(error, place)
    return problems.BY_REASON[error.reason]


def _connection_problem(error: ConnectionFailed, place: Place) -> Problem:
    for cause in causes(error):
        match cause:
            case socket.gaierror():
                return problems.NAME_RESOLUTION
            case ssl.SSLCertVerificationError():
                return problems.UNTRUSTED_BY_CA_FILE if place.ca_file else problems.UNTRUSTED
            case ssl.SSLError():
                return problems.TLS
    return problems.CONNECTION
