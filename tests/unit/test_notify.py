"""Messages to the service manager, over real sockets."""

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdi_exporter.notify import READY, STOPPING, notify, reloading


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The value of `NOTIFY_SOCKET`, and the socket of the service manager."""
    path = str(tmp_path / "notify") if request.param == "a path" else f"@cdi-{os.getpid()}-notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path.replace("@", "\0", 1))
        receiver.settimeout(30)
        yield path, receiver


def test_each_message_arrives_as_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """The socket is a path or one of Linux's abstract names."""
    path, receiver = manager
    for message in (READY, STOPPING):
        notify(message, {"NOTIFY_SOCKET": path})
        assert receiver.recv(1_000) == message.encode()


def test_a_reload_sends_its_start_time(manager: tuple[str, socket.socket]) -> None:
    """The time is in microseconds, on the clock that systemd uses."""
    path, receiver = manager
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    notify(reloading(), {"NOTIFY_SOCKET": path})
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", receiver.recv(1_000).decode())
    assert found
    assert before <= int(found[1]) <= after


def test_a_service_manager_that_does_not_read_causes_no_delay(
    manager: tuple[str, socket.socket],
) -> None:
    """A message that does not fit into the socket's buffer is lost. The sender does not wait."""
    path, receiver = manager
    for _ in range(10_000):
        notify(READY, {"NOTIFY_SOCKET": path})
    assert receiver.recv(1_000) == READY.encode()


@pytest.mark.parametrize(
    "address", ["", "relative", "/no/such/socket", "@nobody-listens", "@", "/" + "x" * 500, "/a\0b"]
)
def test_without_a_manager_nothing_happens(address: str) -> None:
    """There is no socket, it is gone, or its name is invalid."""
    notify(READY, {"NOTIFY_SOCKET": address})
    notify(READY, {})


def test_a_file_that_is_not_a_socket_is_ignored(tmp_path: Path) -> None:
    """A socket of another type is ignored as well."""
    file = tmp_path / "file"
    file.write_text("content")
    notify(READY, {"NOTIFY_SOCKET": str(file)})
    assert file.read_text() == "content"
    stream = tmp_path / "stream"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(stream))
        other.listen()
        notify(READY, {"NOTIFY_SOCKET": str(stream)})
