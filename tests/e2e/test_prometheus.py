"""A real Prometheus that scrapes the real exporter, with a simulated Braze on a socket."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.e2e.braze_server import KEY
from tests.e2e.processes import (
    PATIENCE,
    ROOT,
    clean_environment,
    exporter_command,
    free_port,
    moment_when,
    program,
    running,
    serves,
)


@dataclass
class Stack:
    """The URLs of the running servers."""

    braze: str
    exporter: str
    prometheus: str
    log: Path

    def query(self, expression: str, at: float) -> dict[str, float]:
        """An instant query. Returns the value by integration name."""
        params: dict[str, str | float] = {"query": expression, "time": at}
        answer = httpx.get(
            f"{self.prometheus}/api/v1/query", params=params, timeout=PATIENCE
        ).json()
        return {
            each["metric"].get("integration_name", ""): float(each["value"][1])
            for each in answer["data"]["result"]
        }

    def when(self, expression: str, what: str) -> float:
        """A moment at which the expression has a result that no longer changes."""
        return moment_when(lambda at: self.query(expression, at), what)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Braze, exporter and Prometheus with the example configuration and shorter intervals."""
    tmp = tmp_path_factory.mktemp("stack")
    braze, exporter, prometheus = free_port(), free_port(), free_port()
    example = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())
    example["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    example["rule_files"] = []
    example.pop("alerting", None)
    for job in example["scrape_configs"]:
        job.pop("scrape_interval", None)
        job.pop("scrape_timeout", None)
        job["static_configs"] = [{"targets": [f"127.0.0.1:{exporter}"]}]
    (tmp / "prometheus.yml").write_text(yaml.safe_dump(example))
    (tmp / "config.yml").write_text(
        yaml.safe_dump(
            {
                "refresh": {"min_interval": "2s"},
                "workspaces": [
                    {
                        "name": "production",
                        "endpoint": f"http://127.0.0.1:{braze}/",
                        "api_key_env": "KEY",
                    }
                ],
            }
        )
    )
    with (
        running([sys.executable, "-m", "tests.e2e.braze_server", str(braze)], tmp / "braze.log"),
        running(
            exporter_command(
                f"--config.file={tmp}/config.yml",
                f"--web.listen-address=127.0.0.1:{exporter}",
                "--log.level=debug",
                "--log.format=json",
            ),
            tmp / "exporter.log",
            clean_environment(KEY=KEY),
        ),
        running(
            [
                program("prometheus"),
                f"--config.file={tmp}/prometheus.yml",
                f"--storage.tsdb.path={tmp}/tsdb",
                f"--web.listen-address=127.0.0.1:{prometheus}",
            ],
            tmp / "prometheus.log",
        ),
    ):
        made = Stack(
            f"http://127.0.0.1:{braze}",
            f"http://127.0.0.1:{exporter}",
            f"http://127.0.0.1:{prometheus}",
            tmp / "exporter.log",
        )
        serves(f"{made.exporter}/-/ready")
        serves(f"{made.prometheus}/-/ready")
        yield made


def test_prometheus_gets_rows_failures_duration_and_status(stack: Stack) -> None:
    """PromQL returns the values of the simulated Braze."""
    at = stack.when("count(braze_cdi_last_sync_status == 1) == 3", "all histories are read")
    rows = {"users-hourly": 1000, "orders": 70}
    assert stack.query("braze_cdi_last_sync_rows_synced", at) == rows
    assert stack.query("braze_cdi_last_sync_rows_failed", at) == {"users-hourly": 0, "orders": 30}
    assert stack.query("braze_cdi_last_sync_duration_seconds", at) == {
        "users-hourly": 90,
        "orders": 30,
        "purchases": 5,
    }
    config_errors = 'braze_cdi_last_sync_status{status="config_error"} == 1'
    assert stack.query(config_errors, at) == {"purchases": 1}
    assert stack.query('up{job="braze-cdi"}', at) == {"": 1}
    assert stack.query("scrape_samples_scraped > 100", at)


def test_increase_counts_a_run_between_two_scrapes(stack: Stack) -> None:
    """A run that finishes between two scrapes is counted, because the counters start at 0."""
    counter = 'braze_cdi_syncs_total{status="partial",integration_name="users-hourly"}'
    stack.when(f"{counter} == 0", "the counter is served at 0")
    httpx.post(f"{stack.braze}/finish", timeout=PATIENCE).raise_for_status()
    at = stack.when(f"{counter} == 1", "the run is counted")
    assert stack.query("braze_cdi_rows_failed_total == 25", at) == {"users-hourly": 25}
    assert stack.query("resets(braze_cdi_rows_failed_total[5m]) > 0", at) == {}


def test_the_key_is_not_written_anywhere(stack: Stack) -> None:
    """Neither the log nor the page contains the API key, at any log level."""
    for path in ("/metrics", "/", "/-/metrics", "/sd", "/probe?workspace=production"):
        assert KEY not in httpx.get(stack.exporter + path, timeout=PATIENCE).text
    assert KEY not in stack.log.read_text()
