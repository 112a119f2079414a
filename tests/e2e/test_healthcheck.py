"""The address that a `healthcheck` process requests, and the responses that it accepts."""

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


def healthcheck(*flags: str, **environment: str) -> tuple[int, str]:
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
    """A server that sends these bytes to every client. Yields its port."""
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
    """With the exporter's flags, `healthcheck` knows which refusals a secured exporter sends."""
    all_certificates(tmp_path)
    with secured(tmp_path, content) as exporter:
        address = f"--web.listen-address=127.0.0.1:{exporter.port}"
        web_config = f"--web.config.file={tmp_path / 'web.yml'}"
        assert healthcheck(address, web_config) == (0, "")
        assert healthcheck(address, web_config) == (0, "")
    status, message = healthcheck(address, web_config)
    assert status == 1
    assert "Connection refused" in message


def test_without_the_exporters_flags_it_reports_what_it_needs(tmp_path: Path) -> None:
    """Without these flags, a refusal is not a healthy response.

    The message says which flag to set.
    """
    with secured(tmp_path, USERS) as exporter:
        status, message = healthcheck(f"--web.listen-address=127.0.0.1:{exporter.port}")
    assert status == 1
    assert "it answers '401'" in message
    assert "--web.config.file" in message


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
def test_another_response_is_not_healthy(answer: bytes) -> None:
    """Only the documented response, or the refusal of a secured exporter, is healthy."""
    with answering(answer) as port:
        address = f"--web.listen-address=127.0.0.1:{port}"
        assert healthcheck(address)[0] == 1
        assert healthcheck(address, "--web.config.file=web.yml")[0] == 1
        assert healthcheck(f"--web.health-address=127.0.0.1:{port}")[0] == 1


def test_the_health_address_must_not_refuse(tmp_path: Path) -> None:
    """A refusal at this address is unhealthy, even if the exporter itself is secured."""
    with answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as port, closed_port() as other:
        flags = [f"--web.health-address=127.0.0.1:{port}", "--web.config.file=web.yml"]
        assert healthcheck(f"--web.listen-address=127.0.0.1:{other}", *flags)[0] == 1


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
    """Flags are read after the exporter's name, whatever program starts it.

    Flags of other programs are ignored.
    """
    assert flags_of(command) == flags
