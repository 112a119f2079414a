"""A real Prometheus that discovers the workspaces at /sd and scrapes each through /probe."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from tests.e2e.processes import (
    PATIENCE,
    ROOT,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    moment_when,
    program,
    running,
    serves,
)
from tests.shown import serving
from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator

KEY = "canary-key-90c2"
NAMES = ["production", "staging", "europe", "asia", "Größe & co/1", 'odd "name"; 100%']
EXAMPLES = ("prometheus-probe.yml", "prometheus-shard.yml")


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus and the exporter that it scrapes."""

    url: str
    exporter: str
    """Host and port."""

    def query(self, expression: str, at: float) -> list[dict[str, str]]:
        """The labels of the result of an instant query."""
        params: dict[str, str | float] = {"query": expression, "time": at}
        answer = httpx.get(f"{self.url}/api/v1/query", params=params, timeout=PATIENCE).json()
        return [each["metric"] for each in answer["data"]["result"]]

    def when(self, expression: str, what: str) -> float:
        """A moment at which the expression has a result that no longer changes."""
        return moment_when(lambda at: self.query(expression, at), what)

    def targets(self) -> list[dict[str, Any]]:
        """The active targets."""
        answer = httpx.get(
            f"{self.url}/api/v1/targets", params={"state": "active"}, timeout=PATIENCE
        ).json()
        return list(answer["data"]["activeTargets"])

    def workspaces(self) -> set[str]:
        """The addresses of the workspaces that are scraped successfully."""
        found = set[str]()
        for target in self.targets():
            query = parse_qs(urlsplit(target["scrapeUrl"]).query)
            if target["health"] == "up":
                found.update(query.get("workspace", []))
        return found


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of an exporter with several workspaces."""
    folder = tmp_path_factory.mktemp("exporter")
    now, port = time.time(), free_port()
    integration = ScriptedIntegration("one", "users")
    for number in range(3, 0, -1):
        integration.run(now - 3600 * number, now - 3600 * number + 60, rows_synced=5)
    limits = {LIST: 10**6, HISTORY: 10**6}
    simulator = Simulator([integration], time.time, key=KEY, limits=limits)
    with serving(simulator) as braze:
        workspaces = [{"name": name, "endpoint": braze, "api_key": KEY} for name in NAMES]
        refresh = {"rate_limits": {"integrations": 10**6, "job_sync_status": 10**6}}
        config = {"refresh": refresh, "workspaces": workspaces}
        (folder / "config.yml").write_text(yaml.safe_dump(config), "utf-8")
        flags = [f"--config.file={folder}/config.yml", f"--web.listen-address=127.0.0.1:{port}"]
        with running(exporter_command(*flags), folder / "log", clean_environment()):
            serves(f"http://127.0.0.1:{port}/-/ready")
            yield f"127.0.0.1:{port}"


@contextmanager
def prometheus(exporter: str, folder: Path, example: str, shard: int = 0) -> Iterator[Prometheus]:
    """A Prometheus with one of the shipped examples, with shorter intervals, as this shard."""
    text = (ROOT / "prometheus" / example).read_text("utf-8")
    config = yaml.safe_load(text.replace("localhost:10234", exporter).replace(";0", f";{shard}"))
    (job,) = config["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    job["http_sd_configs"][0]["refresh_interval"] = "1s"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder / "log"):
        serves(f"http://127.0.0.1:{port}/-/ready")
        yield Prometheus(f"http://127.0.0.1:{port}", exporter)


@pytest.mark.parametrize("example", EXAMPLES)
def test_promtool_accepts_the_example(example: str) -> None:
    """The shipped file is valid as it is."""
    command = [program("promtool"), "check", "config", str(ROOT / "prometheus" / example)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


def test_each_workspace_is_found_and_scraped(exporter: str, tmp_path: Path) -> None:
    """Each workspace and the exporter have one target, with the documented labels."""
    with prometheus(exporter, tmp_path / "p", "prometheus-probe.yml") as server:
        eventually(lambda: server.workspaces() == {*NAMES}, "each workspace is scraped")
        rows = "braze_cdi_last_sync_rows_synced"
        all_up = f"count(up == 1) == {len(NAMES) + 1}"
        at = server.when(f"count({rows}) == {len(NAMES)} and {all_up}", "each workspace has data")
        found = server.query(rows, at)
        assert {each["workspace"]: each["instance"] for each in found} == {
            name: f"{exporter}/{name}" for name in NAMES
        }
        targets = server.targets()
        assert len(targets) == len(NAMES) + 1
        for target in targets:
            assert "workspace" not in target["labels"], "else the metrics' own is renamed"
            assert target["labels"]["job"] == "braze-cdi"
        own = server.query("cdi_exporter_build_info", at)
        assert [each["instance"] for each in own] == [exporter]
        assert not server.query('{exported_workspace=~".+"}', at)
        assert not server.query('{exported_instance=~".+"}', at)
        assert {each["instance"] for each in server.query("up == 1", at)} == {
            exporter,
            *(f"{exporter}/{name}" for name in NAMES),
        }


def test_two_servers_share_the_workspaces(exporter: str, tmp_path: Path) -> None:
    """Each workspace is scraped by exactly one server. Both scrape the exporter itself."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                prometheus(exporter, tmp_path / f"p{shard}", "prometheus-shard.yml", shard)
            )
            for shard in (0, 1)
        ]

        def shares() -> list[set[str]] | None:
            found = [server.workspaces() for server in servers]
            return found if set.union(*found) == {*NAMES} else None

        first, second = eventually(shares, "each workspace is scraped")
        assert not first & second
        assert first
        assert second
        for server in servers:
            at = server.when("cdi_exporter_build_info", "the exporter itself is scraped")
            own = server.query("cdi_exporter_build_info", at)
            assert [each["instance"] for each in own] == [exporter]
