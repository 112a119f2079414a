"""The state file of a real process: after kills, with unusable files and on a full disk."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.killing import World, config_file, kill_and_count
from tests.e2e.processes import (
    PATIENCE,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
    serves,
)
from tests.harness import SCRAPER

NOBODY = 65_534
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Python would leave truncated `.pyc` files for later processes if their size is limited."""


@pytest.mark.timeout(300)
def test_a_killed_exporter_counts_each_run_once(tmp_path: Path) -> None:
    """After a dozen SIGKILLs at random moments, no counter has decreased and no run is missing."""
    kill_and_count(tmp_path, kills=12, seed=1)


def cannot_start(*flags: str, room: int = resource.RLIM_INFINITY) -> str:
    """The error of an exporter that cannot start: one line, with status 1.

    No file can become larger than `room` bytes.
    """
    done = subprocess.run(
        exporter_command(*flags, "--web.listen-address=127.0.0.1:0"),
        env=clean_environment(
            BRAZE_REST_ENDPOINT="http://127.0.0.1:9", BRAZE_API_KEY="k", **NO_BYTECODE
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_file_that_is_not_a_state_file_is_refused(tmp_path: Path) -> None:
    """The exporter reports the file in one line, exits, and does not change the file."""
    path = tmp_path / "state.sqlite"
    path.write_text("precious\n" * 500)
    line = cannot_start(f"--state.file={path}")
    assert line == (
        f"cdi-exporter: cannot use the state file {path}: file is not a database;"
        " move it away to start with no history, or restore a backup"
    )
    assert path.read_text() == "precious\n" * 500


@contextmanager
def a_file_that_cannot_be_written(path: Path) -> Iterator[None]:
    """Make the file and its directory read-only, even for root."""
    path.parent.chmod(0o555)
    path.chmod(0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.parent.chmod(0o755)


def test_a_read_only_file_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file that is not writable is reported at the start."""
    from cdi_exporter.errors import StartError
    from cdi_exporter.state import Store

    folder = tmp_path_factory.getbasetemp() / "read-only"
    folder.mkdir()
    path = folder / "state.sqlite"
    Store(str(path), time.time).close()
    for parent in (folder, *folder.parents[:3]):
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(0o755)
    with (
        a_file_that_cannot_be_written(path),
        pytest.raises(StartError, match="it cannot be written; expected write permission"),
    ):
        Store(str(path), time.time, patience=0)


@contextmanager
def exporter(folder: Path, braze: int) -> Iterator[tuple[int, str]]:
    """A running exporter with a state file: its process ID and its URL."""
    port = free_port()
    command = exporter_command(
        f"--config.file={config_file(folder, braze)}",
        f"--state.file={folder / 'state.sqlite'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with running(command, folder / "log", clean_environment(**NO_BYTECODE)) as process:
        serves(f"http://127.0.0.1:{port}/-/healthy")
        yield process.pid, f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_two_exporters_never_share_a_file(tmp_path: Path) -> None:
    """The second exporter reports that another process has the file open."""
    with World(2).served() as braze, exporter(tmp_path, braze):
        line = cannot_start(f"--state.file={tmp_path / 'state.sqlite'}")
        assert line.endswith(
            "another process has it open; expected a separate state file for each exporter"
        )


def test_a_state_file_on_a_full_disk_is_refused(tmp_path: Path) -> None:
    """An exporter that cannot write at all does not start."""
    path = tmp_path / "state.sqlite"
    line = cannot_start(f"--state.file={path}", room=1024)
    assert line.startswith(f"cdi-exporter: cannot use the state file {path}: ")
    assert line.endswith(("disk I/O error", "database or disk is full"))


def value(url: str, name: str) -> float:
    """The sum of the samples of a metric."""
    lines = httpx.get(f"{url}/metrics", headers=SCRAPER, timeout=PATIENCE).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_full_disk_is_reported_and_survived(tmp_path: Path) -> None:
    """Scrapes succeed, counters pause, and the log reports it once.

    With free space, all is written.
    """
    world = World(3)
    syncs = "braze_cdi_syncs_total{"
    with world.served() as braze, exporter(tmp_path, braze) as (pid, url):
        eventually(
            lambda: value(url, "braze_cdi_integrations{") == 4, "four integrations are shown"
        )
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for _ in range(10):
            world.finish()
        failed = "cdi_exporter_state_writes_failed_total"
        eventually(lambda: value(url, failed) > 0, "a write fails")
        assert value(url, syncs) == 0
        log = (tmp_path / "log").read_text()
        assert log.count('event="state write failed"') == 1
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        truth = sum(number for (name, *_), number in world.truth.items() if "syncs" in name)
        eventually(lambda: value(url, syncs) == truth, "all runs are counted")
        assert "state write recovered" in (tmp_path / "log").read_text()


def test_a_deleted_state_file_is_reported(tmp_path: Path) -> None:
    """Nothing can be committed to a deleted file. Scrapes succeed, and the log says what to do."""
    world = World(4)
    failed = "cdi_exporter_state_writes_failed_total"
    with world.served() as braze, exporter(tmp_path, braze) as (_, url):
        eventually(
            lambda: value(url, "braze_cdi_integrations{") == 4, "four integrations are shown"
        )
        (tmp_path / "state.sqlite").unlink()
        for _ in range(10):
            world.finish()
        eventually(lambda: value(url, failed) > 0, "a write fails")
        assert value(url, "braze_cdi_syncs_total{") == 0
        log = (tmp_path / "log").read_text()
        assert "moved, deleted or replaced while it was open" in log
