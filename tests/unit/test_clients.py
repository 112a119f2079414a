"""API keys and budgets while keys and the configuration change."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from cdi_exporter import logs
from cdi_exporter.app import Exporter
from cdi_exporter.braze.budget import WINDOW
from cdi_exporter.clients import Clients
from cdi_exporter.config import RateLimits, Refresh, Settings, WorkspaceConfig, inline_key
from cdi_exporter.config.keys import KeySource
from cdi_exporter.errors import ConfigError
from cdi_exporter.model import Endpoint
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import Page, inline, workspace
from tests.simulation.direct import DirectTransport
from tests.virtual import run, virtual_clock

LIMIT = 10
SLOTS = 8
SLOW = Refresh(rate_limits=RateLimits(integrations=50, job_sync_status=LIMIT))


@dataclass(frozen=True)
class Sent:
    """A received request."""

    at: float
    key: str
    host: str
    history: bool


@dataclass
class Braze(httpx.AsyncBaseTransport):
    """A Braze API whose list always shows a new run, so that every history must be read.

    It accepts every key except those in `revoked`. It has no rate limit.
    """

    integrations: int = 40
    revoked: set[str] = field(default_factory=set)
    sent: list[Sent] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer after 0.1 s."""
        now = asyncio.get_running_loop().time()
        key = request.headers["authorization"].removeprefix("Bearer ")
        history = request.url.path != "/cdi/integrations"
        self.sent.append(Sent(now, key, request.url.host, history))
        await asyncio.sleep(0.1)
        if key in self.revoked:
            return httpx.Response(401, json={"message": "Invalid API key"})
        started = {"job_status": "success", "sync_start_time": "2020-01-01T00:00:00Z"}
        items = [
            {
                "integration_id": f"i{number}",
                "last_job_start_time": "2026-09-21T00:00:00Z",
                "last_job_status": "success",
            }
            for number in range(self.integrations)
        ]
        results: list[dict[str, Any]] = [started] if history else items
        return httpx.Response(200, json={"message": "success", "results": results})

    def keys(self, since: float = 0.0, host: str | None = None) -> set[str]:
        """The keys that were sent since this time."""
        return {each.key for each in self.sent if each.at >= since and host in (None, each.host)}

    def most_in_a_window(self, *keys: str) -> int:
        """The largest number of history requests with these keys in any minute."""
        times = [each.at for each in self.sent if each.history and each.key in keys]
        return max(
            (sum(start <= time <= start + WINDOW for time in times) for start in times), default=0
        )


@dataclass
class World:
    """An exporter connected to a Braze. A test changes its configuration and key files."""

    exporter: Exporter
    braze: Braze
    client: httpx.AsyncClient
    configs: list[WorkspaceConfig]

    async def scrape(self) -> Page:
        response = await self.client.get(
            "/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "5"}
        )
        assert response.status_code == 200
        return Page(response.text)

    async def minutes(self, number: int) -> None:
        for _ in range(4 * number):
            await self.scrape()
            await asyncio.sleep(15)

    async def reload(self, *configs: WorkspaceConfig) -> None:
        self.configs[:] = configs
        await self.exporter.reload()

    def number_of_budgets(self, *names: str) -> int:
        """The number of different budgets that these workspaces use."""
        clients = self.exporter._clients.by_workspace
        return len({id(clients[name].shared) for name in names})


@asynccontextmanager
async def world(braze: Braze, *configs: WorkspaceConfig) -> Any:
    current = [*configs]

    async def load() -> Settings:
        return Settings(tuple(current))

    exporter = Exporter(
        Settings(tuple(current)),
        virtual_clock(),
        load=load,
        transport=lambda _: braze,
        offload=inline,
    )
    app = create_app(exporter, WebOptions())
    async with httpx.AsyncClient(transport=DirectTransport(app), base_url="http://e") as client:
        yield World(exporter, braze, client, current)
    await exporter.close()


