"""Real processes for the tests: started on free ports, awaited, and stopped by their process ID."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import AnyStr, TypeVar

import httpx

PATIENCE = 60.0
"""Seconds to wait for an event before the test fails."""

BLOCK = 250
"""The number of ports reserved for each test process, so that parallel processes never collide."""

Result = TypeVar("Result")
ROOT = Path(__file__).parents[2]


def _bound(port: int) -> socket.socket | None:
    """A listener on this loopback port, or None if the port is taken."""
    with suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return None


@cache
def _own_ports() -> tuple[socket.socket, Iterator[int]]:
    """The ports of this process, and a listener on the first of them that reserves the block.

    They are below the range from which the kernel takes ports for outgoing connections.
    """
    for first in range(11_000, 32_000, BLOCK):
        held = _bound(first)
        if held is not None:
            return held, cycle(range(first + 1, first + BLOCK))
    raise AssertionError("no block of ports is free")


def free_port() -> int:
    """A loopback port that is free now and that no other test process will use."""
    _, ports = _own_ports()
    for port in islice(ports, BLOCK):
        if listener := _bound(port):
            listener.close()
            return port
    raise AssertionError("no port of the block is free")


@contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port that refuses every connection."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield int(silent.getsockname()[1])


def program(name: str) -> str:
    """The path of an installed program, or the value of TEST_<NAME> if that is set."""
    path = os.environ.get("TEST_" + name.upper().replace("-", "_")) or shutil.which(name)
    assert path, f"{name} is missing: run make debian-packages"
    return path


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without the variables that configure the exporter."""
    dropped = ("BRAZE_", "CDI_EXPORTER_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(dropped)}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child process whose output goes to `log`. It is terminated at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(env or clean_environment())
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[AnyStr]) -> None:
    """Terminate a child process. If it does not exit, kill it."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def eventually(attempt: Callable[[], Result | None], what: str) -> Result:
    """The first true result of `attempt`, which is repeated and may raise connection errors."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.HTTPError):
            result = attempt()
            if result:
                return result
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.1)


def serves(url: str) -> None:
    """Wait until the URL returns 200."""
    eventually(lambda: httpx.get(url).status_code == 200, f"{url} answers")


def settled() -> float:
    """A past moment for which a Prometheus that scrapes each second has stored all samples."""
    return time.time() - 2


def moment_when(gives: Callable[[float], object], what: str) -> float:
    """A settled moment at which `gives` returns something. Its result no longer changes."""

    def attempt() -> float | None:
        at = settled()
        return at if gives(at) else None

    return eventually(attempt, what)


def exporter_command(*flags: str) -> list[str]:
    """The exporter of this source tree, or of the environment whose Python is TEST_PYTHON."""
    installed = os.environ.get("TEST_PYTHON")
    # Isolated, because PYTHONPATH has the source tree, which would precede the installed package.
    python = [installed, "-I", "-u"] if installed else [sys.executable]
    return [*python, "-m", "cdi_exporter", *flags]
