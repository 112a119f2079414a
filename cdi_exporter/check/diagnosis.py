"""Interprets the answers for one workspace: key, permissions, integrations and cost. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace

from cdi_exporter.braze.budget import allowed
from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.check.findings import answer_findings, configuration_findings
from cdi_exporter.check.probe import Probe
from cdi_exporter.check.report import (
    CheckedIntegration,
    CheckedWorkspace,
    Cost,
    Granted,
    LastRun,
    Level,
    Load,
)
from cdi_exporter.config.clusters import cluster_of
from cdi_exporter.errors import BadRequest, NotFound
from cdi_exporter.model import FAILURES, Endpoint, Run, Status
from cdi_exporter.problems import HISTORY_PERMISSION, LIST_PERMISSION
from cdi_exporter.workspace.refresher import FORBIDDEN_FOR
from cdi_exporter.workspace.schedule import recheck_interval

LEAST_INTERVAL = 300.0
"""Seconds between the runs of the most frequent schedule in Braze."""

ASSUMED_INTERVAL = 3_600.0
"""Seconds between the runs of an integration if the interval of no integration is known."""


def diagnose(probe: Probe, scrape_interval: float, *, offline: bool) -> CheckedWorkspace:
    """The report on one workspace. `offline` means that the probe has not run."""
    config = probe.config
    integrations = () if offline else _integrations(probe)
    watching = None
    if any(each.watched for each in integrations):
        watching = _cost_of_watching(probe, integrations, scrape_interval)
    findings = configuration_findings(probe) if offline else answer_findings(probe, watching)
    by_level = sorted(dict.fromkeys(findings), key=lambda each: [*Level].index(each.level))
    granted = {LIST_PERMISSION: _list_granted(probe), HISTORY_PERMISSION: _history_granted(probe)}
    return CheckedWorkspace(
        workspace=config.name,
        endpoint=config.endpoint,
        cluster=cluster_of(config.endpoint),
        ok=not any(each.level is Level.ERROR for each in by_level),
        key_works=None if offline else probe.key_works,
        permissions=None if offline else granted,
        list_complete=not offline and probe.list_error is None,
        integrations=integrations,
        cost=watching,
        findings=tuple(by_level),
    )


def _list_granted(probe: Probe) -> Granted:
    if probe.items or probe.list_error is None:
        return Granted.YES
    return Granted.NO if probe.list_forbidden else Granted.UNKNOWN


def _history_granted(probe: Probe) -> Granted:
    if probe.histories:
        return Granted.YES
    if probe.history_forbidden:
        return Granted.NO
    refused = any(isinstance(each, BadRequest | NotFound) for each in probe.problems.values())
    return Granted.LIKELY if refused and probe.key_works else Granted.UNKNOWN


def _integrations(probe: Probe) -> tuple[CheckedIntegration, ...]:
    """The watched integrations, those with a problem first, and then the excluded ones."""

    def order(integration: CheckedIntegration) -> tuple[bool, str]:
        last = integration.last_run
        failed = last is not None and last.status in {*FAILURES, Status.UNKNOWN}
        return not (integration.problem or failed), integration.integration_name.casefold()

    found = [_integration(each, name, probe) for each, name in probe.watched.items()]
    found.sort(key=order)
    found += [
        replace(_integration(each, item.name or each, probe), watched=False)
        for each, item in probe.items.items()
        if each not in probe.watched
    ]
    return tuple(found)


def _integration(identifier: str, name: str, probe: Probe) -> CheckedIntegration:
    """One integration. Its runs come from its history if that was read, else from the list."""
    known = probe.histories.get(identifier)
    item = probe.items.get(identifier)
    problem = probe.problems.get(identifier)
    last: Run | None = None
    oldest: Run | None = None
    if known is not None:
        last, oldest = known.last, next(iter(known.running), None)
    elif item is not None and item.last_job_status is not None:
        newest = Run(item.last_job_status, item.last_job_start, job_status=item.last_job_word)
        last, oldest = (None, newest) if newest.status is Status.RUNNING else (newest, None)
    return CheckedIntegration(
        integration_id=identifier,
        integration_name=name,
        history_read=known is not None,
        last_run=_last_run(last) if last else None,
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


def _cost_of_watching(
    probe: Probe, integrations: Sequence[CheckedIntegration], scrape_interval: float
) -> Cost:
    """The cost of watching a workspace. Workspaces that share a budget get equal parts of it."""
    refresh = probe.config.refresh

    def budget(endpoint: Endpoint, documented: int) -> int:
        limit = min(documented, probe.client.budgets[endpoint].last.limit or documented)
        return max(1, allowed(limit, refresh.rate_limit_share) // (1 + len(probe.sharing)))

    return cost(
        [_interval(each) for each in integrations if each.watched],
        listed=None if probe.list_forbidden else len(probe.items),
        scrape_interval=scrape_interval,
        min_interval=refresh.min_interval,
        list_budget=budget(Endpoint.INTEGRATIONS, refresh.rate_limits.integrations),
        history_budget=budget(Endpoint.HISTORY, refresh.rate_limits.job_sync_status),
    )


def _interval(integration: CheckedIntegration) -> float | None:
    """Typical seconds between runs. Without a history: from the last run to the next one."""
    started = integration.running_start_timestamp_seconds
    if started is None and integration.last_run:
        started = integration.last_run.start_timestamp_seconds
    following = integration.next_scheduled_sync_timestamp_seconds
    if integration.typical_sync_interval_seconds or started is None or following is None:
        return integration.typical_sync_interval_seconds
    return max(LEAST_INTERVAL, following - started)


def cost(
    intervals: Sequence[float | None],
    *,
    listed: int | None,
    scrape_interval: float,
    min_interval: float,
    list_budget: int,
    history_budget: int,
) -> Cost:
    """The requests per minute that watching takes, and the time from one refresh to the next.

    Each refresh reads the list. A history is read when a run has finished, and re-checked if no run
    finished for a while. Older pages after an outage, and retries, are not included.

    `intervals` are the typical seconds between the runs of each watched integration. `listed` is
    the number of all integrations in the list. It is None if the key may not read the list: then
    each refresh reads each history. The budgets are requests per minute.
    """
    # A scrape that comes less than 0.9 minimum intervals after a refresh shares it.
    shared = max(1, math.ceil(round(0.9 * min_interval / scrape_interval, 9)))
    wanted = scrape_interval * shared
    if listed is None:
        refresh = max(wanted, 60.0 * max(1, len(intervals)) / history_budget)
        lists, reads = 60.0 / FORBIDDEN_FOR, 60.0 * len(intervals) / refresh
    else:
        pages = max(1, math.ceil(listed / PAGE_SIZE))
        refresh = max(wanted, 60.0 * pages / list_budget)
        lists, reads = 60.0 * pages / refresh, _reads(intervals, refresh, history_budget)
    return Cost(
        integrations=Load(round(lists, 2), list_budget),
        job_sync_status=Load(round(reads, 2), history_budget),
        refresh_interval_seconds=round(refresh, 3),
        keeps_up=reads <= history_budget and refresh <= wanted,
        intervals_assumed=sum(1 for each in intervals if not each),
    )


def _reads(intervals: Sequence[float | None], refresh: float, budget: int) -> float:
    """Histories read per minute: once for each run that a refresh shows, and for re-checks."""
    known = [each for each in intervals if each]
    typical = sum(known) / len(known) if known else ASSUMED_INTERVAL
    recheck = recheck_interval(len(intervals), budget)
    shown = [max(refresh, each or typical) for each in intervals]
    return sum(60.0 * (1 + math.floor(interval / recheck)) / interval for interval in shown)
