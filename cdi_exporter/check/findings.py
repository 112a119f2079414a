"""The findings about one workspace: errors, warnings and notes, with advice.

The texts for failed requests come from the table in `problems`.
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
"""Seconds by which the clock must be wrong for a warning: a typical scrape interval."""

FAILURES_IN_A_ROW = 3
"""Failed runs for a warning. One or two may be temporary, and the table shows them."""

MOST_NAMED = 5
"""Integrations that one finding names, so that it stays readable."""

_OF_THE_LIBRARY = re.compile(r" \(_ssl\.c:\d+\)$")
"""The place in Python's source code that OpenSSL errors end with, which does not help users."""


def answer_findings(probe: Probe, watching: Cost | None) -> Iterator[Finding]:
    """All findings about a workspace whose probe has run."""
    yield from _request_findings(probe)
    yield from _integration_findings(probe)
    yield from configuration_findings(probe)
    if watching and not watching.keeps_up:
        yield _budget_short(watching)
    yield from _run_findings(probe)
    yield from _data_findings(probe)


def _request_findings(probe: Probe) -> Iterator[Finding]:
    """Why the list or the histories could not be read."""
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
    """The finding for a failed request."""
    problem = _problem(error, probe)
    url = urlsplit(probe.config.endpoint)
    cluster, dashboard = cluster_of(probe.config.endpoint), dashboard_of(probe.config.endpoint)
    values = {
        "error": str(error),
        "detail": _OF_THE_LIBRARY.sub("", str(error).removeprefix(f"{NO_ANSWER} {url.netloc}: ")),
        "status": f"{error.code}: " if error.code.isdigit() else "",
        "host": f"{url.netloc} ({cluster})" if cluster else url.netloc,
        "name": url.hostname,
        "proxy": "",
        "endpoints": f"Braze's REST endpoints are {REST_ENDPOINTS}.",
        "dashboard": "",
        "advice": problem.advice,
    }
    # The URL of the proxy is not shown, because it may contain a password.
    if proxy := Proxies(os.environ).proxy_for(probe.config.endpoint):
        cause = f"{proxy.variable} is set and may be the cause"
        values["proxy"] = f" {cause}, unless NO_PROXY contains the host."
    if dashboard:
        values["dashboard"] = f"; this endpoint belongs to the dashboard at {dashboard}"
    text = problem.check_text.format_map(values)
    advice = (problem.check_advice or problem.advice).format_map(values)
    return Finding(Level.ERROR, problem.kind, text, advice)


def _refusal(problem: Problem, level: Level = Level.ERROR) -> Finding:
    """The finding for a missing permission, whose texts have no placeholders."""
    return Finding(level, problem.kind, problem.check_text, problem.check_advice)


def _problem(error: ApiError, probe: Probe) -> Problem:
    if error.web_page and not isinstance(error, ServerError):
        return problems.WEB_PAGE
    if error.code == NotFound.code:
        return problems.NOT_FOUND
    if not isinstance(error, ConnectionFailed):
        return problems.BY_REASON[error.reason]
    untrusted = problems.UNTRUSTED_BY_CA_FILE if probe.config.ca_file else problems.UNTRUSTED
    kinds = {
        socket.gaierror: problems.NAME_RESOLUTION,
        ssl.SSLCertVerificationError: untrusted,
        ssl.SSLError: problems.TLS,
    }
    for cause in causes(error):
        for kind, problem in kinds.items():
            if isinstance(cause, kind):
                return problem
    return problems.CONNECTION


def _integration_findings(probe: Probe) -> Iterator[Finding]:
    """Integrations that cannot be read, and why no integration is watched."""
    names = probe.watched
    errors = {each: error for each, error in probe.problems.items() if each in names}
    unknown = [each for each, error in errors.items() if isinstance(error, BadRequest | NotFound)]
    others = [each for each in errors if each not in unknown]
    if unknown:
        text = f"{errors[unknown[0]].code}: Braze has no history of {_listing(unknown, names)}"
        advice = (
            "Check the IDs in the configuration, and that they belong to this workspace: an ID is "
            "the last part of the integration's URL in the Braze dashboard."
        )
        yield Finding(Level.ERROR, "integration_unknown", text, advice)
    if others and probe.history_error is None:
        error = errors[others[0]]
        text = f"cannot read the history of {_listing(others, names)}: {error}"
        yield Finding(Level.ERROR, "history_unreadable", text, _failure(error, probe).advice)
    if probe.list_error is None and not names and not probe.items:
        text = "Braze lists no integration for this workspace"
        advice = "Check that the key belongs to the workspace that has the syncs."
        yield Finding(Level.WARNING, "no_integrations", text, advice)
    elif probe.list_error is None and not names:
        every = len(probe.items)
        left_out = "the only integration" if every == 1 else f"all {every} integrations"
        text = f"include and exclude leave out {left_out}"
        advice = "Check the patterns: each must fit the whole name or the whole ID."
        yield Finding(Level.WARNING, "all_left_out", text, advice)
    unread = len(names) - len(probe.histories) - len(errors)
    if unread > 0 and probe.history_error is None and probe.histories:
        unread_histories = things(unread, "history was", "histories were")
        text = (
            f"{unread_histories} not read, to save the budget: their last run comes from the list, "
            "with its start time"
        )
        yield Finding(Level.NOTE, "histories_not_read", text)


