"""The values of each metric family, read from a snapshot.

A fact that is None has no sample; it is never 0 or NaN.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import utils

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric
from cdi_exporter.model import FINISHED_STATUSES, Counters, Run, Status
from cdi_exporter.problems import REASONS
from cdi_exporter.snapshot import EndpointSnapshot, Facts, IntegrationSnapshot, WorkspaceSnapshot


class Point(NamedTuple):
    """One sample, without the labels of its integration or workspace."""

    value: float
    labels: tuple[tuple[str, str], ...] = ()
    """Names and values of additional labels."""
    suffix: str = ""
    """The suffix of the family's name: `_sum`, `_count` or `_bucket`."""


Value = float | None
Points = Iterable[Point]

STATUS_LABELS = tuple((("status", status.value),) for status in FINISHED_STATUSES)


def printable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot encode, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def as_float(value: float) -> float:
    """The value as a float; an integer beyond the range of floats becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def go_float(value: float) -> str:
    """The value as the library writes it, in Go's format."""
    text: str = utils.floatToGoString(value)  # type: ignore[no-untyped-call]  # not annotated
    return text


def _of_last_run(name: str) -> Callable[[Facts], Value]:
    read: Callable[[Run], Value] = attrgetter(name)
    return lambda facts: None if facts.last is None else read(facts.last)


def _counted(name: str) -> Callable[[Facts], Value]:
    read: Callable[[Counters], float] = attrgetter(name)
    return lambda facts: None if facts.counters is None else read(facts.counters)


FACTS: dict[Metric, Callable[[Facts], Value]] = {
    catalog.LAST_SYNC_ROWS_SYNCED: _of_last_run("rows_synced"),
    catalog.LAST_SYNC_ROWS_FAILED: _of_last_run("rows_failed"),
    catalog.LAST_SYNC_DURATION: _of_last_run("duration"),
    catalog.LAST_SYNC_START: _of_last_run("start"),
    catalog.LAST_SYNC_FINISH: _of_last_run("finish"),
    catalog.LAST_SUCCESS: attrgetter("last_success"),
    catalog.LAST_DELIVERY: attrgetter("last_delivery"),
    catalog.HISTORY_START: attrgetter("history_start"),
    catalog.WATERMARK: attrgetter("watermark"),
    catalog.CONSECUTIVE_FAILURES: attrgetter("consecutive_failures"),
    catalog.SYNCS_RUNNING: attrgetter("running"),
    catalog.RUNNING_SYNC_START: attrgetter("running_since"),
    catalog.NEXT_SCHEDULED_SYNC: attrgetter("next_scheduled"),
    catalog.ROWS_SYNCED: _counted("rows_synced"),
    catalog.ROWS_FAILED: _counted("rows_failed"),
    catalog.TYPICAL_INTERVAL: attrgetter("typical_interval"),
    catalog.TYPICAL_DURATION: attrgetter("typical_duration"),
    catalog.TYPICAL_ROWS: attrgetter("typical_rows"),
    catalog.STALE_AFTER: attrgetter("stale_after"),
    catalog.SCHEDULE_LOST: attrgetter("schedule_lost"),
    catalog.HISTORY_GAPS: _counted("gaps"),
}
"""Families with at most one sample per integration, read from its facts."""


_ONE_HOT = {status: tuple(float(each is status) for each in FINISHED_STATUSES) for status in Status}
_count_by_status = attrgetter(*(status.value for status in FINISHED_STATUSES))

BY_STATUS: dict[Metric, Callable[[Facts], Sequence[float]]] = {
    catalog.LAST_SYNC_STATUS: lambda facts: _ONE_HOT[facts.last.status] if facts.last else (),
    catalog.SYNCS: lambda facts: _count_by_status(facts.counters) if facts.counters else (),
}
"""Families with a sample for each status in `STATUS_LABELS`, or with none."""


def _sync_duration(facts: Facts) -> Points:
    if facts.counters is None:
        return ()
    count, total = facts.counters.duration_count, facts.counters.duration_sum
    return (Point(count, suffix="_count"), Point(total, suffix="_sum"))


