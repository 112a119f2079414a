"""What is worth a sentence in the answers and in the configuration. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from cdi_exporter import problems
from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.check.probe import ProbeResult, Target
from cdi_exporter.check.report import Cost, Finding, Level
from cdi_exporter.check.trouble import failure, refusal
from cdi_exporter.config.clusters import meant
from cdi_exporter.errors import BadRequest, NotFound
from cdi_exporter.ledger import HistorySummary
from cdi_exporter.model import in_future
from cdi_exporter.wording import duration, things, utc

LEAST_SKEW = 60.0
"""Seconds by which a clock must be wrong to be worth a word: scrapes are about as far apart."""

FAILURES_IN_A_ROW = 3
"""One or two failed runs may pass by themselves; the table shows them."""

MOST_NAMED = 5
"""Integrations that one finding names."""


def of_requests(target: Target, result: ProbeResult) -> Iterator[Finding]:
    """What kept the list or the histories from being read as a whole."""
    named = target.config.integrations is not None
    if result.list_forbidden and result.history_forbidden and not named:
        yield refusal(problems.FORBIDDEN)
        return
    if result.list_forbidden and named:
        yield refusal(problems.LIST_NOT_NEEDED, Level.NOTE)
    elif result.list_forbidden:
        yield refusal(problems.LIST_FORBIDDEN)
    elif result.list_error:
        yield failure(result.list_error, target)
    if result.history_forbidden:
        yield refusal(problems.HISTORY_FORBIDDEN)
    elif result.history_error:
        yield failure(result.history_error, target)


def of_integrations(
    target: Target, result: ProbeResult, names: Mapping[str, str]
) -> Iterator[Finding]:
    """What is wrong with single integrations, and with all of them together."""
    errors = {each: error for each, error in result.problems.items() if each in names}
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
    if others and result.history_error is None:
        yield Finding(
            Level.ERROR,
            "history_unreadable",
            f"cannot read the history of {_listing(others, names)}: {errors[others[0]]}",
            failure(errors[others[0]], target).advice,
        )
    if result.complete and not names and not result.items:
        yield Finding(
            Level.WARNING,
            "no_integrations",
            "Braze lists no integration for this workspace",
            "Check that the key belongs to the workspace that has the syncs.",
        )
    elif result.complete and not names:
        every = len(result.items)
        left_out = "the only integration" if every == 1 else f"all {every} integrations"
        yield Finding(
            Level.WARNING,
            "all_left_out",
            f"include and exclude leave out {left_out}",
            "Check the patterns: each must fit the whole name or the whole ID.",
        )
    unread = len(names) - len(result.histories) - len(errors)
    if unread > 0 and result.history_error is None and result.histories:
        yield Finding(
            Level.NOTE,
            "histories_not_read",
            f"{things(unread, 'history was', 'histories were')} not read, to save the budget: "
            "their last run comes from the list, with its start time",
        )


def of_configuration(target: Target) -> Iterator[Finding]:
    """What is worth a word before any request."""
    if right := meant(target.endpoint):
        yield Finding(
            Level.WARNING,
            "no_rest_endpoint",
            f"{urlsplit(target.endpoint).hostname} is not a REST endpoint",
            f"The REST endpoint of that cluster is {right}.",
        )
    if target.sharing:
        yield Finding(
            Level.NOTE,
            "budget_shared",
            f"shares endpoint, key and budget with {', '.join(target.sharing)}",
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


def of_runs(result: ProbeResult, names: Mapping[str, str]) -> Iterator[Finding]:
    """The integrations whose last runs all failed, those with most failures first."""
    failures = {
        each: result.histories[each].consecutive_failures
        for each in names
        if each in result.histories
    }
    failing = sorted(failures, key=lambda each: -failures[each])
    for each in failing[:MOST_NAMED]:
        if failures[each] >= FAILURES_IN_A_ROW:
            text = f"{_listing([each], names)}: {_failing(result.histories[each])}"
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


def of_data(result: ProbeResult, names: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with watermarks and clocks."""
    ahead = [each for each in names if in_future(result.watermark(each), result.now)]
    if ahead:
        yield Finding(
            Level.WARNING,
            "watermark_in_future",
            f"the watermark is in the future for {_listing(ahead, names)}",
            "Correct the rows with an UPDATED_AT in the future in the warehouse: Braze skips rows "
            "that are older than the watermark.",
        )
    if abs(result.skew) >= LEAST_SKEW:
        way = "behind" if result.skew > 0 else "ahead of"
        yield Finding(
            Level.WARNING,
            "clock",
            f"this machine's clock is {duration(abs(result.skew))} {way} Braze's",
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
