"""What is worth a sentence in the answers and in the configuration.

A failed request becomes a finding with the texts of the table of problems, filled in.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from cdi_exporter import problems
from cdi_exporter.braze.client import NO_ANSWER, causes
from cdi_exporter.braze.proxies import Proxies
from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.check.probe import Probe
from cdi_exporter.check.report import Cost, Finding, Level
from cdi_exporter.config.clusters import REST_ENDPOINTS, cluster_of, dashboard_of, rest_endpoint_for
from cdi_exporter.errors import ApiError, BadRequest, ConnectionFailed, NotFound, ServerError
from cdi_exporter.ledger import HistorySummary
from cdi_exporter.model import in_future
from cdi_exporter.problems import Problem
from cdi_exporter.wording import duration, things, utc

LEAST_SKEW = 60.0
"""Seconds by which a clock must be wrong to be worth a word: scrapes are about as far apart."""

FAILURES_IN_A_ROW = 3
"""One or two failed runs may pass by themselves; the table shows them."""

MOST_NAMED = 5
"""Integrations that one finding names."""

_OF_THE_LIBRARY = re.compile(r" \(_ssl\.c:\d+\)$")
"""Where in OpenSSL's binding an error was raised: of no use to a reader."""


def of_requests(probe: Probe) -> Iterator[Finding]:
    """What kept the list or the histories from being read as a whole."""
    named = probe.config.integrations is not None
    if probe.list_forbidden and probe.history_forbidden and not named:
        yield _refusal(problems.FORBIDDEN)
        return
    if probe.list_forbidden and named:
        yield _refusal(problems.LIST_NOT_NEEDED, Level.NOTE)
    elif probe.list_forbidden:
        yield _refusal(problems.LIST_FORBIDDEN)
    elif probe.list_error:
        yield _failure(probe.list_error, probe)
    if probe.history_forbidden:
        yield _refusal(problems.HISTORY_FORBIDDEN)
    elif probe.history_error:
        yield _failure(probe.history_error, probe)


def _failure(error: ApiError, probe: Probe) -> Finding:
    """Why nothing, or no more, could be read."""
    problem = _problem(error, probe)
    url = urlsplit(probe.config.endpoint)
    cluster, dashboard = cluster_of(probe.config.endpoint), dashboard_of(probe.config.endpoint)
    values = {
        "error": str(error),
        "detail": _OF_THE_LIBRARY.sub("", str(error).removeprefix(f"{NO_ANSWER} {url.netloc}: ")),
        "status": f"{error.code}: " if error.code.isdigit() else "",
        "host": f"{url.netloc} ({cluster})" if cluster else url.netloc,
        "name": url.hostname,
        "proxy": _proxy(probe),
        "endpoints": f"Braze's REST endpoints are {REST_ENDPOINTS}.",
        "dashboard": "",
        "advice": problem.advice,
    }
    if dashboard:
        values["dashboard"] = f"; this endpoint belongs to the dashboard at {dashboard}"
    text = problem.check_text.format_map(values)
    advice = (problem.check_advice or problem.advice).format_map(values)
    return Finding(Level.ERROR, problem.kind, text, advice)


def _refusal(problem: Problem, level: Level = Level.ERROR) -> Finding:
    """A missing permission, whose texts have nothing to fill in."""
    return Finding(level, problem.kind, problem.check_text, problem.check_advice)


def _proxy(probe: Probe) -> str:
    """A sentence on the proxy that may be in the way, without its URL: it may hold a password."""
    proxy = Proxies(os.environ).proxy_for(probe.config.endpoint)
    if proxy is None:
        return ""
    return f" {proxy.variable} is set and may be the cause, unless NO_PROXY contains the host."


def _problem(error: ApiError, probe: Probe) -> Problem:
    if error.web_page and not isinstance(error, ServerError):
        return problems.WEB_PAGE
    if error.code == NotFound.code:
        return problems.NOT_FOUND
    if not isinstance(error, ConnectionFailed):
        return problems.BY_REASON[error.reason]
    return _connection_problem(error, own_certificates=probe.config.ca_file is not None)


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


