"""A name server that does not respond, which affects neither scrapes nor other workspaces."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.leaky_braze import KEY, LeakyBraze
from tests.e2e.processes import (
    eventually,
    exporter_command,
    free_port,
    program,
    running,
    serves,
)
from tests.harness import Page
from tests.shown import serving

ANSWERED_WITHIN = 9.5
"""Seconds: Prometheus' default timeout minus the exporter's offset."""

RESOLV_CONF = """
nameserver {server}
search a.example b.example c.example d.example
options ndots:5
"""


@contextmanager
def silent_name_server() -> Iterator[str]:
    """A name server that accepts queries and never responds. Yields its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        address = f"127.53.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
        silent.bind((address, 53))  # glibc accepts no other port
        yield address


@contextmanager
def exporter(
    tmp_path: Path, config: str, server: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An exporter in its own mount namespace, in which this is the only name server."""
    port = free_port()
    (tmp_path / "resolv.conf").write_text(RESOLV_CONF.format(server=server))
    (tmp_path / "config.yml").write_text(config)
    mount = f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf"
    command = [
        *(program("unshare"), "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"),
        *exporter_command(
            f"--config.file={tmp_path}/config.yml", f"--web.listen-address=127.0.0.1:{port}"
        ),
    ]
    with running(command, tmp_path / "log") as process:
        serves(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}", process


def timed_out(url: str) -> float:
    """The number of workspaces that report a timeout."""
    page = Page(httpx.get(f"{url}/metrics", timeout=ANSWERED_WITHIN).text)
    return sum(page.all("braze_cdi_refresh_error", reason="timeout"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("workspaces", [1, 20])
def test_a_dead_name_server_delays_no_scrape(tmp_path: Path, workspaces: int) -> None:
    """Each scrape is in time, a workspace without a host name stays up, and SIGTERM works."""
    with silent_name_server() as server, serving(LeakyBraze()) as braze:
        config = "refresh: {min_interval: 1s, request_timeout: 2s}\nworkspaces:\n"
        config += f"  - {{name: reachable, endpoint: '{braze}', api_key: {KEY}}}\n"
        for number in range(workspaces):
            config += f"  - {{name: w{number}, endpoint: r{number}.example, api_key: k{number}}}\n"
        with exporter(tmp_path, config, server) as (url, process):
            pages = []
            for _ in range(6):
                answer = httpx.get(f"{url}/metrics", timeout=ANSWERED_WITHIN)
                assert answer.status_code == 200
                pages.append(Page(answer.text))
                assert httpx.get(f"{url}/-/healthy", timeout=5).status_code == 200
                time.sleep(2)
            assert [page("braze_cdi_up", workspace="reachable") for page in pages[1:]] == [1] * 5
            eventually(lambda: timed_out(url) == workspaces, "the others have timed out")
            threads = len(os.listdir(f"/proc/{process.pid}/task"))  # noqa: PTH208 -- of another process
            assert threads < workspaces + 15
            process.terminate()
            assert process.wait(10) == 0
