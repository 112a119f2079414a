"""Failures of two exporters that share a database.

Usage: python -m tests.e2e.failover --rounds 100 [--seed N]

Runs of a simulated workspace finish while a real Prometheus and this program scrape both
exporters. In each round, one exporter (usually the leader) is killed and restarted, or frozen for
longer than its lease, or loses its connections to a real PostgreSQL server. No counter may ever
decrease, and at the end both exporters must have counted each run once.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import yaml

from tests.e2e.killing import IDS, Totals, World, _scrape, config_file
from tests.e2e.processes import clean_environment, end, eventually, free_port, program, serves
from tests.e2e.quick_leases import LEASE
from tests.postgres_server import Database, PostgresServer

LEADER = re.compile(r'^cdi_exporter_leader\{workspace="w"\} 1', re.MULTILINE)
KINDS = ("kill", "freeze", "disconnect")


@dataclass
class Life:
    """One exporter: its current process, and the values it has exposed so far."""

    command: Sequence[str]
    folder: Path
    port: int
    shown: Totals = field(default_factory=Counter)
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/metrics"

    def start(self) -> None:
        """Start the process. Each process logs to its own file."""
        self.starts += 1
        with (self.folder / f"log-{self.port}-{self.starts}").open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, env=clean_environment()
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it and wait for it to exit."""
        self.send(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def scrape(self) -> int:
        """Scrape it. Returns the number of integrations it exposes."""
        return _scrape(self.url, self.shown)

    def shows_all(self) -> bool:
        """Scrape it. Returns whether it exposes all integrations."""
        return self.scrape() >= len(IDS)

    def shows(self, due: Totals) -> bool:
        """Scrape it. Returns whether it has counted all finished runs."""
        return bool(self.scrape()) and self.shown >= due

    def leads(self) -> bool:
        """Whether it reports that it is the leader."""
        with suppress(httpx.HTTPError):
            return bool(LEADER.search(httpx.get(self.url, timeout=10).text))
        return False


class Rounds:
    """The rounds of one run."""

    def __init__(self, folder: Path, database: Database, seed: int) -> None:
        self.folder, self.database, self.world = folder, database, World(seed)
        self.rng = self.world.rng
        self.lives: list[Life] = []

    def run(self, rounds: int) -> None:
        """Run this many rounds. Raises AssertionError if a check fails."""
        with ExitStack() as stack:
            braze = stack.enter_context(self.world.served())
            config = config_file(self.folder, braze)
            for _ in range(2):
                self.lives.append(self._life(config))
                stack.callback(self._end, self.lives[-1])
            for life in self.lives:
                eventually(life.shows_all, "both exporters show all integrations")
            prometheus = stack.enter_context(self._prometheus())
            for _ in range(rounds):
                self._round()
            self._all_counted()
            self._prometheus_agrees(prometheus)
        self._each_epoch_is_of_one_exporter()

    def _life(self, config: Path) -> Life:
        port = free_port()
        command = [
            *(sys.executable, "-m", "tests.e2e.quick_leases"),
            f"--config.file={config}",
            f"--state.url={self.database.url()}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        life = Life(command, self.folder, port)
        life.start()
        return life

    @staticmethod
    def _end(life: Life) -> None:
        if life.process is not None:
            with suppress(ProcessLookupError):
                life.send(signal.SIGCONT)
            end(life.process)

    def _round(self) -> None:
        leader = eventually(self._leader, "an exporter leads")
        life = leader if self.rng.random() < 0.8 else self.rng.choice(self.lives)
        others = [each for each in self.lives if each is not life]
        kind = self.rng.choice(KINDS)
        self._scrapes(self.lives, self.rng.uniform(0.2, 1.0))
        if kind == "kill":
            life.kill()
            self._scrapes(others, self.rng.choice([0.0, 1.5 * LEASE]))
            life.start()
            eventually(life.scrape, "it serves again")
        elif kind == "freeze":
            life.send(signal.SIGSTOP)
            self._scrapes(others, self.rng.choice([0.5, 1.5]) * LEASE)
            life.send(signal.SIGCONT)
        else:
            for _ in range(3):
                for pid in self.database.backends():
                    self.database.execute(f"SELECT pg_terminate_backend({pid})")
                self._scrapes(self.lives, 0.2)

    def _leader(self) -> Life | None:
        leaders = [each for each in self.lives if each.leads()]
        return leaders[0] if leaders else None

    def _scrapes(self, lives: Sequence[Life], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.world.finish()
            for life in lives:
                with suppress(httpx.TransportError):
                    life.scrape()
            time.sleep(0.1)

    def _all_counted(self) -> None:
        """Assert that both exporters count each run once."""
        for life in self.lives:
            due = self.world.truth
            try:
                eventually(partial(life.shows, due), "all runs are counted")
            except AssertionError as error:
                missing = {key: (life.shown[key], value) for key, value in due.items()}
                raise AssertionError(f"(shown, true): {missing}") from error
            assert life.shown == due

    @contextmanager
    def _prometheus(self) -> Iterator[str]:
        port, folder = free_port(), self.folder / "prometheus"
        folder.mkdir()
        targets = [f"127.0.0.1:{life.port}" for life in self.lives]
        job = {
            "job_name": "braze-cdi",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": targets}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
        command = [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            serves(f"http://127.0.0.1:{port}/-/ready")
            yield f"http://127.0.0.1:{port}"
        finally:
            end(process)

    def _prometheus_agrees(self, url: str) -> None:
        """Assert that no counter was reset and that both exporters' last values are right."""

        def query(expression: str) -> list[float]:
            answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, timeout=60)
            return [float(each["value"][1]) for each in answer.json()["data"]["result"]]

        due = sum(value for (name, _, _), value in self.world.truth.items() if "syncs" in name)
        last = "sum by (instance) (braze_cdi_syncs_total)"
        eventually(lambda: query(last) == [due, due], f"both exporters have {due} runs")
        for name in ("syncs", "rows_synced", "rows_failed"):
            assert not any(query(f"resets(braze_cdi_{name}_total[2h])")), name

    def _each_epoch_is_of_one_exporter(self) -> None:
        """Assert that each epoch was taken once, according to the exporters' logs."""
        taken = Counter(
            line.split("epoch=")[1].split()[0]
            for log in self.folder.glob("log-*")
            for line in log.read_text().splitlines()
            if "lead taken" in line
        )
        assert taken, "no exporter became leader"
        assert set(taken.values()) == {1}, taken


def run_rounds(folder: Path, database: Database, *, rounds: int, seed: int) -> None:
    """Run this many rounds. Raises AssertionError if a check fails."""
    Rounds(folder, database, seed).run(rounds)


def main() -> None:
    """The exit status is 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, tempfile.TemporaryDirectory() as own:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            server.execute("CREATE DATABASE failover")
            database = Database(server, "failover")
            run_rounds(Path(own), database, rounds=options.rounds, seed=options.seed)
        except AssertionError as error:
            sys.exit(f"seed {options.seed}, {options.rounds} rounds: {error}")
        finally:
            server.stop()
    sys.stdout.write(f"{options.rounds} rounds: each run counted once, no counter fell\n")


if __name__ == "__main__":
    main()