def configuration_findings(probe: Probe) -> Iterator[Finding]:
    """Findings that need no request."""
    if right := rest_endpoint_for(probe.config.endpoint):
        text = f"{urlsplit(probe.config.endpoint).hostname} is not a REST endpoint"
        advice = f"The REST endpoint of that cluster is {right}."
        yield Finding(Level.WARNING, "no_rest_endpoint", text, advice)
    if probe.sharing:
        text = f"shares endpoint, key and budget with {', '.join(probe.sharing)}"
        yield Finding(Level.NOTE, "budget_shared", text)


def _budget_short(watching: Cost) -> Finding:
    """The warning that the request budget is too small."""
    load = watching.job_sync_status
    if load.requests_per_minute > load.budget_per_minute:
        text = (
            f"the histories need about {load.requests_per_minute:.0f} requests a minute, but the "
            f"budget is {load.budget_per_minute}: their data will be late"
        )
    else:
        every = duration(watching.refresh_interval_seconds)
        text = f"the budget allows a refresh every {every}, not at every scrape"
    advice = (
        "Exclude integrations, or raise rate_limit_share if no other tool needs the limit of this "
        "workspace."
    )
    return Finding(Level.WARNING, "budget_short", text, advice)


def _run_findings(probe: Probe) -> Iterator[Finding]:
    """The integrations whose last runs failed, those with most failures first."""
    read = {each: probe.histories[each] for each in probe.watched if each in probe.histories}
    failing = sorted(read, key=lambda each: -read[each].consecutive_failures)
    for each in failing[:MOST_NAMED]:
        if read[each].consecutive_failures >= FAILURES_IN_A_ROW:
            text = f"{_listing([each], probe.watched)}: {_failing(read[each])}"
            advice = "Look at the errors of these runs in the Braze dashboard."
            yield Finding(Level.WARNING, "failing", text, advice)


def _failing(known: HistorySummary) -> str:
    """The number of failed runs in a row, as far as the newest page shows it."""
    since = known.last_delivery
    more = since is None and len(known.recent) >= PAGE_SIZE
    date = utc(known.history_start if since is None else since)
    runs = f"{'at least ' if more else ''}{known.consecutive_failures} failed runs in a row"
    return f"{runs}, no success since {date:%Y-%m-%d %H:%M} UTC" if date else runs


def _data_findings(probe: Probe) -> Iterator[Finding]:
    """Watermarks in the future, and a clock that differs from Braze's."""
    names = probe.watched
    ahead = [each for each in names if in_future(probe.watermark(each), probe.now)]
    if ahead:
        text = f"the watermark is in the future for {_listing(ahead, names)}"
        advice = (
            "Correct the rows with an UPDATED_AT in the future in the warehouse: Braze skips rows "
            "that are older than the watermark."
        )
        yield Finding(Level.WARNING, "watermark_in_future", text, advice)
    skew = probe.client.skew
    if abs(skew) >= LEAST_SKEW:
        way = "behind" if skew > 0 else "ahead of"
        text = f"this machine's clock is {duration(abs(skew))} {way} Braze's"
        advice = (
            "Synchronize it with NTP: ages on dashboards and in alerts are wrong by this amount."
        )
        yield Finding(Level.WARNING, "clock", text, advice)


def _listing(identifiers: Sequence[str], names: Mapping[str, str]) -> str:
    """The names and IDs of the first integrations, and the number of the others."""
    shown = [
        each if names[each] == each else f"{names[each]} ({each})"
        for each in identifiers[:MOST_NAMED]
    ]
    more = len(identifiers) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