def _integration_info(facts: Facts) -> Points:
    labels = (
        ("integration_type", printable(facts.type or "")),
        ("integration_status", printable(facts.status or "")),
        ("warehouse_type", printable(facts.warehouse or "")),
    )
    return (Point(1.0, labels),)


FACT_SETS: dict[Metric, Callable[[Facts], Points]] = {
    catalog.SYNC_DURATION: _sync_duration,
    catalog.INTEGRATION_INFO: _integration_info,
}
"""Families with several samples or additional labels per integration, read from its facts."""

FRESHNESS: dict[Metric, Callable[[IntegrationSnapshot], Value]] = {
    catalog.INTEGRATION_LAST_REFRESH: attrgetter("refreshed"),
    catalog.INTEGRATION_UP: attrgetter("up"),
}
"""Families that change with each refresh, even if the facts stay the same."""


def _optional(value: Value) -> Points:
    return () if value is None else (Point(value),)


def _refresh_error(workspace: WorkspaceSnapshot) -> Points:
    if workspace.up is None:
        return ()
    return [Point(float(reason == workspace.error), (("reason", reason),)) for reason in REASONS]


def _integrations(workspace: WorkspaceSnapshot) -> Points:
    if workspace.up is None and not workspace.integrations:
        return ()
    return (Point(len(workspace.integrations)),)


WORKSPACE: dict[Metric, Callable[[WorkspaceSnapshot], Points]] = {
    catalog.UP: lambda workspace: _optional(workspace.up),
    catalog.REFRESH_ERROR: _refresh_error,
    catalog.LIST_READABLE: lambda workspace: _optional(workspace.list_readable),
    catalog.INTEGRATIONS: _integrations,
    catalog.LAST_REFRESH: lambda workspace: _optional(workspace.last_refresh),
    catalog.HISTORY_READS_PENDING: lambda workspace: _optional(workspace.pending_reads),
    catalog.REFRESH_DURATION: lambda workspace: _optional(workspace.refresh_duration),
}


def _requests(endpoint: EndpointSnapshot) -> Points:
    counts = sorted(endpoint.requests.items())
    return [Point(count, (("code", printable(code)),)) for code, count in counts]


def _request_durations(endpoint: EndpointSnapshot) -> Iterator[Point]:
    for bound, count in endpoint.duration_buckets:
        yield Point(count, (("le", go_float(bound)),), "_bucket")
    if endpoint.duration_buckets:
        yield Point(endpoint.duration_buckets[-1][1], suffix="_count")
        yield Point(endpoint.duration_sum, suffix="_sum")


ENDPOINT: dict[Metric, Callable[[EndpointSnapshot], Points]] = {
    catalog.API_REQUESTS: _requests,
    catalog.API_REQUEST_DURATION: _request_durations,
    catalog.API_RATE_LIMIT: lambda endpoint: _optional(endpoint.limit),
    catalog.API_RATE_LIMIT_REMAINING: lambda endpoint: _optional(endpoint.remaining),
    catalog.API_RATE_LIMIT_RESET: lambda endpoint: _optional(endpoint.reset),
    catalog.API_BUDGET_WAIT: lambda endpoint: _optional(endpoint.budget_wait),
    catalog.API_INVALID_ITEMS: lambda endpoint: _optional(endpoint.invalid_items),
}


def integration_points(metric: Metric, integration: IntegrationSnapshot) -> Points:
    """The points of a family of `catalog.PER_INTEGRATION` for one integration."""
    if metric in BY_STATUS:
        values = BY_STATUS[metric](integration.facts)
        return map(Point, values, STATUS_LABELS)
    if metric in FACT_SETS:
        return FACT_SETS[metric](integration.facts)
    if metric in FACTS:
        return _optional(FACTS[metric](integration.facts))
    return _optional(FRESHNESS[metric](integration))


def workspace_points(
    metric: Metric, workspace: WorkspaceSnapshot
) -> Iterator[tuple[dict[str, str], Points]]:
    """The points of a family of `catalog.PER_WORKSPACE`, with the labels that they share."""
    if metric in WORKSPACE:
        yield {"workspace": workspace.name}, WORKSPACE[metric](workspace)
        return
    for endpoint in workspace.endpoints:
        labels = {"workspace": workspace.name, "endpoint": endpoint.endpoint}
        yield labels, ENDPOINT[metric](endpoint)
