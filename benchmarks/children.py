"""Processes that are measured from outside, and a minimal HTTP client to measure them with."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tests.e2e.processes import clean_environment, end, free_port

__all__ = ("Child", "Client", "child", "free_port", "module")

PATIENCE = 300.0
ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""The Accept header of Prometheus 3 with its default configuration."""


class Child:
    """A child process."""

    def __init__(self, process: "subprocess.Popen[str]", started: float) -> None:
        self.process, self.started = process, started

    @property
    def cpu(self) -> float:
        """CPU seconds used so far by all its threads, including those that have ended."""
        # The CPU clock of another process: clock_getcpuclockid(3), which Python does not provide.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    @property
    def resident(self) -> float:
        """The current resident memory in MiB."""
        return self._status("VmRSS")

    @property
    def peak(self) -> float:
        """The peak resident memory in MiB."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.process.pid)

    def line(self) -> dict[str, Any]:
        """The next line of JSON that it prints."""
        assert self.process.stdout is not None
        written = self.process.stdout.readline()
        assert written, "the process has ended"
        return cast("dict[str, Any]", json.loads(written))


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this source tree."""
    return [sys.executable, "-m", name, *map(str, arguments)]


@contextmanager
def child(command: Sequence[str]) -> Iterator[Child]:
    """A child process, terminated at the end. Of its log, only warnings are kept."""
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("BENCHMARK_LOGS") else subprocess.DEVNULL,
        text=True,
        env=clean_environment(),
    )
    try:
        yield Child(process, started)
    finally:
        end(process)
        assert process.stdout is not None
        process.stdout.close()


class Client:
    """Sends requests over one connection, reopens it if the server closes it, and parses nothing.

    A scrape is one `get`, from before the first byte is sent until the last byte is received.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None

    def get(self, path: str, *, timeout: float = 10.0) -> bytes:
        """The body of a response with status 200."""
        return self.request("GET", path, timeout=timeout)[1]

    def post(self, path: str) -> bytes:
        """The body of the response to an empty POST."""
        return self.request("POST", path)[1]

    def request(
        self, method: str, path: str, *, timeout: float = 10.0
    ) -> tuple[Mapping[str, str], bytes]:
        """The headers (names in lower case) and the body."""
        if self._socket is None:
            self._socket = self._connect()
        self._socket.sendall(
            f"{method} {path} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\nUser-Agent: Prometheus/3.0.0\r\n"
            f"Accept: {ACCEPT}\r\nAccept-Encoding: gzip\r\nContent-Length: 0\r\n"
            f"X-Prometheus-Scrape-Timeout-Seconds: {timeout:g}\r\n\r\n".encode()
        )
        head, body, headers = self._answer(self._socket)
        if headers.get("connection") == "close" or head.startswith(b"HTTP/1.0"):
            self.close()
        assert head.split(b" ")[1] == b"200", (head, body[:500])
        return headers, body

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    @staticmethod
    def _answer(connection: socket.socket) -> tuple[bytes, bytes, dict[str, str]]:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _some(connection)
        head = bytes(received[:end])
        lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        headers = {name.decode().lower(): text.decode().strip() for name, _, text in lines}
        if "content-length" in headers:
            whole = end + 4 + int(headers["content-length"])
            while len(received) < whole:
                received += _some(connection)
        else:
            while more := connection.recv(1 << 20):
                received += more
            headers["connection"] = "close"
        return head, bytes(received[end + 4 :]), headers


def _some(connection: socket.socket) -> bytes:
    found = connection.recv(1 << 20)
    if not found:
        raise ConnectionError
    return found


def first_answer(child: Child, port: int, path: str) -> float:
    """Seconds from the start of the process until the path returns 200."""
    while time.monotonic() < child.started + PATIENCE:
        client = Client(port)
        try:
            client.get(path)
        except (ConnectionError, AssertionError):
            time.sleep(0.002)
        else:
            return time.monotonic() - child.started
        finally:
            client.close()
    raise TimeoutError(path)
