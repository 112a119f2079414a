"""The simulator's pages, parsed with the models of braze-mcp-server, Braze's own client.

Only its models of the two responses are loaded. The package itself needs a web framework and Python
3.12; these modules do not.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tests.simulator import Profile, ScriptedIntegration, Simulator, demo_workspace, many, mixed
from tests.unit.simulator.test_simulator_api import (
    LIFTED,
    LIST,
    NOW,
    client,
    history_path,
    next_cursor,
)

DAY = 86_400.0
HALF_A_DAY = DAY / 2
FAR = 20
"""The number of history pages to read: the demo's histories have thousands of similar pages."""


@pytest.fixture(scope="module")
def models() -> Iterator[ModuleType]:
    """Braze's models, loaded without the rest of their package."""
    root = Path(str(distribution("braze-mcp-server").locate_file("braze_mcp")))
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (("braze_mcp", root), ("braze_mcp.models", root / "models")):
            package = ModuleType(name)
            package.__path__ = [str(folder)]
            patch.setitem(sys.modules, name, package)
        yield import_module("braze_mcp.models.integrations")


async def pages(http: httpx.AsyncClient, path: str) -> AsyncIterator[dict[str, Any]]:
    """The pages of an endpoint, up to `FAR`."""
    cursor: str | None = ""
    for _ in range(FAR):
        if cursor is None:
            return
        response = await http.get(path, params={"cursor": cursor} if cursor else None)
        yield response.json()
        cursor = next_cursor(response)


async def read(simulator: Simulator, models: ModuleType) -> set[str]:
    """Parse the pages of the workspace, without running rows, and return the statuses."""
    seen: set[str] = set()
    async with client(simulator) as http:
        async for page in pages(http, LIST):
            for each in models.IntegrationsListResponse.model_validate(page).results:
                async for history in pages(http, history_path(each.integration_id)):
                    rows = history["results"]
                    seen |= {row["job_status"] for row in rows}
                    history["results"] = [row for row in rows if row["job_status"] != "running"]
                    models.JobSyncStatusResponse.model_validate(history)
    return seen


def scripted() -> ScriptedIntegration:
    """An integration whose runs have only the required fields."""
    one = ScriptedIntegration("one", "one")
    for number, status in enumerate(("success", "partial", "error", "config_error", "new"), 1):
        one.run(NOW - 600 * number, NOW - 600 * number + 60, status)
    one.run(NOW - 30)
    return one


DOCUMENTED = {"running", "success", "partial", "error", "config_error"}
WORLDS: dict[str, tuple[Callable[[Callable[[], float]], Simulator], set[str]]] = {
    "the demo": (lambda clock: demo_workspace(1, clock=clock), DOCUMENTED | {"throttled"}),
    "a slow demo": (lambda clock: demo_workspace(2, speed=2.0, clock=clock), DOCUMENTED),
    "every profile": (
        lambda clock: Simulator(
            many(2 * len(Profile), seed=1, profiles=list(Profile)), clock, retention=2 * DAY
        ),
        DOCUMENTED | {"throttled"},
    ),
    "a mixed world": (
        lambda clock: Simulator(mixed(40, 3, NOW - DAY, NOW + DAY), clock, retention=2 * DAY),
        DOCUMENTED,
    ),
    "no last job in the list": (
        lambda clock: Simulator(
            [scripted(), ScriptedIntegration("never", "never")], clock, list_has_last_job=False
        ),
        DOCUMENTED | {"new"},
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_brazes_models_accept_every_page(name: str, models: ModuleType) -> None:
    """Each list and history page is accepted, at several times and for any status."""
    world, statuses = WORLDS[name]
    now = NOW
    simulator = world(lambda: now)
    for window in simulator._windows.values():
        window.limit = max(LIFTED.values())
    seen: set[str] = set()
    for moment in (NOW, NOW + 37.5, NOW + HALF_A_DAY):
        now = moment
        seen |= asyncio.run(read(simulator, models))
    assert seen >= statuses


def test_the_models_are_those_of_braze(models: ModuleType) -> None:
    """The models reject undocumented pages; otherwise the test above would prove nothing."""
    page = {"results": [{"job_status": "success", "rows_synced": 1}], "message": "success"}
    with pytest.raises(ValidationError) as error:
        models.JobSyncStatusResponse.model_validate(page)
    assert error.value.error_count() == 4
    with pytest.raises(ValidationError):
        models.IntegrationsListResponse.model_validate({"results": []})
