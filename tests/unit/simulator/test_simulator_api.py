"""The simulated workspace responds as Braze documents it. Requests are sent with httpx."""

import asyncio
import base64
import dataclasses
import re
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.model import Run, Status
from tests.simulator import (
    PERMISSIONS,
    IntegrationSpec,
    Profile,
    ScriptedIntegration,
    ScriptedRun,
    Simulator,
    many,
    run_state,
)

NOW = 1_780_000_020.0
LIST = "/cdi/integrations"
LIFTED = {"integrations": 10**6, "job_sync_status": 10**6}


def client(simulator: Simulator, key: str = "simulated-key") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(simulator),
        base_url="http://braze",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
    )


def get(
    simulator: Simulator, path: str = LIST, cursor: str | None = None, key: str = "simulated-key"
) -> httpx.Response:
    async def request() -> httpx.Response:
        async with client(simulator, key) as http:
            return await http.get(path, params=None if cursor is None else {"cursor": cursor})

    return asyncio.run(request())


def history_path(integration_id: str) -> str:
    return f"{LIST}/{integration_id}/job_sync_status"


def next_cursor(response: httpx.Response) -> str | None:
    found = re.search(r'cursor=([^>]*)>; rel="next"', response.headers.get("link", ""))
    return found and found[1]


async def read_all(
    http: httpx.AsyncClient, path: str, between: Callable[[], object] = lambda: None
) -> list[dict[str, Any]]:
    """Every page of an endpoint; `between` is called after each page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        response = await http.get(path, params={"cursor": cursor} if cursor else None)
        items += response.json()["results"]
        cursor = next_cursor(response)
        between()
    return items


def pages(simulator: Simulator, path: str) -> list[dict[str, Any]]:
    async def request() -> list[dict[str, Any]]:
        async with client(simulator) as http:
            return await read_all(http, path)

    return asyncio.run(request())


def seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def as_run(item: dict[str, Any]) -> Run:
    status = item["job_status"]
    known = status in list(Status)
    return Run(
        Status(status) if known else Status.UNKNOWN,
        start=seconds(item["sync_start_time"]),
        finish=seconds(item.get("sync_finish_time")),
        watermark=seconds(item.get("last_timestamp_synced")),
        rows_synced=item.get("rows_synced"),
        rows_failed=item.get("rows_failed_with_errors"),
        job_status=None if known else status,
    )


def scripted(runs: int, integration_id: str = "abc") -> ScriptedIntegration:
    """An integration with one run of a minute every ten minutes up to now."""
    script = ScriptedIntegration(integration_id, "users")
    for number in range(runs, 0, -1):
        start = NOW - 600 * number
        script.run(start, start + 60, rows_synced=number)
    return script


def simulator_of(*integrations: IntegrationSpec | ScriptedIntegration, **options: Any) -> Simulator:
    return Simulator(integrations, options.pop("clock", lambda: NOW), **options)


def test_a_wrong_key_is_refused() -> None:
    """The response is 401 with a message and without data."""
    response = get(simulator_of(scripted(1)), key="another")
    assert (response.status_code, response.json()) == (401, {"message": "Invalid API key"})


@pytest.mark.parametrize("endpoint", list(PERMISSIONS))
def test_each_endpoint_needs_its_own_permission(endpoint: str) -> None:
    """A key with one permission is refused only by the other endpoint."""
    simulator = simulator_of(scripted(1), permissions=[PERMISSIONS[endpoint]])
    found = {
        "integrations": get(simulator).status_code,
        "job_sync_status": get(simulator, history_path("abc")).status_code,
    }
    assert found == {name: 200 if name == endpoint else 403 for name in PERMISSIONS}


@pytest.mark.parametrize(
    "path", ["/", "/cdi", "/cdi/integrations/abc", "/cdi/integrations/abc/sync", "/metrics"]
)
def test_an_unknown_path_is_not_found(path: str) -> None:
    """The response is 404 with a message."""
    response = get(simulator_of(scripted(1)), path)
    assert response.status_code == 404
    assert response.json()["message"]


@pytest.mark.parametrize("cursor", ["", "?", "10", "c2tpcDo=", "c2tpcDotMQ==", "cGFnZToxMA==", "é"])
@pytest.mark.parametrize("path", [LIST, history_path("abc")])
def test_an_unknown_cursor_is_refused(path: str, cursor: str) -> None:
    """The response is 400 `Invalid cursor` on both endpoints, as documented."""
    response = get(simulator_of(scripted(1)), path, cursor)
    assert (response.status_code, response.json()["message"]) == (400, "Invalid cursor")


def test_an_unknown_integration_is_refused() -> None:
    """The response is 400 `Invalid integration ID`, as documented."""
    response = get(simulator_of(scripted(1)), history_path("nobody"))
    assert (response.status_code, response.json()["message"]) == (400, "Invalid integration ID")


def test_a_list_item_has_every_documented_field() -> None:
    """Times have microseconds and a Z."""
    script = ScriptedIntegration("abc", "users", "users_track", "bigquery", next_run=NOW + 300)
    script.run(NOW - 90, NOW - 30, "partial", rows_synced=5, rows_failed=1, watermark=NOW - 100)
    script.run(NOW - 20.5)
    page = get(simulator_of(script)).json()
    assert page["message"] == "success"
    assert page["results"] == [
        {
            "integration_id": "abc",
            "app_group_id": "5f0c0d8e-0000-4000-8000-000000000001",
            "integration_name": "users",
            "integration_type": "users_track",
            "integration_status": "active",
            "contact_emails": "someone@example.com",
            "last_updated_at": "2026-05-28T20:25:20.000000Z",
            "warehouse_type": "bigquery",
            "last_job_start_time": "2026-05-28T20:26:39.500000Z",
            "last_job_status": "running",
            "next_scheduled_run": "2026-05-28T20:32:00.000000Z",
        }
    ]


def test_a_history_item_has_every_documented_field() -> None:
    """A finished run has six fields; a running one has only its status and start."""
    script = ScriptedIntegration("abc", "users")
    script.run(NOW - 90, NOW - 30, "partial", rows_synced=5, rows_failed=1, watermark=NOW - 100)
    script.run(NOW - 20)
    assert get(simulator_of(script), history_path("abc")).json() == {
        "results": [
            {"job_status": "running", "sync_start_time": "2026-05-28T20:26:40.000000Z"},
            {
                "job_status": "partial",
                "sync_start_time": "2026-05-28T20:25:30.000000Z",
                "sync_finish_time": "2026-05-28T20:26:30.000000Z",
                "last_timestamp_synced": "2026-05-28T20:25:20.000000Z",
                "rows_synced": 5,
                "rows_failed_with_errors": 1,
            },
        ],
        "message": "success",
    }


@pytest.mark.parametrize("runs", [0, 1, 10])
def test_ten_items_or_fewer_have_no_link_header(runs: int) -> None:
    """The header is absent, not empty."""
    response = get(simulator_of(scripted(runs)), history_path("abc"))
    assert len(response.json()["results"]) == runs
    assert "link" not in response.headers


def test_the_link_header_of_the_history_is_malformed_as_documented() -> None:
    """URLs are relative, `next` lacks a slash, the first page has no `prev`, the last no `next`."""
    simulator = simulator_of(scripted(25))

    def link(cursor: str | None) -> str:
        return str(get(simulator, history_path("abc"), cursor).headers["link"])

    assert link(None) == ('</cdi/integrationsabc/job_sync_status?cursor=c2tpcDoxMA==>; rel="next"')
    assert link("c2tpcDoxMA==") == (
        '</cdi/integrations/abc/job_sync_status?cursor=c2tpcDow>; rel="prev",'
        '</cdi/integrationsabc/job_sync_status?cursor=c2tpcDoyMA==>; rel="next"'
    )
    assert link("c2tpcDoyMA==") == (
        '</cdi/integrations/abc/job_sync_status?cursor=c2tpcDoxMA==>; rel="prev"'
    )


def test_following_the_link_headers_lists_all_integrations() -> None:
    """Pages have ten items, in the order of the workspace."""
    specs = many(25, seed=1)
    simulator = simulator_of(*specs)
    assert get(simulator).headers["link"] == '</cdi/integrations?cursor=c2tpcDoxMA==>; rel="next"'
    assert len(get(simulator).json()["results"]) == 10
    assert [item["integration_id"] for item in pages(simulator, LIST)] == [s.id for s in specs]


def test_a_cursor_past_the_end_gives_an_empty_page() -> None:
    """An offset beyond the end is not an error."""
    cursor = base64.b64encode(b"skip:990").decode()
    response = get(simulator_of(scripted(11)), history_path("abc"), cursor)
    assert (response.status_code, response.json()["results"]) == (200, [])
    assert 'rel="next"' not in response.headers["link"]


def test_the_newest_run_comes_first() -> None:
    """Runs are ordered by start; of runs with the same start, the last added comes first."""
    script = ScriptedIntegration("abc", "users")
    for start, rows in ((-50, 1), (-10, 2), (-50, 3), (-90, 4)):
        script.run(NOW + start, NOW - 1, rows_synced=rows)
    items = pages(simulator_of(script), history_path("abc"))
    assert [item["rows_synced"] for item in items] == [2, 3, 1, 4]


def test_every_response_has_the_rate_limit_and_the_date() -> None:
    """Limit, remaining, reset and Date are sent with data and with errors."""
    simulator = simulator_of(scripted(1), clock=lambda: NOW + 0.7)
    for number, path in enumerate([history_path("abc"), history_path("nobody")]):
        headers = get(simulator, path).headers
        assert headers["x-ratelimit-limit"] == "100"
        assert headers["x-ratelimit-remaining"] == str(99 - number)
        assert headers["x-ratelimit-reset"] == "1780000080"
        assert parsedate_to_datetime(headers["date"]).timestamp() == NOW


def test_a_fixed_window_counts_by_the_minute() -> None:
    """The full limit is available again when the clock's next minute starts."""
    moment = [NOW - NOW % 60 + 59.9]
    simulator = simulator_of(
        scripted(1), clock=lambda: moment[0], limits={**LIFTED, "integrations": 2}
    )
    statuses = [get(simulator).status_code for _ in range(3)]
    moment[0] += 0.1
    assert [*statuses, get(simulator).status_code] == [200, 200, 429, 200]
    assert simulator.too_many == 1


