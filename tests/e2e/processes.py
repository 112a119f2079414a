"""Real processes for the tests: started on free ports, waited for, ended by their id."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import AnyStr, TypeVar

import httpx

PATIENCE = 60.0
"""Seconds after which something that should have happened has not."""

Result = TypeVar("Result")
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port of the loopback that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def program(name: str) -> str:
    """The path of an installed program."""
    path = shutil.which(name)
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


def exporter_command(*flags: str) -> list[str]:
    """The exporter of this source tree."""
    return [sys.executable, "-m", "cdi_exporter", *flags]
