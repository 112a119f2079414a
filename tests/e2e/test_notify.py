"""The exporter as a systemd service with Type=notify."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import (
    PATIENCE,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The notification socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENCE)
        yield receiver


@pytest.mark.parametrize("valid", [True, False])
def test_systemd_is_notified_of_the_state(
    manager: socket.socket, tmp_path: Path, valid: bool
) -> None:
    """It sends READY once it serves, RELOADING during a reload and STOPPING at the end."""
    port, config = free_port(), tmp_path / "config.yml"
    workspace = "{name: a, endpoint: 'http://127.0.0.1:9', api_key: key}"
    config.write_text(f"workspaces: [{workspace}]\n")
    flags = [f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    environment = clean_environment(NOTIFY_SOCKET=str(tmp_path / "notify"))
    with running(exporter_command(*flags), tmp_path / "log", environment) as process:
        assert manager.recv(1_000) == b"READY=1"
        assert httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=60).status_code == 200
        if not valid:
            config.write_text("workspaces: 7\n")
        process.send_signal(signal.SIGHUP)
        first, clock = manager.recv(1_000).splitlines()
        assert first == b"RELOADING=1"
        assert clock.startswith(b"MONOTONIC_USEC=")
        assert manager.recv(1_000) == b"READY=1"
        event = "configuration reloaded" if valid else "configuration reload failed"
        eventually(lambda: event in (tmp_path / "log").read_text(), event)
        process.send_signal(signal.SIGTERM)
        assert manager.recv(1_000) == b"STOPPING=1"
        assert process.wait(PATIENCE) == 0