def test_a_sliding_window_counts_any_sixty_seconds() -> None:
    """Another request is allowed once the oldest one is sixty seconds old."""
    moment = [NOW]
    limits = {**LIFTED, "integrations": 2}
    simulator = simulator_of(
        scripted(1), clock=lambda: moment[0], limits=limits, limit_window="sliding"
    )
    found = []
    for since in (0, 30, 59.9, 60, 61, 90):
        moment[0] = NOW + since
        found.append(get(simulator).status_code)
    assert found == [200, 200, 429, 200, 429, 200]
    assert simulator.statuses == {200: 4, 429: 2}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("retry-after", {"retry-after": "41", "x-ratelimit-reset": "1780000061"}),
        ("x-ratelimit-retry-after", {"x-ratelimit-retry-after": "41"}),
        ("reset", {"x-ratelimit-reset": "1780000061"}),
        ("none", {}),
    ],
)
def test_a_429_has_the_configured_headers(style: str, expected: dict[str, str]) -> None:
    """The time to wait is in a header of its own, only in the reset header, or nowhere."""
    moment = [NOW + 0.5]
    simulator = simulator_of(
        scripted(1),
        clock=lambda: moment[0],
        limits={**LIFTED, "integrations": 1},
        limit_window="sliding",
        retry_header=style,
    )
    get(simulator)
    moment[0] += 19.5
    headers = get(simulator).headers
    named = ("retry-after", "x-ratelimit-retry-after", "x-ratelimit-reset")
    found = {name: headers[name] for name in named if name in headers}
    always = {} if style == "none" else {"x-ratelimit-reset": "1780000081"}
    assert found == {**expected, **always}