def of_integrations(probe: Probe) -> Iterator[Finding]:
    """What is wrong with single integrations, and with all of them together."""
    names = probe.watched
    errors = {each: error for each, error in probe.problems.items() if each in names}
    unknown = [each for each, error in errors.items() if isinstance(error, BadRequest | NotFound)]
    others = [each for each in errors if each not in unknown]
    if unknown:
        yield Finding(
            Level.ERROR,
            "integration_unknown",
            f"{errors[unknown[0]].code}: Braze has no history of {_listing(unknown, names)}",
            "Check the IDs in the configuration, and that they belong to this workspace: an ID is "
            "the last part of the integration's URL in the Braze dashboard.",
        )
    if others and probe.history_error is None:
        yield Finding(
            Level.ERROR,
            "history_unreadable",
            f"cannot read the history of {_listing(others, names)}: {errors[others[0]]}",
            _failure(errors[others[0]], probe).advice,
        )
    if probe.complete and not names and not probe.items:
        yield Finding(
            Level.WARNING,
            "no_integrations",
            "Braze lists no integration for this workspace",
            "Check that the key belongs to the workspace that has the syncs.",
        )
    elif probe.complete and not names:
        every = len(probe.items)
        left_out = "the only integration" if every == 1 else f"all {every} integrations"
        yield Finding(
            Level.WARNING,
            "all_left_out",
            f"include and exclude leave out {left_out}",
            "Check the patterns: each must fit the whole name or the whole ID.",
        )
    unread = len(names) - len(probe.histories) - len(errors)
    if unread > 0 and probe.history_error is None and probe.histories:
        yield Finding(
            Level.NOTE,
            "histories_not_read",
            f"{things(unread, 'history was', 'histories were')} not read, to save the budget: "
            "their last run comes from the list, with its start time",
        )


def of_configuration(probe: Probe) -> Iterator[Finding]:
    """What is worth a word before any request."""
    if right := rest_endpoint_for(probe.config.endpoint):
        yield Finding(
            Level.WARNING,
            "no_rest_endpoint",
            f"{urlsplit(probe.config.endpoint).hostname} is not a REST endpoint",
            f"The REST endpoint of that cluster is {right}.",
        )
    if probe.sharing:
        yield Finding(
            Level.NOTE,
            "budget_shared",
            f"shares endpoint, key and budget with {', '.join(probe.sharing)}",
        )


def of_cost(watching: Cost) -> Iterator[Finding]:
    """Whether the budget is too small."""
    load = watching.job_sync_status
    if watching.keeps_up:
        return
    if load.requests_per_minute > load.budget_per_minute:
        text = (
            f"the histories need about {load.requests_per_minute:.0f} requests a minute, but the "
            f"budget is {load.budget_per_minute}: their data will be late"
        )
    else:
        every = duration(watching.refresh_interval_seconds)
        text = f"the budget allows a refresh every {every}, not at every scrape"
    yield Finding(
        Level.WARNING,
        "budget_short",
        text,
        "Exclude integrations, or raise rate_limit_share if no other tool needs the limit of this "
        "workspace.",
    )


def of_runs(probe: Probe) -> Iterator[Finding]:
    """The integrations whose last runs all failed, those with most failures first."""
    read = {each: probe.histories[each] for each in probe.watched if each in probe.histories}
    failing = sorted(read, key=lambda each: -read[each].consecutive_failures)
    for each in failing[:MOST_NAMED]:
        if read[each].consecutive_failures >= FAILURES_IN_A_ROW:
            text = f"{_listing([each], probe.watched)}: {_failing(read[each])}"
            advice = "Look at the errors of these runs in the Braze dashboard."
            yield Finding(Level.WARNING, "failing", text, advice)


def _failing(known: HistorySummary) -> str:
    """How many runs failed, as far as the newest page shows it."""
    since = known.last_delivery
    more = since is None and len(known.recent) >= PAGE_SIZE
    if since is None:
        since = known.history_start
    date = utc(since)
    runs = f"{'at least ' if more else ''}{known.consecutive_failures} failed runs in a row"
    return f"{runs}, no success since {date:%Y-%m-%d %H:%M} UTC" if date else runs


def of_data(probe: Probe) -> Iterator[Finding]:
    """What is wrong with watermarks and clocks."""
    names = probe.watched
    ahead = [each for each in names if in_future(probe.watermark(each), probe.now)]
    if ahead:
        yield Finding(
            Level.WARNING,
            "watermark_in_future",
            f"the watermark is in the future for {_listing(ahead, names)}",
            "Correct the rows with an UPDATED_AT in the future in the warehouse: Braze skips rows "
            "that are older than the watermark.",
        )
    if abs(probe.skew) >= LEAST_SKEW:
        way = "behind" if probe.skew > 0 else "ahead of"
        yield Finding(
            Level.WARNING,
            "clock",
            f"this machine's clock is {duration(abs(probe.skew))} {way} Braze's",
            "Synchronize it with NTP: ages on dashboards and in alerts are wrong by this amount.",
        )


def _listing(identifiers: Sequence[str], names: Mapping[str, str]) -> str:
    """Some integrations by name and ID."""
    shown = [
        each if names[each] == each else f"{names[each]} ({each})"
        for each in identifiers[:MOST_NAMED]
    ]
    more = len(identifiers) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
