"""What is worth a sentence, of the answers and of the configuration. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from cdi_exporter import problems as problem
from cdi_exporter.check.asking import Answers, Asked
from cdi_exporter.check.clusters import meant
from cdi_exporter.check.report import Cost, Finding, Level
from cdi_exporter.check.trouble import failed, forbidden, refused
from cdi_exporter.errors import BadRequest, NotFound
from cdi_exporter.model import in_future
from cdi_exporter.web.wording import duration, things

LEAST_SKEW = 60.0
"""Seconds by which a clock must be wrong to be worth a word."""

MOST_NAMED = 5
"""Integrations that one finding names."""


def of_requests(asked: Asked, answers: Answers) -> Iterator[Finding]:
    """What kept the list or the histories from being read as a whole."""
    no_list, no_history = map(forbidden, (answers.list_error, answers.history_error))
    configured = asked.config.integrations is not None
    if no_list and no_history and not configured:
        yield refused(problem.FORBIDDEN)
        return
    if no_list and configured:
        yield refused(problem.LIST_NOT_NEEDED, Level.NOTE)
    elif no_list:
        yield refused(problem.LIST_FORBIDDEN)
    elif answers.list_error:
        yield failed(answers.list_error, asked.place)
    if no_history:
        yield refused(problem.HISTORY_FORBIDDEN)
    elif answers.history_error:
        yield failed(answers.history_error, asked.place)


def of_integrations(asked: Asked, answers: Answers, names: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with single integrations, and with all of them together."""
    problems = {each: error for each, error in answers.problems.items() if each in names}
    unknown = [each for each, error in problems.items() if isinstance(error, BadRequest | NotFound)]
    others = [each for each in problems if each not in unknown]
    if unknown:
        yield Finding(
            Level.ERROR,
            "integration_unknown",
            f"{problems[unknown[0]].code}: Braze has no history of {_listing(unknown, names)}",
            "Check the IDs in the configuration, and that they are of this workspace: an ID is the "
            "last part of the integration's address in the Braze dashboard.",
        )
    if others and answers.history_error is None:
        yield Finding(
            Level.ERROR,
            "history_unreadable",
            f"no history of {_listing(others, names)}: {problems[others[0]]}",
            failed(problems[others[0]], asked.place).advice,
        )
    if answers.complete and not names:
        yield _nothing_to_watch(answers)
    unread = len(names) - len(answers.histories) - len(problems)
    if unread > 0 and answers.history_error is None and answers.histories:
        yield Finding(
            Level.NOTE,
            "histories_not_read",
            f"{things(unread, 'history was', 'histories were')} not read, to spare the budget: "
            "of those the last run is as the list has it, by its begin",
        )


def _nothing_to_watch(answers: Answers) -> Finding:
    if not answers.items:
        return Finding(
            Level.WARNING,
            "no_integrations",
            "Braze lists no integration for this workspace",
            "Check that the key is of the workspace that has the syncs.",
        )
    return Finding(
        Level.WARNING,
        "all_left_out",
        f"include and exclude leave out {_all_of(len(answers.items))}",
        "Check the patterns: each must fit the whole name or the whole ID.",
    )


def of_configuration(asked: Asked) -> Iterator[Finding]:
    """What is worth a word before anything is asked."""
    if right := meant(asked.config.endpoint):
        yield Finding(
            Level.WARNING,
            "no_rest_endpoint",
            f"{urlsplit(asked.config.endpoint).hostname} is no REST endpoint",
            f"That cluster's is {right}.",
        )
    if asked.sharing:
        yield Finding(
            Level.NOTE,
            "budget_shared",
            f"shares endpoint, key and budget with {', '.join(asked.sharing)}",
        )


def of_cost(asked: Asked, watching: Cost) -> Iterator[Finding]:
    """Where the budget is too short."""
    every = duration(watching.refresh_interval_seconds)
    load = watching.job_sync_status
    if watching.keeps_up:
        return
    if load.requests_per_minute > load.budget_per_minute:
        text = (
            f"the histories take about {load.requests_per_minute:.0f} requests a minute, of "
            f"{load.budget_per_minute}: what they say comes late"
        )
    else:
        text = f"the budget allows a refresh each {every}, not at each scrape"
    yield Finding(
        Level.WARNING,
        "budget_short",
        text,
        "Leave integrations out by exclude, or raise rate_limit_share where no other tool needs "
        "the limit of this workspace.",
    )


def of_answers(answers: Answers, names: Mapping[str, str]) -> Iterator[Finding]:
    """What the answers tell beside what was asked for."""
    ahead = [each for each in names if in_future(watermark(answers, each), answers.now)]
    if ahead:
        yield Finding(
            Level.WARNING,
            "watermark_in_future",
            f"the watermark is in the future for {_listing(ahead, names)}",
            "Correct the rows whose UPDATED_AT is in the future at their source: Braze syncs no "
            "row that is older than the watermark.",
        )
    if abs(answers.skew) >= LEAST_SKEW:
        way = "behind" if answers.skew > 0 else "ahead of"
        yield Finding(
            Level.WARNING,
            "clock",
            f"this machine's clock is {duration(abs(answers.skew))} {way} Braze's",
            "Set it right, by NTP: ages on dashboards and in alerts are wrong by as much.",
        )


def watermark(answers: Answers, identifier: str) -> float | None:
    """The newest row that an integration synced, by its history, else by the list."""
    known, item = answers.histories.get(identifier), answers.items.get(identifier)
    if known is not None:
        return known.watermark
    return item.last_updated if item else None


def _listing(identifiers: Sequence[str], names: Mapping[str, str]) -> str:
    """Some integrations by name and ID."""
    told = [
        each if names[each] == each else f"{names[each]} ({each})"
        for each in identifiers[:MOST_NAMED]
    ]
    more = len(identifiers) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _all_of(number: int) -> str:
    return "the only integration" if number == 1 else f"all {number} integrations"
