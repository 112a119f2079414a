"""The faults of the simulator: their effect, time and place, and their reproducibility."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.simulator import Fault, FaultKind, Simulator, Unreachable, many

NOW = 1_780_000_020.0
LIST = "/cdi/integrations"
SPECS = many(25, seed=2)
HISTORY = f"{LIST}/{SPECS[0].id}/job_sync_status"


def workspace(*faults: Fault, **options: Any) -> Simulator:
    return Simulator(SPECS, options.pop("clock", lambda: NOW), faults=faults, **options)


def get(simulator: Simulator, path: str = LIST, cursor: str | None = None) -> httpx.Response:
    async def request() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(simulator),
            base_url="http://braze",
            headers={"Authorization": "Bearer simulated-key"},
            trust_env=False,
        ) as http:
            return await http.get(path, params=None if cursor is None else {"cursor": cursor})

    return asyncio.run(request())


def active(kind: FaultKind, **options: Any) -> Fault:
    return Fault(NOW - 60, NOW + 60, kind, **options)


def test_an_outage_gives_no_response() -> None:
    """The app raises Unreachable, and records a request without a response."""
    simulator = workspace(active(FaultKind.OUTAGE))
    with pytest.raises(Unreachable):
        get(simulator)
    assert simulator.statuses == {0: 1}


@pytest.mark.parametrize("kind", [FaultKind.SLOW, FaultKind.HANG])
def test_a_late_response_waits_with_the_injected_sleep(kind: FaultKind) -> None:
    """The delay uses the injected sleep. A slow response arrives after it, a hanging one never."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    simulator = workspace(active(kind, delay=45), sleep=sleep, latency=0.25)
    if kind is FaultKind.SLOW:
        assert get(simulator).status_code == 200
    else:
        with pytest.raises(Unreachable):
            get(simulator)
    assert slept == [45.25]


def test_a_fault_applies_only_in_its_window_and_at_its_endpoint() -> None:
    """Outside its time window, or at the other endpoint, responses are normal."""
    moment = [NOW]
    fault = Fault(NOW, NOW + 10, FaultKind.SERVER_ERROR, endpoint="integrations", status=500)
    simulator = workspace(fault, clock=lambda: moment[0])
    found = []
    for since in (-0.1, 0, 9.9, 10):
        moment[0] = NOW + since
        found.append((get(simulator).status_code, get(simulator, HISTORY).status_code))
    assert found == [(200, 200), (500, 200), (500, 200), (200, 200)]


def test_a_fault_affects_its_share_of_requests_reproducibly() -> None:
    """The same seed affects the same requests; another seed affects others."""

    def statuses(seed: int) -> list[int]:
        simulator = workspace(active(FaultKind.SERVER_ERROR, rate=0.3), seed=seed)
        return [get(simulator, HISTORY).status_code for _ in range(90)]

    found = statuses(1)
    assert found == statuses(1) != statuses(2)
    assert 15 <= found.count(503) <= 40


def test_another_tool_spends_the_shared_limit() -> None:
    """Its requests reduce the remaining limit, and expire after their minute."""
    moment = [NOW - NOW % 60 + 30]
    fault = Fault(moment[0] - 30, moment[0] + 30, FaultKind.OTHER_TOOL, per_minute=90)
    simulator = workspace(fault, clock=lambda: moment[0])
    assert get(simulator).headers["x-ratelimit-remaining"] == "4"
    assert get(simulator, HISTORY).headers["x-ratelimit-remaining"] == "54"
    moment[0] += 29
    assert get(simulator).status_code == 429
    moment[0] += 1
    assert get(simulator).headers["x-ratelimit-remaining"] == "49"


def test_a_redirect_names_another_host() -> None:
    """The response is the redirect itself."""
    response = get(workspace(active(FaultKind.REDIRECT)))
    assert response.status_code == 302
    assert response.headers["location"].startswith("https://elsewhere.example/")


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.HTML, 502), (FaultKind.HTML_OK, 200)])
def test_a_proxy_responds_with_html(kind: FaultKind, status: int) -> None:
    """The response is an HTML page instead of JSON."""
    response = get(workspace(active(kind)))
    assert response.status_code == status
    assert "<html>" in response.text


@pytest.mark.parametrize("kind", [FaultKind.NOT_JSON, FaultKind.TRUNCATED])
@pytest.mark.parametrize("path", [LIST, HISTORY])
def test_a_page_may_not_be_json(kind: FaultKind, path: str) -> None:
    """The status is 200 nevertheless."""
    response = get(workspace(active(kind)), path)
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_page_may_be_too_large() -> None:
    """The page has more than 10 MiB and ends with valid JSON."""
    response = get(workspace(active(FaultKind.OVERSIZED)))
    assert len(response.content) > 10 * 1024 * 1024
    assert len(response.json()["results"]) == 10


def test_a_page_may_be_another_document() -> None:
    """It lacks results, or its message is not success."""
    assert get(workspace(active(FaultKind.NO_RESULTS))).json() == {"message": "success"}
    assert get(workspace(active(FaultKind.BAD_MESSAGE))).json()["message"] != "success"


@pytest.mark.parametrize("path", [LIST, HISTORY])
def test_an_item_may_lack_what_identifies_it(path: str) -> None:
    """The first item has neither ID nor time; the others are complete."""
    items = get(workspace(active(FaultKind.ITEM_WITHOUT_ID)), path).json()["results"]
    names = {"integration_id", "sync_start_time", "sync_finish_time"}
    assert [bool(names & item.keys()) for item in items] == [False] + [True] * 9


@pytest.mark.parametrize("path", [LIST, HISTORY])
def test_an_item_may_have_wrong_types(path: str) -> None:
    """The page is JSON with the same number of items, but none of them is usable."""
    items = get(workspace(active(FaultKind.WRONG_TYPES)), path).json()["results"]
    assert items[0] == 42
    assert len(items) == 10
    assert all(isinstance(next(iter(item.values())), list) for item in items[1:])


@pytest.mark.parametrize("path", [LIST, HISTORY])
def test_a_cursor_may_repeat(path: str) -> None:
    """Each page, including the last one, names itself as the next one."""
    simulator = workspace(active(FaultKind.REPEATING_CURSOR))
    for cursor in ("c2tpcDoyMA==", "c2tpcDoxMA=="):
        assert f'cursor={cursor}>; rel="next"' in get(simulator, path, cursor).headers["link"]


@pytest.mark.parametrize("path", [LIST, HISTORY])
def test_pages_may_never_end(path: str) -> None:
    """Far beyond the end there are still items and another page."""
    response = get(workspace(active(FaultKind.ENDLESS)), path, "c2tpcDo5MDAwMA==")
    assert response.json()["results"]
    assert 'rel="next"' in response.headers["link"]
