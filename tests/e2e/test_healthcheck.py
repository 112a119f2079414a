"""`healthcheck` as a process: which address it asks, and what counts as an answer."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdi_exporter.cli.healthcheck_command import flags_of
from tests.certificates import all_certificates
from tests.e2e.processes import (
    clean_environment,
    closed_port,
    exporter_command,
)
from tests.e2e.secured import CLIENTS, TLS, USERS, secured


def asked(*flags: str, **environment: str) -> tuple[int, str]:
    """The exit status of the command, and what it says."""
    done = subprocess.run(
        exporter_command("healthcheck", *flags),
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that gives every client these bytes: its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_all() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(1_000)
                    client.sendall(answer)

        thread = threading.Thread(target=answer_all)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


SECURITY = {
    "TLS": TLS,
    "TLS 1.2 with client certificates": TLS + CLIENTS + "  max_version: TLS12\n",
    "TLS 1.3 with client certificates": TLS + CLIENTS + "  min_version: TLS13\n",
    "users": USERS,
    "a rate limit": "rate_limit:\n  interval: 1h\n  burst: 1\n",
    "everything": TLS + CLIENTS + USERS,
}


@pytest.mark.parametrize("content", SECURITY.values(), ids=SECURITY)
def test_healthcheck_needs_neither_certificate_nor_password(content: str, tmp_path: Path) -> None:
    """With the exporter's flags it knows that the exporter is secured, and how that shows."""
    all_certificates(tmp_path)
    with secured(tmp_path, content) as exporter:
        address = f"--web.listen-address=127.0.0.1:{exporter.port}"
        web_config = f"--web.config.file={tmp_path / 'web.yml'}"
        assert asked(address, web_config) == (0, "")
        assert asked(address, web_config) == (0, "")
    status, said = asked(address, web_config)
    assert status == 1
    assert "Connection refused" in said


def test_without_the_exporters_flags_it_reports_what_it_needs(tmp_path: Path) -> None:
    """A refusal is an answer of the exporter only if it is known to be secured."""
    with secured(tmp_path, USERS) as exporter:
        status, said = asked(f"--web.listen-address=127.0.0.1:{exporter.port}")
    assert status == 1
    assert "it answers '401'" in said
    assert "--web.config.file" in said


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        b"\x00" * 2_000,
    ],
)
def test_another_answer_is_not_healthy(answer: bytes) -> None:
    """What is neither the documented answer nor a refusal of a secured exporter."""
    with answering(answer) as port:
        address = f"--web.listen-address=127.0.0.1:{port}"
        assert asked(address)[0] == 1
        assert asked(address, "--web.config.file=web.yml")[0] == 1
        assert asked(f"--web.health-address=127.0.0.1:{port}")[0] == 1


def test_the_health_address_is_plain_and_open(tmp_path: Path) -> None:
    """A refusal there is not healthy, whatever secures the exporter itself."""
    with answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as port, closed_port() as other:
        flags = [f"--web.health-address=127.0.0.1:{port}", "--web.config.file=web.yml"]
        assert asked(f"--web.listen-address=127.0.0.1:{other}", *flags)[0] == 1


FIRST = {
    b"/opt/cdi-exporter/bin/python\0/opt/cdi-exporter/bin/cdi-exporter\0demo\0--a=b\0": [
        "demo",
        "--a=b",
    ],
    b"/sbin/docker-init\0--\0cdi-exporter\0--web.listen-address\0:9\0": [
        "--web.listen-address",
        ":9",
    ],
    b"/usr/bin/python3\0-m\0cdi_exporter\0serve\0": ["serve"],
    b"cdi-exporter\0": [],
    b"/usr/lib/systemd/systemd\0--switched-root\0": [],
    b"/bin/sh\0-c\0sleep 1; cdi-exporter serve\0": [],
    b"": [],
    b"cdi-exporter\0--log.level=\xff\0": ["--log.level=\udcff"],
}


@pytest.mark.parametrize(("command", "flags"), FIRST.items(), ids=map(repr, FIRST))
def test_the_flags_are_read_from_a_command(command: bytes, flags: list[str]) -> None:
    """What follows the name of the exporter, whatever starts it; of other programs nothing."""
    assert flags_of(command) == flags