def test_the_traffic_is_recorded_for_tests() -> None:
    """Times, statuses and cursors of all requests are recorded for each endpoint."""
    moment = [NOW]
    simulator = simulator_of(scripted(11), clock=lambda: moment[0])
    get(simulator)
    for step in (10, 49.9, 0.1):
        moment[0] += step
        get(simulator, history_path("abc"), "c2tpcDow")
    history = simulator.traffic["job_sync_status"]
    assert [time - NOW for time in history.times] == pytest.approx([10, 59.9, 60])
    assert history.busiest(seconds=50) == 2
    assert history.busiest() == 3
    assert {(each.integration_id, each.cursor) for each in history.recent} == {("abc", "c2tpcDow")}
    assert simulator.traffic["integrations"].statuses == {200: 1}


def test_runs_are_visible_only_after_the_lag() -> None:
    """The history and the list may each be behind the truth, by their own lag."""
    moment = [NOW]
    script = ScriptedIntegration("abc", "users")
    script.run(NOW, NOW + 10)
    simulator = simulator_of(script, clock=lambda: moment[0], history_lag=5, list_lag=20)
    found = []
    for since in (4.9, 5, 14.9, 15, 19.9, 20, 29.9, 30):
        moment[0] = NOW + since
        history = get(simulator, history_path("abc")).json()["results"]
        listed = get(simulator).json()["results"][0]["last_job_status"]
        found.append((since, [item["job_status"] for item in history], listed))
    assert found == [
        (4.9, [], None),
        (5, ["running"], None),
        (14.9, ["running"], None),
        (15, ["success"], None),
        (19.9, ["success"], None),
        (20, ["success"], "running"),
        (29.9, ["success"], "running"),
        (30, ["success"], "success"),
    ]


