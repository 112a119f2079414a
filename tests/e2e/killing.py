"""An exporter that is killed repeatedly.

Usage: python -m tests.e2e.killing --kills 300 [--seed N]

Runs of a simulated workspace finish while the exporter is scraped and receives SIGKILL at random
moments: during its start, during scrapes and soon after a commit. No counter may ever decrease,
and at the end each run must be counted once.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from tests.e2e.processes import clean_environment, eventually, exporter_command, free_port, running
from tests.harness import SCRAPER
from tests.simulator import HISTORY, LIST, ScriptedIntegration, Simulator

KEY = "key-of-the-killing"
STATUSES = ("success", "partial", "error", "config_error")
IDS = ("a", "b", "c", "d")
SAMPLE = re.compile(r"^(braze_cdi_\w+_total)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(integration_id|status)="(\w+)"')

DAYS = 6.0
"""How many days ago the first run started.

Each run starts seconds after the previous one and ends now.
"""

KILLED_DURING_START = 0.3
"""The share of the processes that are killed during their start."""

Totals = Counter[tuple[str, str, str]]
"""Values by metric, integration and status."""


class World:
    """The simulated workspace and the runs that it really had."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"killing/{seed}")
        self.integrations = [ScriptedIntegration(each, f"sync-{each}") for each in IDS]
        self.truth: Totals = Counter()
        now = time.time()
        self.moment = now - DAYS * 86_400
        for integration in self.integrations:
            integration.run(self.moment, now - 7100, rows_synced=1)
        limits = {LIST: 1_000_000, HISTORY: 1_000_000}
        self.simulator = Simulator(self.integrations, time.time, key=KEY, limits=limits)

    def finish(self) -> None:
        """End some runs now."""
        for _ in range(self.rng.choice([0, 1, 1, 2, 15])):
            integration = self.rng.choice(self.integrations)
            status, rows = self.rng.choice(STATUSES), self.rng.randrange(1000)
            self.moment += 2.0
            integration.run(self.moment, time.time(), status, rows_synced=rows, rows_failed=3)
            self.truth["braze_cdi_syncs_total", integration.id, status] += 1
            self.truth["braze_cdi_rows_synced_total", integration.id, ""] += rows
            self.truth["braze_cdi_rows_failed_total", integration.id, ""] += 3

    @contextmanager
    def served(self) -> Iterator[int]:
        """Serve the workspace. Yields the port."""
        port = free_port()
        config = uvicorn.Config(
            self.simulator, host="127.0.0.1", port=port, log_level="error", date_header=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


def kill_and_count(folder: Path, *, kills: int, seed: int) -> None:
    """Kill the exporter this many times.

    Raises AssertionError if a run is not counted exactly once.
    """
    world = World(seed)
    with world.served() as braze:
        port = free_port()
        command = exporter_command(
            f"--config.file={config_file(folder, braze)}",
            f"--state.file={folder / 'state.sqlite'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        )
        url, shown = f"http://127.0.0.1:{port}/metrics", Counter[tuple[str, str, str]]()
        with running(command, folder / "log-first", clean_environment()):
            eventually(lambda: _scrape(url, shown) >= len(IDS), "each integration is shown")
        started_at = time.monotonic()
        with running(command, folder / "log-second", clean_environment()):
            eventually(lambda: _scrape(url, shown), "the first scrape succeeds")
            start_time = time.monotonic() - started_at
        for life in range(kills):
            with running(command, folder / f"log-{life}", clean_environment()) as process:
                if world.rng.random() < KILLED_DURING_START:
                    time.sleep(world.rng.uniform(0.0, start_time))
                else:
                    _scrape_and_kill(process, url, shown, world)
                process.kill()
                process.wait()
            _not_refused(folder / f"log-{life}")
        with running(command, folder / "log-last", clean_environment()):
            try:
                eventually(
                    lambda: _scrape(url, shown) and shown >= world.truth, "all runs are counted"
                )
            except AssertionError as error:
                missing = {key: (shown[key], due) for key, due in world.truth.items()}
                raise AssertionError(f"(shown, true): {missing}") from error
        assert shown == world.truth


def _scrape_and_kill(
    process: subprocess.Popen[bytes], url: str, shown: Totals, world: World
) -> None:
    eventually(lambda: _scrape(url, shown), "the first scrape succeeds")
    scrapes = threading.Thread(target=_scrape_until_dead, args=(url, shown, world))
    scrapes.start()
    time.sleep(world.rng.uniform(0.0, 0.3))
    process.kill()
    scrapes.join()


def _not_refused(log: Path) -> None:
    logged = log.read_text()
    assert "cannot use the state file" not in logged, logged


def _scrape_until_dead(url: str, shown: Totals, world: World) -> None:
    while True:
        world.finish()
        try:
            _scrape(url, shown)
        except httpx.HTTPError:
            return


def _scrape(url: str, shown: Totals) -> int:
    """Scrape into `shown` and fail if a counter decreased. Returns the number of histories."""
    page = httpx.get(url, headers=SCRAPER, timeout=10).text
    found = SAMPLE.findall(page)
    for name, text, value in found:
        labels = dict(LABEL.findall(text))
        series = (name, labels.get("integration_id", ""), labels.get("status", ""))
        number = int(float(value)) if series[1] else 0
        assert number >= shown[series], f"{series} fell from {shown[series]} to {number}"
        if number:
            shown[series] = number
    return page.count("\nbraze_cdi_last_sync_rows_synced{")


def config_file(folder: Path, braze: int) -> Path:
    path = folder / "config.yml"
    path.write_text(f"""
refresh: {{min_interval: 0s, rate_limits: {{integrations: 100000, job_sync_status: 100000}}}}
workspaces:
  - {{name: w, endpoint: "http://127.0.0.1:{braze}", api_key: {KEY}}}
""")
    return path


def main() -> None:
    """The exit status is 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            kill_and_count(Path(folder), kills=options.kills, seed=options.seed)
        except AssertionError as error:
            sys.exit(f"seed {options.seed}, {options.kills} kills: {error}")
    sys.stdout.write(f"{options.kills} kills: each run counted once, no counter fell\n")


if __name__ == "__main__":
    main()
