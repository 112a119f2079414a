"""Signals at any moment of a process' life, also as process 1 of a PID namespace."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import (
    PATIENCE,
    clean_environment,
    end,
    eventually,
    exporter_command,
    free_port,
    program,
    serves,
)

GONE_WITHIN = 10
"""The maximum seconds from SIGTERM to the exit. Docker kills the process after this time."""

QUICK_START = {"BRAZE_REST_ENDPOINT": "http://127.0.0.1:9", "BRAZE_API_KEY": "k"}


@contextmanager
def exporter(
    *flags: str, prefix: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that is starting, and its URL."""
    port = free_port()
    process = subprocess.Popen(
        [*prefix, *exporter_command(f"--web.listen-address=127.0.0.1:{port}", *flags)],
        env=clean_environment(**QUICK_START),
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        end(process)


def imports_libraries(pid: int) -> None:
    """Wait until the program imports its libraries, which takes most of the start.

    A signal before the program's first instruction always ends it.
    """
    maps = Path(f"/proc/{pid}/maps")
    deadline = time.monotonic() + PATIENCE
    while "_ssl" not in maps.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)


MOMENTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6)
"""Seconds after the first import: during imports, during the start and while serving."""


@pytest.mark.parametrize("seconds", MOMENTS)
def test_a_hangup_while_it_starts_does_not_end_it(seconds: float) -> None:
    """The exporter remembers SIGHUP and reloads its configuration after the start."""
    with exporter() as (process, url):
        imports_libraries(process.pid)
        time.sleep(seconds)
        sent = time.time()
        process.send_signal(signal.SIGHUP)
        serves(f"{url}/-/ready")

        def reloaded() -> bool:
            page = httpx.get(f"{url}/-/metrics").text
            name = "cdi_exporter_config_last_reload_success_timestamp_seconds "
            return float(page.partition(f"\n{name}")[2].split()[0]) >= sent

        eventually(reloaded, "the configuration is loaded after the signal")
        process.send_signal(signal.SIGTERM)
        assert process.wait(GONE_WITHIN) == 0


@pytest.mark.parametrize("seconds", MOMENTS)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_it_starts_ends_it(signum: signal.Signals, seconds: float) -> None:
    """The exit status is 0 at any moment."""
    with exporter() as (process, _):
        imports_libraries(process.pid)
        time.sleep(seconds)
        process.send_signal(signum)
        assert process.wait(GONE_WITHIN) == 0


def test_repeated_signals_during_the_shutdown() -> None:
    """Repeated SIGTERM and SIGHUP change neither the shutdown nor the exit status."""
    with exporter() as (process, url):
        serves(f"{url}/-/ready")
        deadline = time.monotonic() + GONE_WITHIN
        while process.poll() is None and time.monotonic() < deadline:
            process.send_signal(random.choice((signal.SIGTERM, signal.SIGHUP, signal.SIGINT)))
            time.sleep(0.002)
        assert process.wait(GONE_WITHIN) == 0


def unshare() -> list[str]:
    """A prefix that runs a command as process 1 of a PID namespace.

    If the tests do not run as root, it also creates a user namespace.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return [program("unshare"), *user, "--pid", "--fork", "--kill-child", "--mount-proc"]


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The ID, seen from outside, of the process that `unshare` starts as process 1."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(eventually(lambda: children.read_text().strip(), "process 1 exists"))


@pytest.mark.parametrize("seconds", [0.0, 0.3, 3.0])
def test_as_process_1_a_signal_ends_it(seconds: float) -> None:
    """In its own PID namespace, as in a container, SIGTERM works from the start on."""
    with exporter(prefix=unshare()) as (process, _):
        child = child_of(process)
        imports_libraries(child)
        time.sleep(seconds)
        os.kill(child, signal.SIGHUP)
        os.kill(child, signal.SIGTERM)
        assert process.wait(GONE_WITHIN) == 0


def test_as_process_1_a_signal_ends_check() -> None:
    """A command that ends by itself can be stopped earlier, with the usual exit status."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never responds
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*unshare(), *exporter_command("check")],
            env=clean_environment(BRAZE_REST_ENDPOINT=endpoint, BRAZE_API_KEY="k"),
            stderr=subprocess.DEVNULL,
        )
        try:
            child = child_of(process)
            silent.settimeout(PATIENCE)
            with silent.accept()[0]:
                os.kill(child, signal.SIGTERM)
                assert process.wait(GONE_WITHIN) == 128 + signal.SIGTERM
        finally:
            end(process)