def test_the_list_may_lack_the_last_job() -> None:
    """With this option the fields are null, and the history is unchanged."""
    simulator = simulator_of(scripted(3), list_has_last_job=False)
    item = get(simulator).json()["results"][0]
    assert (item["last_job_status"], item["last_job_start_time"]) == (None, None)
    assert len(pages(simulator, history_path("abc"))) == 3


def test_the_history_ends_at_the_retention() -> None:
    """Runs older than the retention are not listed."""
    simulator = simulator_of(scripted(50), retention=30 * 600)
    assert len(pages(simulator, history_path("abc"))) == 29
    spec = many(1, seed=3, interval=600)[0]
    generated = simulator_of(spec, retention=50 * 600, limits=LIFTED)
    assert 45 <= len(pages(generated, history_path(spec.id))) <= 51


def test_integrations_are_added_removed_and_renamed() -> None:
    """Changes by method calls take effect at once, and the truth records when they happened."""
    moment = [NOW]
    first, second = scripted(1, "first"), scripted(1, "second")
    simulator = simulator_of(first, clock=lambda: moment[0])

    def listed() -> list[str]:
        return [item["integration_name"] for item in get(simulator).json()["results"]]

    second.name = "orders"
    simulator.add(second)
    assert listed() == ["users", "orders"]
    moment[0] += 10
    simulator.rename("first", "customers")
    assert listed() == ["customers", "orders"]
    moment[0] += 10
    simulator.remove("first")
    assert listed() == ["orders"]
    assert get(simulator, history_path("first")).status_code == 400
    moment[0] += 10
    simulator.add(first)
    assert listed() == ["customers", "orders"]
    with pytest.raises(ValueError, match="already has an integration first"):
        simulator.add(first)
    then = [simulator.truth.integrations_at(NOW + since) for since in (-1, 5, 15, 25, 35)]
    assert [[each.name for each in names] for names in then] == [
        ["users"],
        ["users", "orders"],
        ["customers", "orders"],
        ["orders"],
        ["customers", "orders"],
    ]


def test_generated_integrations_change_at_their_times() -> None:
    """Specs define when an integration is added, removed and renamed."""
    base = many(3, seed=5)
    specs = [
        dataclasses.replace(base[0], added_at=NOW + 100),
        dataclasses.replace(base[1], removed_at=NOW + 200),
        dataclasses.replace(base[2], renames=((NOW + 300, "new"), (NOW + 400, "newer"))),
    ]
    moment = [NOW]
    simulator = simulator_of(*specs, clock=lambda: moment[0])
    found = []
    for since in (99, 100, 200, 300, 400):
        moment[0] = NOW + since
        found.append([each["integration_name"] for each in get(simulator).json()["results"]])
    assert found == [
        ["sync-00001", "sync-00002"],
        ["sync-00000", "sync-00001", "sync-00002"],
        ["sync-00000", "sync-00002"],
        ["sync-00000", "new"],
        ["sync-00000", "newer"],
    ]
    runs = simulator.truth.run_states_at(specs[0].id, NOW + 86_400)
    assert len(runs) > 50
    assert all(run.start is not None and run.start >= NOW + 100 for run in runs)


def test_any_field_can_be_replaced_or_left_out() -> None:
    """This works for fields of runs and of list items."""
    script = ScriptedIntegration(
        "abc", "users", list_fields={"next_scheduled_run": ..., "extra": 1}
    )
    script.run(NOW - 9, NOW, overrides={"sync_start_time": ..., "rows_synced": "many"})
    simulator = simulator_of(script)
    run = get(simulator, history_path("abc")).json()["results"][0]
    assert "sync_start_time" not in run
    assert run["rows_synced"] == "many"
    item = get(simulator).json()["results"][0]
    assert item["extra"] == 1
    assert "next_scheduled_run" not in item


def test_a_run_may_end_late_and_be_reported_again() -> None:
    """`end` finishes a run, and may be called again with other numbers."""
    script = ScriptedIntegration("abc", "users")
    run = script.run(NOW - 100)
    simulator = simulator_of(script)
    found = []
    for rows in (None, 5, 6):
        if rows is not None:
            run.end(NOW - 1, "success", rows_synced=rows)
        found.append(get(simulator, history_path("abc")).json()["results"][0].get("rows_synced"))
    assert found == [None, 5, 6]


