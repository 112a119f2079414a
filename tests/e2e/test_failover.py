"""Real exporters that share a real PostgreSQL: failures, stops, and starts without the database."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.failover import run_rounds
from tests.e2e.killing import World, _scrape, config_file
from tests.e2e.processes import (
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
    serves,
)
from tests.harness import SCRAPER, Page
from tests.postgres_server import Database


@dataclass
class Served:
    """A running exporter."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def page(self) -> Page:
        """The scraped metrics."""
        return Page(httpx.get(f"{self.url}/metrics", headers=SCRAPER, timeout=10).text)

    def leads(self) -> bool:
        """Whether it is the leader of the workspace."""
        return self.page()("cdi_exporter_leader") == 1


@contextmanager
def exporter(folder: Path, braze: int, url: str, **environment: str) -> Iterator[Served]:
    """An exporter of the workspace at the port `braze`, with the database `url`."""
    port = free_port()
    command = exporter_command(
        f"--config.file={config_file(folder, braze)}",
        f"--state.url={url}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    log = folder / f"log-{port}"
    with running(command, log, clean_environment(**environment)) as process:
        serves(f"http://127.0.0.1:{port}/-/healthy")
        yield Served(f"http://127.0.0.1:{port}", log, process)


@pytest.mark.slow
def test_each_run_counts_once_when_exporters_fail(database: Database, tmp_path: Path) -> None:
    """Exporters are killed, frozen and disconnected. `make soak` runs a hundred rounds."""
    run_rounds(tmp_path, database, rounds=6, seed=os.getpid())


def test_a_stopped_leader_hands_over_at_once(database: Database, tmp_path: Path) -> None:
    """SIGTERM releases the lease, so that the follower does not wait until it expires."""
    world = World(1)
    with world.served() as braze, exporter(tmp_path, braze, database.url()) as second:
        eventually(second.leads, "the only exporter leads")
        with exporter(tmp_path, braze, database.url()) as first:
            assert not first.leads()
            second.process.terminate()
            assert second.process.wait(15) == 0
            eventually(first.leads, "the other one leads")
            assert "epoch=2" in first.log.read_text()


def test_without_the_database_gauges_update_and_counters_pause(
    database: Database, tmp_path: Path
) -> None:
    """Counters catch up once the database is back. An exporter started meanwhile has none."""
    world = World(2)
    with world.served() as braze, exporter(tmp_path, braze, database.url()) as it:
        eventually(lambda: it.page().all("braze_cdi_syncs_total"), "the counters are shown")
        shown: Counter[tuple[str, str, str]] = Counter()
        _scrape(f"{it.url}/metrics", shown)
        with database.server.stopped():
            eventually(
                lambda: it.page()("cdi_exporter_database_up") == 0,
                "the exporter reports the lost database",
            )
            eventually(lambda: it.page()("cdi_exporter_leader") == 0, "the lease has expired")
            world.finish()
            world.finish()
            last = "braze_cdi_last_refresh_timestamp_seconds"
            before = it.page()(last) or 0.0
            eventually(lambda: (it.page()(last) or 0.0) > before + 2, "gauges are fresh")
            assert sum(it.page().all("braze_cdi_syncs_total")) == 0
            with exporter(tmp_path, braze, database.url()) as another:
                eventually(lambda: another.page()("braze_cdi_up") == 1, "it reads the workspace")
                page = another.page()
                assert page.all("braze_cdi_last_sync_rows_synced")
                assert page.all("braze_cdi_syncs_total") == []
        eventually(
            lambda: _scrape(f"{it.url}/metrics", shown) and shown >= world.truth,
            "all runs are counted",
        )
        assert shown == world.truth


def test_a_password_comes_from_the_environment_and_appears_nowhere(
    database: Database, tmp_path: Path
) -> None:
    url = database.secretive("correct horse")
    with World(3).served() as braze:
        with exporter(tmp_path, braze, url, PGPASSWORD="correct horse") as it:
            eventually(it.leads, "it leads")
        with exporter(tmp_path, braze, url, PGPASSWORD="battery staple") as wrong:
            assert wrong.page()("cdi_exporter_database_up") == 0
    logs = [log.read_text() for log in tmp_path.glob("log-*")]
    assert any("password authentication failed" in text for text in logs)
    assert not any("correct horse" in text or "battery staple" in text for text in logs)


def outcome(command: list[str]) -> subprocess.CompletedProcess[str]:
    """The result of an exporter that cannot start."""
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(),
    )


REFUSED = [
    ("postgresql://me:secret@host/db", "contains a password"),
    ("mysql://host/db", "does not start with postgresql://"),
]


@pytest.mark.parametrize(("url", "problem"), REFUSED)
def test_a_url_that_cannot_be_used_is_refused(url: str, problem: str, tmp_path: Path) -> None:
    """The error is one line without any part of the URL."""
    command = exporter_command(f"--config.file={config_file(tmp_path, 1)}", f"--state.url={url}")
    ended = outcome(command)
    assert ended.returncode == 2
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 3


def test_a_schema_that_is_too_new_is_refused(database: Database, tmp_path: Path) -> None:
    """The error is one line that names both versions. The exit status is 1."""
    database.execute("CREATE TABLE cdi_schema (version integer)")
    database.execute("INSERT INTO cdi_schema VALUES (99)")
    command = exporter_command(
        f"--config.file={config_file(tmp_path, 1)}",
        f"--state.url={database.url()}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    )
    ended = outcome(command)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if "level=" not in line]
    assert "schema 99, known 1" in line