@pytest.mark.parametrize("command", ["serve", "check", "backfill"])
@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_a_configuration_that_is_not_a_file_is_refused_at_once(
    command: str, kind: str, tmp_path: Path
) -> None:
    """Opening a pipe would wait for a writer, and reading a device would never end."""
    config = tmp_path / "config.yml"
    if kind == "pipe":
        os.mkfifo(config)
    elif kind == "directory":
        config.mkdir()
    else:
        config.symlink_to("/dev/zero")
    flags = ["--web.listen-address=127.0.0.1:0"] if command == "serve" else []
    done = subprocess.run(
        exporter_command(command, f"--config.file={config}", *flags),
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    reason = "is a directory" if kind == "directory" else "not a plain file"
    assert done.returncode == 2
    line = f"{config}: cannot be read ({reason}); expected a YAML file"
    assert line in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("named", ["config", "web", "web.cert"])
def test_a_file_that_becomes_a_pipe_does_not_stop_a_running_exporter(
    named: str, tmp_path: Path
) -> None:
    """A reload with this file is rejected. Scrapes still work, and SIGTERM ends the process."""
    config, web, certificate = (tmp_path / name for name in ("config.yml", "web.yml", "web.crt"))
    config.write_text(
        "workspaces: [{name: w, endpoint: 'http://127.0.0.1:9', api_key_env: BRAZE_API_KEY}]"
    )
    web.write_text("{}")
    with exporter(f"--config.file={config}", f"--web.config.file={web}") as (process, url):
        serves(f"{url}/-/ready")
        pipe = {"config": config, "web": web, "web.cert": certificate}[named]
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        if named == "web.cert":
            names = f"{{cert_file: {certificate}, key_file: {certificate}}}"
            web.write_text(f"tls_server_config: {names}")
        process.send_signal(signal.SIGHUP)
        part = "config" if named == "config" else "web_config"

        def rejected() -> bool:
            page = httpx.get(f"{url}/-/metrics").text
            return f"\ncdi_exporter_{part}_last_reload_successful 0" in page

        eventually(rejected, "the pipe is refused")
        assert httpx.get(f"{url}/metrics", timeout=9.5).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(GONE_WITHIN) == 0


HANGING_STATE = """
import asyncio, sys, threading
from pathlib import Path
from cdi_exporter import signals
from cdi_exporter.app import Exporter, ServeOptions, serve
from cdi_exporter.clock import system_clock
from cdi_exporter.config import from_environment
from cdi_exporter.state import SqliteJournal, Store
from cdi_exporter.threads import in_thread, run_loop
from cdi_exporter.web.server import Address

async def hang(write):
    await in_thread(threading.Event().wait)

async def main():
    clock = system_clock()
    journal = SqliteJournal(Store(sys.argv[1], clock.wall), clock, offload=hang)
    exporter = Exporter(from_environment(dict(BRAZE_REST_ENDPOINT=sys.argv[3], BRAZE_API_KEY="k")),
                        clock, journal=journal)
    await serve(exporter, ServeOptions(listen=[Address("127.0.0.1", int(sys.argv[2]))]))

signals.install(serves=True)
run_loop(main())
"""


def test_a_disk_that_hangs_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    """A commit never returns. Scrapes still work, and SIGTERM ends the process."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", HANGING_STATE),
            *(str(tmp_path / "state.sqlite"), str(port), "http://127.0.0.1:9"),
        ],
        env=clean_environment(),
    )
    try:
        serves(f"http://127.0.0.1:{port}/-/ready")
        for _ in range(3):
            assert httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=9.5).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(GONE_WITHIN) == 0
    finally:
        end(process)
