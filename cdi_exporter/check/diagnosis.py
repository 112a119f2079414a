"""What a probe's result means for one workspace: key, permissions, integrations, cost. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cdi_exporter.braze.budget import allowed
from cdi_exporter.check import remarks
from cdi_exporter.check.cost import cost
from cdi_exporter.check.probe import Probe
from cdi_exporter.check.report import (
    CheckedIntegration,
    CheckedWorkspace,
    Cost,
    Finding,
    Granted,
    LastRun,
    Level,
)
from cdi_exporter.config.clusters import cluster_of
from cdi_exporter.errors import BadRequest, NotFound
from cdi_exporter.model import FAILURES, Endpoint, Run, Status
from cdi_exporter.problems import HISTORY_PERMISSION, LIST_PERMISSION

LEAST_INTERVAL = 300.0
"""Seconds between the runs of the most frequent schedule."""

_LEVELS = [*Level]


def diagnose_offline(probe: Probe) -> CheckedWorkspace:
    """A workspace of which only the configuration is known."""
    return _workspace(probe, remarks.of_configuration(probe))


def diagnose(probe: Probe) -> CheckedWorkspace:
    """What the answers mean for a workspace."""
    integrations = _integrations(probe)
    watching = _cost(probe, integrations) if probe.watched else None
    findings = [
        *remarks.of_requests(probe),
        *remarks.of_integrations(probe),
        *remarks.of_configuration(probe),
        *(remarks.of_cost(watching) if watching else ()),
        *remarks.of_runs(probe),
        *remarks.of_data(probe),
    ]
    return replace(
        _workspace(probe, findings),
        key_works=probe.key_works,
        permissions={
            LIST_PERMISSION: _list_granted(probe),
            HISTORY_PERMISSION: _history_granted(probe),
        },
        list_complete=probe.complete,
        integrations=integrations,
        cost=watching,
    )


def _workspace(probe: Probe, findings: Iterable[Finding]) -> CheckedWorkspace:
    by_level = sorted(dict.fromkeys(findings), key=lambda each: _LEVELS.index(each.level))
    return CheckedWorkspace(
        workspace=probe.config.name,
        endpoint=probe.config.endpoint,
        cluster=cluster_of(probe.config.endpoint),
        ok=not any(each.level is Level.ERROR for each in by_level),
        findings=tuple(by_level),
    )


def _list_granted(probe: Probe) -> Granted:
    if probe.items or probe.complete or probe.list_error is None:
        return Granted.YES
    return Granted.NO if probe.list_forbidden else Granted.UNKNOWN


def _history_granted(probe: Probe) -> Granted:
    if probe.histories:
        return Granted.YES
    if probe.history_forbidden:
        return Granted.NO
    objections = (BadRequest, NotFound)
    refused = any(isinstance(each, objections) for each in probe.problems.values())
    return Granted.LIKELY if refused and probe.key_works else Granted.UNKNOWN


def _integrations(probe: Probe) -> tuple[CheckedIntegration, ...]:
    """The watched ones, those with trouble first, then those that are left out."""
    found = [_integration(each, name, probe) for each, name in probe.watched.items()]
    found.sort(key=lambda each: (not _has_trouble(each), each.integration_name.casefold()))
    found += [
        replace(_integration(each, item.name or each, probe), watched=False)
        for each, item in probe.items.items()
        if each not in probe.watched
    ]
    return tuple(found)


def _integration(identifier: str, name: str, probe: Probe) -> CheckedIntegration:
    """One integration: its runs from its history, else from the list."""
    known = probe.histories.get(identifier)
    item = probe.items.get(identifier)
    problem = probe.problems.get(identifier)
    last = oldest = None
    if known is not None:
        last = _last_run(known.last) if known.last else None
        oldest = known.running[0] if known.running else None
    elif item is not None and item.last_job_status is not None:
        newest = Run(item.last_job_status, item.last_job_start, job_status=item.last_job_word)
        if newest.status is Status.RUNNING:
            oldest = newest
        else:
            last = _last_run(newest)
    return CheckedIntegration(
        integration_id=identifier,
        integration_name=name,
        history_read=known is not None,
        last_run=last,
        running_start_timestamp_seconds=oldest.start if oldest else None,
        running_job_status=oldest.job_status if oldest else None,
        watermark_timestamp_seconds=probe.watermark(identifier),
        typical_sync_interval_seconds=known.typical_interval if known else None,
        next_scheduled_sync_timestamp_seconds=item.next_scheduled_run if item else None,
        problem=str(problem) if problem else None,
    )


def _last_run(run: Run) -> LastRun:
    facts = (run.start, run.finish, run.duration, run.rows_synced, run.rows_failed)
    return LastRun(run.status, *facts, run.job_status)


def _has_trouble(integration: CheckedIntegration) -> bool:
    last = integration.last_run
    unwell = {*FAILURES, Status.UNKNOWN}
    return integration.problem is not None or (last is not None and last.status in unwell)


def _cost(probe: Probe, integrations: Sequence[CheckedIntegration]) -> Cost:
    """What watching takes; workspaces with one budget have equal parts of it."""
    refresh = probe.config.refresh

    def budget(endpoint: Endpoint, documented: int) -> int:
        limit = min(documented, probe.limits.get(endpoint, documented))
        return max(1, allowed(limit, refresh.rate_limit_share) // (1 + len(probe.sharing)))

    return cost(
        [_interval(each) for each in integrations if each.watched],
        listed=None if probe.list_forbidden else len(probe.items),
        scrape_interval=probe.scrape_interval,
        min_interval=refresh.min_interval,
        list_budget=budget(Endpoint.INTEGRATIONS, refresh.rate_limits.integrations),
        history_budget=budget(Endpoint.HISTORY, refresh.rate_limits.job_sync_status),
    )


def _interval(integration: CheckedIntegration) -> float | None:
    """Typical seconds between runs; without a history, from the last run to the next."""
    started = integration.running_start_timestamp_seconds
    if started is None and integration.last_run:
        started = integration.last_run.start_timestamp_seconds
    following = integration.next_scheduled_sync_timestamp_seconds
    if integration.typical_sync_interval_seconds or started is None or following is None:
        return integration.typical_sync_interval_seconds
    return max(LEAST_INTERVAL, following - started)