def file_workspace(path: Path, name: str, **more: Any) -> WorkspaceConfig:
    """A workspace whose key is in a file. All of them have the same endpoint by default."""
    settings = {"endpoint": "https://braze.test", "refresh": SLOW, "key": KeySource(file=str(path))}
    return workspace(name, **(settings | more))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two key files with the same key."""
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        path.write_text("K1\n")
    return paths


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "logfmt", stream)
    yield stream
    structlog.reset_defaults()


def test_workspaces_whose_keys_become_different_get_separate_budgets(
    files: tuple[Path, Path],
) -> None:
    """Two workspaces start with the same key. Then one of the key files is rotated."""

    async def main() -> None:
        braze = Braze()
        configs = file_workspace(files[0], "a"), file_workspace(files[1], "b")
        async with world(braze, *configs) as it:
            await it.minutes(2)
            assert it.number_of_budgets("a", "b") == 1
            files[1].write_text("K2\n")
            rotated = asyncio.get_running_loop().time()
            await it.minutes(3)
            assert it.number_of_budgets("a", "b") == 2
            assert braze.keys(rotated) == {"K1", "K2"}
            await it.minutes(3)
            b = [each for each in braze.sent if each.at > rotated + 60 and each.key == "K2"]
            assert len(b) > 3 * SLOTS
        assert braze.most_in_a_window("K1") <= SLOTS
        assert braze.most_in_a_window("K2") <= SLOTS

    run(main())


@pytest.mark.parametrize("reloaded", [False, True])
def test_workspaces_whose_keys_become_equal_share_one_budget(
    files: tuple[Path, Path], reloaded: bool
) -> None:
    """This takes effect at once, even without a reload. The requests of both keys count."""

    async def main() -> None:
        braze = Braze()
        files[1].write_text("K2")
        configs = file_workspace(files[0], "a"), file_workspace(files[1], "b")
        async with world(braze, *configs) as it:
            await it.minutes(3)
            assert it.number_of_budgets("a", "b") == 2
            files[1].write_text("K1")
            rotated = asyncio.get_running_loop().time()
            if reloaded:
                await it.reload(file_workspace(files[0], "a"), file_workspace(files[1], "b"))
                assert it.number_of_budgets("a", "b") == 1
            await it.minutes(3)
            assert it.number_of_budgets("a", "b") == 1
            assert braze.keys(rotated) == {"K1"}
        assert braze.most_in_a_window("K1") <= SLOTS
        since = [each for each in braze.sent if each.at >= rotated and each.history]
        assert not [each for each in since if each.at < rotated + 30]

    run(main())


def test_a_rotated_key_keeps_the_spent_budget(files: tuple[Path, Path]) -> None:
    """Braze limits the workspace. Requests made with the old key count for the new key."""

    async def main() -> None:
        braze = Braze()
        async with world(braze, file_workspace(files[0], "a")) as it:
            for number in range(6):
                await it.minutes(1)
                files[0].write_text(f"K{number + 2}")
            await it.minutes(1)
        assert len(braze.keys()) == 7
        assert braze.most_in_a_window(*braze.keys()) <= SLOTS

    run(main())


@pytest.mark.parametrize("together", [False, True])
def test_a_shared_key_can_be_rotated_one_file_after_the_other(
    files: tuple[Path, Path], together: bool
) -> None:
    """In between, the workspaces have two keys. Requests with either key count for the other."""

    async def main() -> None:
        braze = Braze()
        async with world(braze, file_workspace(files[0], "a"), file_workspace(files[1], "b")) as it:
            await it.minutes(2)
            files[0].write_text("K2")
            if not together:
                await it.scrape()
                await asyncio.sleep(5)
            files[1].write_text("K2")
            braze.revoked.add("K1")
            rotated = asyncio.get_running_loop().time()
            await it.minutes(2)
            assert it.number_of_budgets("a", "b") == 1
            assert braze.keys(rotated) == {"K2"}
        assert braze.most_in_a_window("K1", "K2") <= SLOTS

    run(main())


def test_a_request_that_waited_for_the_old_budget_is_not_made_with_the_new_key(
    files: tuple[Path, Path],
) -> None:
    """The request waits again, for the budget of the new key. The old key is not sent."""

    async def main() -> None:
        braze = Braze()
        configs = [file_workspace(files[0], name) for name in ("a", "b", "c")]
        async with world(braze, *configs) as it:
            await it.minutes(2)
            await it.reload(*[replace(each, key=inline_key("K2")) for each in configs])
            reloaded = asyncio.get_running_loop().time()
            await it.minutes(3)
            assert braze.keys(reloaded) == {"K2"}
            assert it.number_of_budgets("a", "b", "c") == 1
        assert braze.most_in_a_window("K1", "K2") <= SLOTS
        assert braze.most_in_a_window("K2") == SLOTS

    run(main())


def test_a_key_that_is_replaced_while_a_request_waits_is_the_one_that_is_sent(
    files: tuple[Path, Path],
) -> None:
    """A request that was waiting when the key was replaced does not try the revoked key."""

    async def main() -> None:
        braze = Braze()
        async with world(braze, file_workspace(files[0], "a")) as it:
            await it.scrape()
            await asyncio.sleep(5)
            files[0].write_text("K2")
            braze.revoked.add("K1")
            await it.minutes(3)
            page = await it.scrape()
            assert page("braze_cdi_up", workspace="a") == 1
        assert not [each for each in braze.sent if each.key == "K1" and each.at > 5.2]

    run(main())


def test_a_removed_workspace_gives_its_request_permits_back(files: tuple[Path, Path]) -> None:
    """One of two workspaces with the same key is removed and added again by each reload.

    It is removed at many different moments of its requests, including before a read has started.
    The other workspace must still get its requests.
    """

    async def main() -> None:
        braze = Braze()
        a, b = file_workspace(files[0], "a"), file_workspace(files[1], "b")
        async with world(braze, a, b) as it:
            for number in range(30):
                scrape = asyncio.create_task(it.scrape())
                await asyncio.sleep(number * 0.013 + (7 if number % 3 else 0))
                await it.reload(a)
                await scrape
                await asyncio.sleep(4)
                await it.reload(a, b)
            await it.reload(a)
            await asyncio.sleep(200)
            before = len(braze.sent)
            await it.minutes(4)
            assert len(braze.sent) - before >= 4 * SLOTS
            budgets = it.exporter._clients.by_workspace["a"].budgets
            await asyncio.sleep(100)
            assert not any(budget.running for budget in budgets.values())
        assert braze.most_in_a_window("K1") <= SLOTS

    run(main())


def test_a_workspace_that_is_added_again_keeps_the_spent_budget(
    files: tuple[Path, Path],
) -> None:
    """The spending before a reload is kept, even though no workspace had the key for a moment."""

    async def main() -> None:
        braze = Braze()
        a, other = (
            file_workspace(files[0], "a"),
            file_workspace(files[1], "b", endpoint="https://other.test"),
        )
        async with world(braze, a, other) as it:
            await it.minutes(1)
            for _ in range(5):
                await it.reload(other)
                await it.reload(a, other)
                await it.scrape()
                await asyncio.sleep(2)
        times = [each.at for each in braze.sent if each.history and each.host == "braze.test"]
        assert max(sum(at <= each <= at + WINDOW for each in times) for at in times) <= SLOTS

    run(main())


def test_a_key_is_never_sent_to_another_workspaces_url(files: tuple[Path, Path]) -> None:
    """Workspaces at different endpoints may have the same key. They share nothing."""

    async def main() -> None:
        braze = Braze()
        files[1].write_text("K2")
        configs = (
            file_workspace(files[0], "a"),
            file_workspace(files[1], "b", endpoint="https://other.test"),
        )
        async with world(braze, *configs) as it:
            await it.minutes(1)
            files[1].write_text("K1")
            await it.minutes(1)
            assert it.number_of_budgets("a", "b") == 2
        assert braze.keys(host="braze.test") == {"K1"}
        assert braze.keys(host="other.test") == {"K1", "K2"}

    run(main())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"two words", "contains spaces"),
        (None, "no such file"),
        (b"\xff\xfex", ""),
    ],
)
def test_a_rotated_key_file_that_cannot_be_used_is_reported_while_the_old_key_works(
    files: tuple[Path, Path], log: io.StringIO, content: bytes | None, problem: str
) -> None:
    """There is one log line and a metric until the file is usable again."""

    async def main() -> None:
        braze = Braze(integrations=1)
        config = file_workspace(files[0], "a")
        async with world(braze, config, replace(config, name="w", key=inline_key("K9"))) as it:
            page = await it.scrape()
            metric = "cdi_exporter_file_reload_successful"
            assert page.all(metric, workspace="a", kind="api_key") == [1]
            assert page.all(metric, workspace="w") == []
            files[0].unlink()
            if content is not None:
                files[0].write_bytes(content)
            for _ in range(3):
                await asyncio.sleep(60)
                page = await it.scrape()
            assert page(metric, workspace="a", kind="api_key") == 0
            assert page("braze_cdi_up", workspace="a") == 1
            lines = [line for line in log.getvalue().splitlines() if "key file" in line]
            assert len(lines) == 1
            assert "level=error" in lines[0]
            assert 'event="key file unusable"' in lines[0]
            assert "workspace=a" in lines[0]
            assert str(files[0]) in lines[0]
            assert problem in lines[0]
            files[0].write_text("K3")
            await asyncio.sleep(60)
            page = await it.scrape()
            assert page(metric, workspace="a", kind="api_key") == 1
            assert 'event="key file recovered"' in log.getvalue()
            assert braze.keys(asyncio.get_running_loop().time() - 10) >= {"K3"}

    run(main())


# Configurations


def clients(*configs: WorkspaceConfig, **environ: str) -> Clients:
    async def make() -> Clients:
        found = Clients(virtual_clock(), environ=environ)
        found.apply(configs, found.prepare(configs))
        return found

    return run(make())


def budget_settings(found: Clients) -> dict[str, Sequence[float]]:
    return {
        name: (client.budgets[Endpoint.HISTORY].share, client.budgets[Endpoint.HISTORY].configured)
        for name, client in found.by_workspace.items()
    }


def test_a_prepared_configuration_changes_nothing_before_it_is_applied() -> None:
    """A configuration can still be rejected after its clients were created."""

    async def main() -> None:
        found = Clients(virtual_clock(), environ={})
        a = workspace("a", endpoint="https://braze.test")
        found.apply([a], found.prepare([a]))
        client, before = found.by_workspace["a"], budget_settings(found)
        low = replace(a, refresh=Refresh(rate_limit_share=0.1))
        configs = [low, replace(low, name="b")]
        prepared = found.prepare(configs)
        assert prepared["a"] is client
        assert prepared["b"].budgets[Endpoint.HISTORY].share == 0.1
        assert found.by_workspace == {"a": client}
        assert budget_settings(found) == before
        assert found.apply(configs, prepared) == []
        assert set(budget_settings(found).values()) == {(0.1, 100)}
        assert found.apply([a], found.prepare([a])) == [prepared["b"]]

    run(main())


def test_workspaces_with_a_shared_budget_use_the_lower_limits() -> None:
    """The lower share and limit apply while both exist, even if their ca_file differs."""

    async def main() -> None:
        found = Clients(virtual_clock(), environ={})
        a = workspace("a", endpoint="https://braze.test", refresh=Refresh(rate_limit_share=0.5))
        limits = Refresh(rate_limits=RateLimits(job_sync_status=30))
        b = replace(a, name="b", refresh=limits, ca_file="/some/file.pem")
        found.apply([a, b], found.prepare([a, b]))
        assert budget_settings(found) == {"a": (0.5, 30), "b": (0.5, 30)}
        (left,) = found.apply([a], found.prepare([a]))
        await left.retire()
        found.apply([a], found.prepare([a]))
        assert budget_settings(found) == {"a": (0.5, 100)}

    run(main())


def test_an_unusable_proxy_is_a_configuration_error() -> None:
    """There is one line for all workspaces. An endpoint excluded by NO_PROXY causes no error."""
    a, b = workspace("a"), workspace("b")
    with pytest.raises(ConfigError) as caught:
        clients(a, b, ALL_PROXY="socks5h://127.0.0.1:1080")
    (line,) = caught.value.mistakes
    assert line == (
        'ALL_PROXY: "socks5h://127.0.0.1:1080" is a SOCKS proxy, which is not supported; expected '
        "an HTTP proxy, such as http://proxy.example:3128"
    )
    assert clients(a, b, ALL_PROXY="socks5h://127.0.0.1:1080", NO_PROXY=".test").by_workspace


def test_an_invalid_no_proxy_entry_is_logged_once(log: io.StringIO) -> None:
    """There is one line for all workspaces."""
    assert clients(workspace("a"), workspace("b"), NO_PROXY="[::1").by_workspace
    (line,) = log.getvalue().splitlines()
    assert 'event="NO_PROXY entry ignored"' in line
    assert "variable=NO_PROXY" in line
    assert "[::1" in line
