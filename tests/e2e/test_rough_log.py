"""A log that nobody reads, or that cannot be written, changes nothing but the log."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.e2e.leaky_braze import KEY, LeakyBraze
from tests.e2e.processes import (
    PATIENCE,
    clean_environment,
    end,
    eventually,
    exporter_command,
    free_port,
    serves,
)
from tests.harness import Page
from tests.shown import serving

CONFIG = """
refresh:
  min_interval: 0s
  request_timeout: 2s
  rate_limits: {{integrations: 1000000, job_sync_status: 1000000}}
workspaces:
  - {{name: w, endpoint: "{braze}", api_key: {key}}}
"""
WITHOUT_STDERR = ("sh", "-c", 'exec "$@" 2>&-', "sh")
ANSWERED_WITHIN = 9.5
"""Seconds: Prometheus' usual timeout, less the exporter's offset."""


@dataclass
class Exporter:
    """A real exporter and the simulated Braze that it reads."""

    url: str
    process: subprocess.Popen[bytes]
    braze: LeakyBraze

    def scrape(self) -> Page:
        """The metrics, which must come within the scrape timeout."""
        answer = httpx.get(f"{self.url}/metrics", timeout=ANSWERED_WITHIN)
        assert answer.status_code == 200
        return Page(answer.text)

    def becomes(self, up: float, reason: str | None) -> Page:
        """Wait until `braze_cdi_up` has this value, and only this reason is given."""

        def reached() -> Page | None:
            page = self.scrape()
            shown = page("braze_cdi_up") == up and (
                reason is None or page("braze_cdi_refresh_error", reason=reason) == 1
            )
            return page if shown else None

        page = eventually(reached, f"up is {up}")
        errors = page.all("braze_cdi_refresh_error")
        assert sum(errors) == (reason is not None)
        return page

    def stops(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """A signal ends it with status 0."""
        self.process.send_signal(signum)
        assert self.process.wait(10) == 0


@contextmanager
def exporter(tmp_path: Path, stderr: IO[bytes] | int | None, *flags: str) -> Iterator[Exporter]:
    """An exporter with this stderr; None: with descriptor 2 closed."""
    braze = LeakyBraze()
    port = free_port()
    with serving(braze) as url:
        config = tmp_path / "config.yml"
        config.write_text(CONFIG.format(braze=url, key=KEY))
        process = subprocess.Popen(
            [
                *(WITHOUT_STDERR if stderr is None else ()),
                *exporter_command(
                    f"--config.file={config}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--web.enable-lifecycle",
                    *flags,
                ),
            ],
            env=clean_environment(PYTHONUNBUFFERED=""),  # as users run it
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            serves(f"http://127.0.0.1:{port}/-/ready")
            yield Exporter(f"http://127.0.0.1:{port}", process, braze)
        finally:
            end(process)


def full_pipe() -> tuple[int, int]:
    """A pipe's two ends, with no room left in it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 4096):
            pass
    os.set_blocking(writer, True)
    return reader, writer


def goes_through_everything(it: Exporter) -> Page:
    """Failure, recovery and reloads show in the metrics as they would with a log."""
    it.becomes(1, None)
    it.braze.trouble = "500"
    it.becomes(0, "server_error")
    it.braze.trouble = ""
    it.becomes(1, None)
    assert httpx.post(f"{it.url}/-/reload", timeout=ANSWERED_WITHIN).status_code == 200
    it.process.send_signal(signal.SIGHUP)
    it.braze.trouble = "401"
    return it.becomes(0, "unauthorized")


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_a_pipe_without_a_reader(tmp_path: Path, log_format: str) -> None:
    """The reader of the log ends: health, reload and the end are as with one; lines are counted."""
    reader, writer = os.pipe()
    with exporter(tmp_path, writer, f"--log.format={log_format}") as it:
        os.close(writer)
        it.becomes(1, None)
        os.close(reader)
        page = goes_through_everything(it)
        dropped = page("cdi_exporter_log_lines_dropped_total")
        assert dropped is not None
        assert dropped > 0
        it.stops()


def test_a_full_pipe_without_a_reader(tmp_path: Path) -> None:
    """Scrapes and probes are answered, lines are dropped and counted, and SIGTERM works."""
    reader, writer = full_pipe()
    with exporter(tmp_path, writer, "--log.level=debug") as it:
        os.close(writer)
        goes_through_everything(it)
        it.braze.trouble = ""

        def full() -> bool:
            # Rejected reloads log several lines each, until the queue of lines is full.
            for _ in range(50):
                httpx.post(f"{it.url}/-/reload", timeout=ANSWERED_WITHIN)
            return bool(it.scrape()("cdi_exporter_log_lines_dropped_total"))

        (tmp_path / "config.yml").write_text("\n".join(f"wrong_{n}: 1" for n in range(50)))
        eventually(full, "the queue of lines is full")
        assert httpx.get(f"{it.url}/-/healthy", timeout=5).status_code == 200
        it.becomes(1, None)
        it.stops()
    os.close(reader)


def test_stderr_is_closed(tmp_path: Path) -> None:
    """No descriptor 2: nothing is logged, and no other file takes its place."""
    with exporter(tmp_path, None, f"--state.file={tmp_path / 'state.sqlite'}") as it:
        goes_through_everything(it)
        assert str(Path(f"/proc/{it.process.pid}/fd/2").readlink()) == os.devnull
        it.stops()


def test_a_full_disk_drops_and_counts_log_lines(tmp_path: Path) -> None:
    """Each line is dropped and counted."""
    with open("/dev/full", "wb") as full, exporter(tmp_path, full) as it:  # noqa: PTH123
        page = goes_through_everything(it)
        assert (
            page(
                "cdi_exporter_log_lines_dropped_total",
            )
            != 0
        )
        it.stops(signal.SIGINT)


def test_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    """Another process made the shared pipe non-blocking, and reads late: lines stay whole."""
    reader, writer = full_pipe()
    os.set_blocking(writer, False)
    with exporter(tmp_path, writer) as it, open(reader, "rb", buffering=0) as log:  # noqa: PTH123
        os.close(writer)
        it.becomes(1, None)
        it.braze.trouble = "500"
        it.becomes(0, "server_error")
        assert set(log.read(1 << 20)) == {ord("x")}
        it.braze.trouble = ""
        it.becomes(1, None)
        it.stops()
        lines = log.read(1 << 20).decode().splitlines()
    assert all(line.startswith("ts=") for line in lines)
    assert any("refresh recovered" in line for line in lines)


def test_errors_at_the_start_do_not_wait_for_a_reader(tmp_path: Path) -> None:
    """A wrong configuration ends the process with status 2 although stderr is full."""
    reader, writer = full_pipe()
    config = tmp_path / "config.yml"
    config.write_text("workspaces: 7\n")
    process = subprocess.Popen(
        exporter_command(f"--config.file={config}"), env=clean_environment(), stderr=writer
    )
    os.close(writer)
    try:
        assert process.wait(PATIENCE) == 2
    finally:
        end(process)
        os.close(reader)
