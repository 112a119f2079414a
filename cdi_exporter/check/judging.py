"""What the answers mean for one workspace: permissions, integrations, cost, findings. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cdi_exporter.braze.budget import allowed
from cdi_exporter.braze.client import Endpoint
from cdi_exporter.check import trouble
from cdi_exporter.check.asking import Answers, named
from cdi_exporter.check.clusters import cluster_of, meant
from cdi_exporter.check.cost import Pace, cost
from cdi_exporter.check.report import (
    HISTORY_PERMISSION,
    LIST_PERMISSION,
    CheckedIntegration,
    CheckedWorkspace,
    Cost,
    Finding,
    Granted,
    LastRun,
    Level,
)
from cdi_exporter.check.trouble import Place, failed, forbidden
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.errors import ApiError, BadRequest, NotFound, Unauthorized
from cdi_exporter.ledger import Known
from cdi_exporter.model import FAILURES, Integration, Run, Status
from cdi_exporter.web.wording import duration, things

LEAST_SKEW = 60.0
"""Seconds by which a clock must be wrong to be worth a word."""

LEAST_INTERVAL = 300.0
"""Seconds between the runs of the most frequent schedule."""

MOST_NAMED = 5
"""Integrations that one finding names."""

_GRAVITY = {level: place for place, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Asked:
    """One workspace, and what is to be known of it beside the answers."""

    config: WorkspaceConfig
    place: Place
    scrape_interval: float
    sharing: Sequence[str] = ()
    """The other workspaces with the same endpoint and key, hence the same budget."""


def unasked(asked: Asked) -> CheckedWorkspace:
    """A workspace of which the configuration alone is known."""
    return _workspace(asked, [*_of_configuration(asked)])


def judged(asked: Asked, answers: Answers) -> CheckedWorkspace:
    """What the answers of its API say of a workspace."""
    names = named(asked.config, answers.items)
    integrations = _integrations(asked, answers, names)
    listed = answers.complete or answers.list_error is None
    watching = _cost(asked, answers, integrations) if names else None
    findings = [
        *_of_requests(asked, answers),
        *_of_integrations(asked, answers, names),
        *_of_configuration(asked),
        *(_of_cost(asked, watching) if watching else ()),
        *_of_answers(answers),
    ]
    return replace(
        _workspace(asked, findings),
        key_works=_key_works(answers),
        permissions={
            LIST_PERMISSION: _granted(answers.list_error, got=bool(answers.items) or listed),
            HISTORY_PERMISSION: _history_granted(answers),
        },
        list_complete=answers.complete,
        integrations=integrations,
        cost=watching,
    )


def _workspace(asked: Asked, findings: Sequence[Finding]) -> CheckedWorkspace:
    config = asked.config
    return CheckedWorkspace(
        workspace=config.name,
        endpoint=config.endpoint,
        cluster=cluster_of(config.endpoint),
        ok=not any(each.level is Level.ERROR for each in findings),
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda each: _GRAVITY[each.level])),
    )


# The key


def _key_works(answers: Answers) -> bool | None:
    errors = (answers.list_error, answers.history_error)
    if any(isinstance(error, Unauthorized) and not error.web_page for error in errors):
        return False
    data = answers.items or answers.complete or answers.histories
    return True if data or any(map(forbidden, errors)) else None


def _granted(error: ApiError | None, *, got: bool) -> Granted:
    if got:
        return Granted.YES
    return Granted.NO if forbidden(error) else Granted.UNKNOWN


def _history_granted(answers: Answers) -> Granted:
    granted = _granted(answers.history_error, got=bool(answers.histories))
    objections = (BadRequest, NotFound)
    refused = any(isinstance(each, objections) for each in answers.problems.values())
    if granted is Granted.UNKNOWN and refused and _key_works(answers):
        return Granted.LIKELY
    return granted


# The integrations


def _integrations(
    asked: Asked, answers: Answers, names: Mapping[str, str]
) -> tuple[CheckedIntegration, ...]:
    """The watched ones, those with trouble first, then those that are left out."""
    left_out = {each: item for each, item in answers.items.items() if each not in names}
    found = [_integration(each, name, answers) for each, name in names.items()]
    found.sort(key=lambda each: (not _troubled(each), each.integration_name.casefold()))
    found += [
        replace(_integration(each, item.name or each, answers), watched=False)
        for each, item in left_out.items()
    ]
    return tuple(found)


def _integration(identifier: str, name: str, answers: Answers) -> CheckedIntegration:
    known = answers.histories.get(identifier)
    item = answers.items.get(identifier)
    problem = answers.problems.get(identifier)
    last, running = _from_history(known) if known else _from_list(item)
    return CheckedIntegration(
        integration_id=identifier,
        integration_name=name,
        history_read=known is not None,
        last_run=last,
        running_start_timestamp_seconds=running,
        typical_sync_interval_seconds=known.typical_interval if known else None,
        next_scheduled_sync_timestamp_seconds=item.next_scheduled_run if item else None,
        problem=str(problem) if problem else None,
    )


def _from_history(known: Known) -> tuple[LastRun | None, float | None]:
    running = known.running[0].start if known.running else None
    return (_last(known.last) if known.last else None), running


def _from_list(item: Integration | None) -> tuple[LastRun | None, float | None]:
    if item is None or item.last_job_status is None:
        return None, None
    if item.last_job_status is Status.RUNNING:
        return None, item.last_job_start
    return LastRun(item.last_job_status, item.last_job_start), None


def _last(run: Run) -> LastRun:
    return LastRun(
        run.status, run.start, run.finish, run.duration, run.rows_synced, run.rows_failed
    )


def _troubled(integration: CheckedIntegration) -> bool:
    last = integration.last_run
    return integration.problem is not None or (last is not None and last.status in FAILURES)


# The cost


def _cost(asked: Asked, answers: Answers, integrations: Sequence[CheckedIntegration]) -> Cost:
    """What watching takes; workspaces with one budget have equal parts of it."""
    refresh = asked.config.refresh
    limits = refresh.rate_limits
    documented = {
        Endpoint.INTEGRATIONS: limits.integrations,
        Endpoint.HISTORY: limits.job_sync_status,
    }
    budgets = {
        endpoint: max(
            1,
            allowed(min(limit, answers.limits.get(endpoint, limit)), refresh.rate_limit_share)
            // (1 + len(asked.sharing)),
        )
        for endpoint, limit in documented.items()
    }
    pace = Pace(
        scrape_interval=asked.scrape_interval,
        min_interval=refresh.min_interval,
        list_budget=budgets[Endpoint.INTEGRATIONS],
        history_budget=budgets[Endpoint.HISTORY],
    )
    intervals = [_interval(each) for each in integrations if each.watched]
    listless = forbidden(answers.list_error)
    return cost(intervals, pace, listed=None if listless else len(answers.items))


def _interval(integration: CheckedIntegration) -> float | None:
    """Typical seconds between runs; of a history that was not read, from the last to the next."""
    started = integration.running_start_timestamp_seconds
    if started is None and integration.last_run:
        started = integration.last_run.start_timestamp_seconds
    following = integration.next_scheduled_sync_timestamp_seconds
    if integration.typical_sync_interval_seconds or started is None or following is None:
        return integration.typical_sync_interval_seconds
    return max(LEAST_INTERVAL, following - started)


# What is worth a sentence


def _of_requests(asked: Asked, answers: Answers) -> Iterator[Finding]:
    """What kept the list or the histories from being read as a whole."""
    no_list, no_history = map(forbidden, (answers.list_error, answers.history_error))
    configured = asked.config.integrations is not None
    if no_list and no_history and not configured:
        yield trouble.both_forbidden()
        return
    if no_list and configured:
        yield Finding(
            Level.NOTE,
            "list_forbidden",
            f"the key lacks {LIST_PERMISSION}, which a configuration with IDs does not need",
            "With it a refresh costs one request for ten integrations, instead of one for each.",
        )
    elif no_list:
        yield trouble.list_forbidden()
    elif answers.list_error:
        yield failed(answers.list_error, asked.place)
    if no_history:
        yield trouble.history_forbidden()
    elif answers.history_error:
        yield failed(answers.history_error, asked.place)


def _of_integrations(asked: Asked, answers: Answers, names: Mapping[str, str]) -> Iterator[Finding]:
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


def _of_configuration(asked: Asked) -> Iterator[Finding]:
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


def _of_cost(asked: Asked, watching: Cost) -> Iterator[Finding]:
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


def _of_answers(answers: Answers) -> Iterator[Finding]:
    if abs(answers.skew) >= LEAST_SKEW:
        way = "behind" if answers.skew > 0 else "ahead of"
        yield Finding(
            Level.WARNING,
            "clock",
            f"this machine's clock is {duration(abs(answers.skew))} {way} Braze's",
            "Set it right, by NTP: ages on dashboards and in alerts are wrong by as much.",
        )


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
