"""The status as JSON in every state of a workspace, validated against its schema."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.clock import Clock
from cdi_exporter.model import FINISHED_STATUSES, RequestRecord, Run
from cdi_exporter.problems import REASONS
from cdi_exporter.snapshot import EndpointSnapshot, Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.harness import KEY, rig, scripted, simulator
from tests.shown import Shown, ShownWorkspace, get
from tests.simulator import HISTORY, LIST, PERMISSIONS, Fault, FaultKind, Simulator, mixed
from tests.virtual import EPOCH, run, virtual_clock

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "status.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


Make = Callable[[Clock], Simulator]


def status_of(make: Make, scrapes: int = 3) -> dict[str, Any]:
    """The workspace in the response after some scrapes, one minute apart."""

    async def watch() -> dict[str, Any]:
        clock = virtual_clock()
        async with rig(make(clock), clock=clock) as shown:
            for _ in range(scrapes):
                await shown.scrape()
                await clock.sleep(60)
            document = (await shown.client.get("/api/v1/status")).json()
        VALIDATOR.validate(document)
        (workspace,) = document["workspaces"]
        return dict(workspace)

    return run(watch())


def some(*faults: FaultKind, key: str = KEY, without: Sequence[str] = ()) -> Make:
    """Three integrations, one of which has never run. The faults are always active."""

    def make(clock: Clock) -> Simulator:
        made = simulator(clock, scripted("a", 3), scripted("b", 12), scripted("c"))
        made.faults += [Fault(0, math.inf, kind) for kind in faults]
        made.key = key
        made.permissions -= {*without}
        return made

    return make


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_failure_is_shown_as_documented(kind: FaultKind) -> None:
    """Each fault of the API is active from the first request on."""
    workspace = status_of(some(kind))
    assert workspace["state"] in ("ok", "failing", "starting")
    assert workspace["recent_requests"] != []


@pytest.mark.parametrize(
    ("make", "state", "reason"),
    [
        pytest.param(some(), "ok", None, id="read"),
        pytest.param(some(key="other"), "failing", "unauthorized", id="key"),
        pytest.param(some(without=[*PERMISSIONS.values()]), "failing", "forbidden", id="nothing"),
        pytest.param(some(without=[PERMISSIONS[LIST]]), "failing", "forbidden", id="list"),
        pytest.param(some(without=[PERMISSIONS[HISTORY]]), "failing", "forbidden", id="history"),
        pytest.param(some(FaultKind.OUTAGE), "failing", "connection", id="down"),
        pytest.param(some(FaultKind.HTML), "failing", "server_error", id="proxy"),
        pytest.param(some(FaultKind.NOT_JSON), "failing", "invalid_response", id="nonsense"),
    ],
)
def test_each_state_is_named(make: Make, state: str, reason: str | None) -> None:
    """The state of the workspace, and the reason of its problem if it has one."""
    workspace = status_of(make)
    assert workspace["state"] == state
    assert (workspace["problem"] or {}).get("reason") == reason


def test_the_state_before_the_first_scrape_is_waiting() -> None:
    """Nothing is known, and no request was made."""
    workspace = status_of(some(), scrapes=0)
    assert workspace["state"] == "waiting"
    assert workspace["recent_requests"] == workspace["integrations"] == []


@pytest.mark.parametrize("seed", range(5))
def test_a_mixed_workspace_is_shown_as_documented(seed: int) -> None:
    """Runs overlap, get stuck and fail. Integrations appear and disappear."""
    specs = mixed(40, seed, EPOCH - 86_400, EPOCH + 86_400)
    workspace = status_of(lambda clock: Simulator(specs, clock.wall, seed=seed), scrapes=8)
    assert len(workspace["integrations"]) > 20


moments = st.none() | st.floats(-1e12, 1e12)
counts = st.none() | st.integers(0, 2**53)
spans = st.none() | st.floats(0, 1e9)
words = st.none() | st.text(max_size=64)
runs = st.builds(
    Run,
    st.sampled_from(FINISHED_STATUSES),
    start=moments,
    finish=moments,
    watermark=moments,
    rows_synced=counts,
    rows_failed=counts,
    job_status=words,
)
facts = st.builds(
    Facts,
    id=st.text(min_size=1),
    name=st.text(),
    type=st.none() | st.text(),
    status=st.none() | st.text(),
    warehouse=st.none() | st.text(),
    last=st.none() | runs,
    last_success=moments,
    last_delivery=moments,
    history_start=moments,
    watermark=moments,
    consecutive_failures=counts,
    running=counts,
    running_since=moments,
    next_scheduled=moments,
    typical_interval=spans,
    typical_duration=spans,
    typical_rows=spans,
    stale_after=spans,
    schedule_lost=moments,
    running_job_status=words,
    recent=st.lists(runs, max_size=3).map(tuple),
)
snapshots = st.builds(
    WorkspaceSnapshot,
    name=st.text(),
    integrations=st.lists(
        st.builds(
            IntegrationSnapshot,
            facts=facts,
            refreshed=moments,
            up=st.none() | st.booleans(),
            problem=st.none() | st.text(),
        ),
        max_size=3,
    ).map(tuple),
    up=st.none() | st.booleans(),
    last_refresh=moments,
    refresh_duration=spans,
    error=st.none() | st.sampled_from(REASONS),
    problem=st.none() | st.text(),
    pending_reads=st.integers(0, 10**6),
    endpoints=st.lists(
        st.builds(EndpointSnapshot, st.text(), limit=counts, remaining=counts, reset=moments),
        max_size=2,
    ).map(tuple),
)
exchanges = st.builds(
    RequestRecord,
    st.floats(-1e12, 1e12),
    st.text(),
    st.none() | st.text(),
    st.sampled_from(["200", "401", "429", "503", "timeout", "connect_error", "other"]),
    st.floats(0, 1e6),
)


@settings(max_examples=100, deadline=None)
@given(snapshots, st.lists(exchanges, max_size=3))
def test_any_snapshot_is_shown_as_documented(
    snapshot: WorkspaceSnapshot, recent: list[RequestRecord]
) -> None:
    """Any value may be missing. The page shows every snapshot as well."""
    source = Shown(ShownWorkspace(snapshot, recent))
    VALIDATOR.validate(get(source, "/api/v1/status").json())
    assert get(source, "/").status_code == 200