@pytest.mark.parametrize("profile", list(Profile))
@pytest.mark.parametrize("overlap", [False, True])
def test_the_simulated_pages_match_the_simulated_runs(profile: Profile, overlap: bool) -> None:
    """The history, read page by page, equals the truth to the microsecond."""
    spec = many(1, seed=11, profiles=[profile], interval=300, overlap=overlap)[0]
    simulator = simulator_of(spec, limits=LIFTED, retention=2 * 86_400)
    shown = [as_run(item) for item in pages(simulator, history_path(spec.id))]
    assert len(shown) > 200
    assert shown == list(simulator.truth.run_states_at(spec.id, NOW))
    finished = [run for run in shown if run.finish is not None and run.finish > NOW - 86_400]
    expected = simulator.truth.finished_runs(spec.id, NOW - 86_400, NOW)
    assert sorted(finished, key=lambda run: (run.finish or 0, run.start or 0)) == list(expected)
    item = get(simulator).json()["results"][0]
    fact = simulator.truth.integrations_at(NOW)[0]
    assert seconds(item["last_job_start_time"]) == fact.last_job_start == shown[0].start
    assert seconds(item["next_scheduled_run"]) == fact.next_scheduled_run
    assert seconds(item["last_updated_at"]) == fact.last_updated


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    steps=st.lists(st.floats(0, 2000), min_size=1, max_size=30),
    scheduled=st.booleans(),
    overlap=st.booleans(),
)
def test_no_run_is_missed_while_pages_are_read(
    seed: int, steps: list[float], scheduled: bool, overlap: bool
) -> None:
    """Runs added between two pages repeat items, but hide none."""
    interval = 300.0 if scheduled else None
    spec = many(1, seed, interval=interval, mean_gap=300, overlap=overlap)[0]
    moment = [NOW]
    waits = iter(steps)

    def pass_time() -> None:
        moment[0] += next(waits, 0)

    async def read() -> list[dict[str, Any]]:
        simulator = simulator_of(spec, clock=lambda: moment[0], limits=LIFTED, retention=86_400)
        async with client(simulator) as http:
            return await read_all(http, history_path(spec.id), pass_time)

    shown = {as_run(item).start for item in asyncio.run(read())}
    truth = simulator_of(spec, retention=86_400).truth.run_states_at(spec.id, NOW)
    there = {run.start for run in truth if (run.start or 0) > moment[0] - 86_400}
    assert there <= shown


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    moments=st.lists(st.floats(-86_400, 86_400), min_size=1, max_size=8), seed=st.integers(0, 99)
)
def test_the_cached_list_equals_an_uncached_one(moments: list[float], seed: int) -> None:
    """Earlier requests do not change the list of a given time."""
    specs = many(3, seed, profiles=[Profile.LATE, Profile.STUCK, Profile.HEALTHY], overlap=True)
    specs += many(3, seed + 1, interval=None)
    moment = [NOW]
    used = simulator_of(
        *specs, clock=lambda: moment[0], limits=LIFTED, list_lag=7, retention=2 * 86_400
    )
    for since in sorted(moments):
        moment[0] = NOW + since
        fresh = simulator_of(*specs, clock=lambda: moment[0], list_lag=7, retention=2 * 86_400)
        assert get(used).content == get(fresh).content


def test_the_simulator_can_be_served_over_a_socket() -> None:
    """Under uvicorn it starts, responds with its own Date, and stops."""
    simulator = simulator_of(scripted(1))
    config = uvicorn.Config(simulator, port=0, log_level="error", date_header=False)

    async def request() -> httpx.Response:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
        headers = {"Authorization": "Bearer simulated-key"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            response = await http.get(f"http://127.0.0.1:{port}{LIST}")
        server.should_exit = True
        await serving
        return response

    response = asyncio.run(request())
    assert response.json()["results"][0]["integration_id"] == "abc"
    assert parsedate_to_datetime(response.headers["date"]).timestamp() == NOW


def test_a_run_without_a_finish_is_running_in_the_truth() -> None:
    """A run is running in the truth until its finish, even if the script has its numbers."""
    run = ScriptedRun(start=1_000_000, finish=5_000_000, rows_synced=7)
    assert run_state(run, 4_999_999) == Run(Status.RUNNING, start=1.0)
    assert run_state(run, 5_000_000).rows_synced == 7
