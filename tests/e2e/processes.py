"""Real processes for the tests: started on free ports, waited for, ended by their id."""

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
"""Seconds after which something that should have happened has not."""

BLOCK = 250
"""Ports that a process of tests has for itself, whatever else runs on the machine."""

Result = TypeVar("Result")
ROOT = Path(__file__).parents[2]


def _bound(port: int) -> socket.socket | None:
    """A listener on this port of the loopback; None where it is taken."""
    with suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return None


@cache
def _own_ports() -> tuple[socket.socket, Iterator[int]]:
    """The ports of this process, and what holds them: a listener on the first port of their block.

    They lie below those that the kernel gives to outgoing connections.
    """
    for first in range(11_000, 32_000, BLOCK):
        held = _bound(first)
        if held is not None:
            return held, cycle(range(first + 1, first + BLOCK))
    raise AssertionError("no block of ports is free")


def free_port() -> int:
    """A port of the loopback that nobody else listens on, nor will when it is used."""
    _, ports = _own_ports()
    for port in islice(ports, BLOCK):
        if listener := _bound(port):
            listener.close()
            return port
    raise AssertionError("no port of the block is free")


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of the loopback at which every connection is refused."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield int(silent.getsockname()[1])


def program(name: str) -> str:
    """The path of an installed program, or of the one that TEST_<NAME> names instead."""
    path = os.environ.get("TEST_" + name.upper().replace("-", "_")) or shutil.which(name)
    assert path, f"{name} is missing: run make debian-packages"
    return path


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would configure the exporter."""
    dropped = ("BRAZE_", "CDI_EXPORTER_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(dropped)}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process whose output goes to `log`; terminated at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=dict(env or clean_environment())
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[AnyStr]) -> None:
    """Terminate a child process; kill it where it does not go."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def eventually(attempt: Callable[[], Result | None], what: str) -> Result:
    """The first true result of `attempt`, which may fail with a connection error."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(httpx.HTTPError):
            result = attempt()
            if result:
                return result
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.1)


def serves(url: str) -> None:
    """Wait until the URL answers with 200."""
    eventually(lambda: httpx.get(url).status_code == 200, f"{url} answers")


def settled() -> float:
    """A moment that is over for a Prometheus that scrapes each second: all of it was stored."""
    return time.time() - 2


def moment_when(gives: Callable[[float], object], what: str) -> float:
    """A settled moment at which `gives` gives something: what is asked of it does not change."""

    def attempt() -> float | None:
        at = settled()
        return at if gives(at) else None

    return eventually(attempt, what)


def exporter_command(*flags: str) -> list[str]:
    """The exporter of this source tree, or of the environment whose Python is TEST_PYTHON."""
    installed = os.environ.get("TEST_PYTHON")
    # Isolated: PYTHONPATH has the source tree, which would come before what is installed.
    python = [installed, "-I", "-u"] if installed else [sys.executable]
    return [*python, "-m", "cdi_exporter", *flags]
