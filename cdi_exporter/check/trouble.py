"""A failed request as a finding: the texts of the table of problems, filled in."""

import re
import socket
import ssl
from urllib.parse import urlsplit

from cdi_exporter import problems
from cdi_exporter.braze.client import NO_ANSWER, causes
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.check.probe import Target
from cdi_exporter.check.report import Finding, Level
from cdi_exporter.config.clusters import cluster_of, dashboard_of, known
from cdi_exporter.errors import ApiError, ConnectionFailed, NotFound, ServerError
from cdi_exporter.problems import Problem

_OF_THE_LIBRARY = re.compile(r" \(_ssl\.c:\d+\)$")


def failure(error: ApiError, target: Target) -> Finding:
    """Why nothing, or no more, could be read."""
    problem = _problem(error, target)
    url = urlsplit(target.endpoint)
    cluster, dashboard = cluster_of(target.endpoint), dashboard_of(target.endpoint)
    values = {
        "error": str(error),
        "detail": _OF_THE_LIBRARY.sub("", str(error).removeprefix(f"{NO_ANSWER} {url.netloc}: ")),
        "status": f"{error.code}: " if error.code.isdigit() else "",
        "host": f"{url.netloc} ({cluster})" if cluster else url.netloc,
        "name": url.hostname,
        "proxy": _proxy(target),
        "endpoints": f"Braze's REST endpoints are {known()}.",
        "dashboard": "",
        "advice": problem.advice,
    }
    if dashboard:
        values["dashboard"] = f"; this endpoint belongs to the dashboard at {dashboard}"
    text = problem.check_text.format_map(values)
    advice = (problem.check_advice or problem.advice).format_map(values)
    return Finding(Level.ERROR, problem.kind, text, advice)


def refusal(problem: Problem, level: Level = Level.ERROR) -> Finding:
    """A missing permission, whose texts have nothing to fill in."""
    return Finding(level, problem.kind, problem.check_text, problem.check_advice)


def _proxy(target: Target) -> str:
    """A sentence on the proxy that may be in the way, without its URL: it may hold a password."""
    proxy = Proxies(target.environ).proxy_for(target.endpoint)
    if proxy is None:
        return ""
    return f" {proxy.variable} is set and may be the cause, unless NO_PROXY contains the host."


def _problem(error: ApiError, target: Target) -> Problem:
    if error.web_page and not isinstance(error, ServerError):
        return problems.WEB_PAGE
    if error.code == NotFound.code:
        return problems.NOT_FOUND
    if not isinstance(error, ConnectionFailed):
        return problems.BY_REASON[error.reason]
    return _connection_problem(error, own_certificates=target.config.ca_file is not None)


def _connection_problem(error: ConnectionFailed, *, own_certificates: bool) -> Problem:
    for cause in causes(error):
        match cause:
            case socket.gaierror():
                return problems.NAME_RESOLUTION
            case ssl.SSLCertVerificationError():
                return problems.UNTRUSTED_BY_CA_FILE if own_certificates else problems.UNTRUSTED
            case ssl.SSLError():
                return problems.TLS
    return problems.CONNECTION
