"""A log pipe without a reader, a full disk or a closed stderr, which affect nothing but the log."""

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
"""Seconds: Prometheus' default timeout minus the exporter's offset."""


@dataclass
class Exporter:
    """A real exporter and the simulated Braze that it reads."""

    url: str
    process: subprocess.Popen[bytes]
    braze: LeakyBraze

    def scrape(self) -> Page:
        """The metrics, which must arrive within the scrape timeout."""
        answer = httpx.get(f"{self.url}/metrics", timeout=ANSWERED_WITHIN)
        assert answer.status_code == 200
        return Page(answer.text)

    def becomes(self, up: float, reason: str | None) -> Page:
        """Wait until `braze_cdi_up` has this value and only this reason is reported."""

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
        """Assert that the exporter exits with status 0 after a signal."""
        self.process.send_signal(signum)
        assert self.process.wait(10) == 0


@contextmanager
def exporter(tmp_path: Path, stderr: IO[bytes] | int | None, *flags: str) -> Iterator[Exporter]:
    """An exporter with this stderr. None closes descriptor 2."""
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
    """Both ends of a pipe that is full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 4096):
            pass
    os.set_blocking(writer, True)
    return reader, writer


def fails_recovers_and_reloads(it: Exporter) -> Page:
    """Assert that failure, recovery and reloads show in the metrics as usual."""
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
    """After the reader of the log exits, health, reload and shutdown work as usual.

    The lost lines are counted.
    """
    reader, writer = os.pipe()
    with exporter(tmp_path, writer, f"--log.format={log_format}") as it:
        os.close(writer)
        it.becomes(1, None)
        os.close(reader)
        page = fails_recovers_and_reloads(it)
        dropped = page("cdi_exporter_log_lines_dropped_total")
        assert dropped is not None
        assert dropped > 0
        it.stops()


def test_a_full_pipe_without_a_reader(tmp_path: Path) -> None:
    """Scrapes and probes succeed, lines are dropped and counted, and SIGTERM works."""
    reader, writer = full_pipe()
    with exporter(tmp_path, writer, "--log.level=debug") as it:
        os.close(writer)
        fails_recovers_and_reloads(it)
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
    """Without descriptor 2, nothing is logged, and no other file gets that descriptor."""
    with exporter(tmp_path, None, f"--state.file={tmp_path / 'state.sqlite'}") as it:
        fails_recovers_and_reloads(it)
        assert str(Path(f"/proc/{it.process.pid}/fd/2").readlink()) == os.devnull
        it.stops()


def test_a_full_disk_drops_and_counts_log_lines(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, exporter(tmp_path, full) as it:  # noqa: PTH123
        page = fails_recovers_and_reloads(it)
        assert (
            page(
                "cdi_exporter_log_lines_dropped_total",
            )
            != 0
        )
        it.stops(signal.SIGINT)


def test_a_non_blocking_pipe_keeps_lines_complete(tmp_path: Path) -> None:
    """Another process made the shared pipe non-blocking and reads late. Lines stay complete."""
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
    """A configuration error ends the process with status 2 although stderr is full."""
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
