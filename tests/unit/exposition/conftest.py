"""A hand-written snapshot with every field, and one with almost no data."""

import math

import pytest

from cdi_exporter.model import Counters, Run, Status
from cdi_exporter.snapshot import (
    EndpointSnapshot,
    Facts,
    IntegrationSnapshot,
    WorkspaceSnapshot,
)

USERS = Facts(
    id="3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10",
    name="users-daily",
    type="scheduled",
    status="active",
    warehouse="snowflake",
    last=Run(
        Status.PARTIAL,
        start=1795514400.25,
        finish=1795514520.5,
        watermark=1795514390.0,
        rows_synced=1250000,
        rows_failed=17,
    ),
    last_success=1795513620.0,
    last_delivery=1795514520.5,
    history_start=1793000000.0,
    watermark=1795514390.0,
    consecutive_failures=0,
    running=1,
    running_since=1795515300.0,
    next_scheduled=1795516200.0,
    typical_interval=900.0,
    typical_duration=120.25,
    typical_rows=1200000.0,
    stale_after=2040.5,
    schedule_lost=1795515200.0,
    counters=Counters(
        success=41,
        partial=2,
        error=1,
        rows_synced=51250000,
        rows_failed=34,
        duration_sum=5291.75,
        duration_count=44,
        gaps=1,
    ),
)

FRESH = Facts(id="b7c1", name='Käufe "neu" \\ alt\nzweite Zeile')

FULL = WorkspaceSnapshot(
    name="production",
    integrations=(
        IntegrationSnapshot(USERS, refreshed=1795515315.125, up=True),
        IntegrationSnapshot(FRESH),
    ),
    up=False,
    error="rate_limited",
    problem="Braze answered 429",
    list_readable=False,
    last_refresh=1795515316.0,
    refresh_duration=0.75,
    pending_reads=3,
    endpoints=(
        EndpointSnapshot(
            "integrations",
            requests={"timeout": 1, "200": 12, "429": 2},
            duration_buckets=((0.05, 2), (2.5, 14), (math.inf, 15)),
            duration_sum=11.5,
            limit=50,
            remaining=38,
            reset=1795515360.0,
            budget_wait=0.5,
            invalid_items=4,
        ),
        EndpointSnapshot("job_sync_status"),
    ),
)

QUIET = WorkspaceSnapshot(name="staging")


@pytest.fixture
def full() -> WorkspaceSnapshot:
    """A workspace with one fully known integration and a new one."""
    return FULL


@pytest.fixture
def quiet() -> WorkspaceSnapshot:
    """A workspace of which nothing is known yet."""
    return QUIET
