"""Fixtures that several deployment tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import clean_environment, eventually, free_port, running


@pytest.fixture
def braze(tmp_path: Path) -> Iterator[str]:
    """A simulated Braze workspace on the loopback. Yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tests.e2e.braze_server", str(port)]
    with running(command, tmp_path / "braze.log", clean_environment()):
        eventually(lambda: httpx.get(url).status_code, "the simulated Braze serves")
        yield url
