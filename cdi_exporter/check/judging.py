"""What the answers mean for one workspace: key, permissions, integrations, cost. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cdi_exporter.braze.answers import Endpoint
from cdi_exporter.braze.budget import allowed
from cdi_exporter.check import remarks
from cdi_exporter.check.asking import Answers, Asked, named
from cdi_exporter.check.clusters import cluster_of
from cdi_exporter.check.cost import Pace, cost
from cdi_exporter.check.report import (
    CheckedIntegration,
    CheckedWorkspace,
    Cost,
    Finding,
    Granted,
    LastRun,
    Level,
)
from cdi_exporter.check.trouble import forbidden
from cdi_exporter.errors import ApiError, BadRequest, NotFound, Unauthorized
from cdi_exporter.ledger import Known
from cdi_exporter.model import FAILURES, Integration, Run, Status
from cdi_exporter.problems import HISTORY_PERMISSION, LIST_PERMISSION

LEAST_INTERVAL = 300.0
"""Seconds between the runs of the most frequent schedule."""

_GRAVITY = {level: place for place, level in enumerate(Level)}


def unasked(asked: Asked) -> CheckedWorkspace:
    """A workspace of which the configuration alone is known."""
    return _workspace(asked, [*remarks.of_configuration(asked)])


def judged(asked: Asked, answers: Answers) -> CheckedWorkspace:
    """What the answers of its API say of a workspace."""
    names = named(asked.config, answers.items)
    integrations = _integrations(asked, answers, names)
    listed = answers.complete or answers.list_error is None
    watching = _cost(asked, answers, integrations) if names else None
    findings = [
        *remarks.of_requests(asked, answers),
        *remarks.of_integrations(asked, answers, names),
        *remarks.of_configuration(asked),
        *(remarks.of_cost(asked, watching) if watching else ()),
        *remarks.of_answers(answers, names),
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
    oldest = known.running[0] if known and known.running else None
    return CheckedIntegration(
        integration_id=identifier,
        integration_name=name,
        history_read=known is not None,
        last_run=last,
        running_start_timestamp_seconds=running,
        running_job_status=oldest.job_status if oldest else None,
        watermark_timestamp_seconds=remarks.watermark(answers, identifier),
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
    return LastRun(item.last_job_status, item.last_job_start, job_status=item.last_job_word), None


def _last(run: Run) -> LastRun:
    return LastRun(
        run.status,
        run.start,
        run.finish,
        run.duration,
        run.rows_synced,
        run.rows_failed,
        run.job_status,
    )


def _troubled(integration: CheckedIntegration) -> bool:
    last = integration.last_run
    unwell = {*FAILURES, Status.UNKNOWN}
    return integration.problem is not None or (last is not None and last.status in unwell)


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
