"""Two exporters for the simulated workspace, and a real Prometheus that scrapes both."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.braze_server import KEY
from tests.e2e.processes import (
    PATIENCE,
    ROOT,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    moment_when,
    running,
    serves,
    settled,
)
from tests.grafana.promtool import binary
from tests.grafana.world import World

WEEK = 7 * 86_400.0
HOUR_BEFORE = 500
ROWS_WEEK_AGO = 777

SAMPLES = 12
"""The number of scrapes after which `increase` is accurate enough."""


Series = list[tuple[dict[str, str], float]]


@dataclass
class Stack:
    """The running processes and the real state of the workspace."""

    prometheus: str
    world: World
    finished: float
    """When the runs finished that the exporters saw finish."""
    exporters: list[subprocess.Popen[bytes]]

    def instant(self, expr: str, at: float) -> Series:
        """The series of an instant query."""
        found = self._ask("query", query=expr, time=at)
        return [(each["metric"], float(each["value"][1])) for each in found]

    def last(self, expr: str, since: float, until: float, step: float) -> Series:
        """The series of a range query that have a value at its end, with that value."""
        found = self._ask("query_range", query=expr, start=since, end=until, step=step)
        return [
            (each["metric"], float(each["values"][-1][1]))
            for each in found
            if float(each["values"][-1][0]) > until - step
        ]

    def moment(self) -> float:
        """A moment at which both exporters have been scraped.

        Query results for it no longer change.
        """
        both = "count(up == 1) == 2"
        return moment_when(lambda at: self.instant(both, at), "both exporters are scraped")

    def _ask(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.prometheus}/api/v1/{path}", data=parameters, timeout=60).json()
        assert answer["status"] == "success", (parameters, answer)
        return list(answer["data"]["result"])


def _configurations(folder: Path, braze: int, exporters: list[int]) -> None:
    endpoint = f"http://127.0.0.1:{braze}/"
    workspaces = [
        {"name": "production", "endpoint": endpoint, "api_key_env": "KEY"},
        {"name": "europe", "endpoint": endpoint, "api_key_env": "OTHER"},
    ]
    settings = {"refresh": {"min_interval": "2s"}, "workspaces": workspaces}
    (folder / "config.yml").write_text(yaml.safe_dump(settings), "utf-8")
    for path in (ROOT / "prometheus" / "rules").glob("*.yml"):
        rules = yaml.safe_load(path.read_text("utf-8"))
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
        (folder / f"rules-{path.name}").write_text(yaml.safe_dump(rules), "utf-8")
    second = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    targets = [f"127.0.0.1:{port}" for port in exporters]
    prometheus = {
        "global": second,
        "rule_files": ["rules-*.yml"],
        "scrape_configs": [{"job_name": "braze-cdi", "static_configs": [{"targets": targets}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(prometheus), "utf-8")


def _week_ago(folder: Path, world: World) -> None:
    """Backfill the rows of one integration for an hour one week ago."""
    labels = (
        f'integration_id="{world.users.id}",integration_name="{world.users.name}",'
        'workspace="production",job="braze-cdi",instance="old"'
    )
    begin, end = world.now - WEEK - 5400, world.now - WEEK + 600
    moments = range(int(begin), int(end), 60)
    lines = ["# TYPE braze_cdi_last_sync_rows_synced gauge"]
    lines += [f"braze_cdi_last_sync_rows_synced{{{labels}}} {ROWS_WEEK_AGO} {at}" for at in moments]
    lines.append("# TYPE braze_cdi_rows_synced counter")
    lines += [
        f"braze_cdi_rows_synced_total{{{labels}}} {HOUR_BEFORE * (at - begin) / 3600} {at}"
        for at in moments
    ]
    (folder / "old.txt").write_text("\n".join([*lines, "# EOF", ""]), "utf-8")
    command = ["tsdb", "create-blocks-from", "openmetrics", "old.txt", "tsdb"]
    subprocess.run([binary("promtool"), *command], cwd=folder, check=True, capture_output=True)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """All processes run, some runs have finished, and all of that has been scraped."""
    world = World(time.time())
    braze, prometheus, *exporters = (free_port() for _ in range(4))
    _configurations(folder, braze, exporters)
    _week_ago(folder, world)
    with ExitStack() as processes:
        server = [sys.executable, "-m", "tests.grafana.world", str(braze), str(world.now)]
        processes.enter_context(running(server, folder / "braze.log"))
        started: list[subprocess.Popen[bytes]] = []
        for port in exporters:
            flags = (
                f"--config.file={folder}/config.yml",
                f"--web.listen-address=127.0.0.1:{port}",
            )
            env = clean_environment(KEY=KEY, OTHER="another-key")
            log = folder / f"exporter-{port}.log"
            started.append(processes.enter_context(running(exporter_command(*flags), log, env)))
        for port in exporters:
            serves(f"http://127.0.0.1:{port}/-/ready")
        command = [
            binary("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        ]
        processes.enter_context(running(command, folder / "prometheus.log"))
        made = Stack(f"http://127.0.0.1:{prometheus}", world, 0.0, started)
        serves(f"{made.prometheus}/-/ready")
        _let_runs_finish(made, f"http://127.0.0.1:{braze}")
        yield made


def _let_runs_finish(made: Stack, braze: str) -> None:
    def holds(expr: str) -> bool:
        return len(made.instant(expr, settled())) == 1

    known = len(made.world.integrations)
    histories = 'count(braze_cdi_last_sync_status{status="success"})'
    at_zero = "count(braze_cdi_rows_failed_total == 0)"
    eventually(
        lambda: holds(f"{histories} == {2 * (known - 1)} and {at_zero} == {2 * known}"),
        "both exporters know all histories",
    )
    made.finished = float(int(time.time()))
    parameters = {"at": made.finished}
    httpx.post(f"{braze}/finish", params=parameters, timeout=PATIENCE).raise_for_status()
    made.world.finish(made.finished)
    eventually(
        lambda: holds("sum(braze_cdi_rows_failed_total) == 230"), "both exporters count the rows"
    )
    failing = 'braze_cdi_syncs_total{status="error"} == 1'
    eventually(lambda: holds(f"count({failing}) == 2"), "both exporters count the failed run")
    eventually(lambda: holds("count(ALERTS) > 0"), "alerts fire")
    scrapes = "min(count_over_time(braze_cdi_up[10m]))"
    eventually(lambda: holds(f"{scrapes} >= {SAMPLES}"), "there are enough samples")
