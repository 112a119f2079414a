"""All attacks against one exporter, one after the other.

Usage: python -m tests.hostile.soak --seconds 600

Scrapes with a timeout of 10 s, probes of /-/healthy and the resident memory are sampled throughout.
Prints a table. The exit status is 1 if a limit is exceeded.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import bcrypt
import httpx

from tests.e2e.processes import PATIENCE, eventually, exporter_command, free_port, running
from tests.harness import SCRAPER
from tests.hostile.braze import ATTACKS, KEY
from tests.hostile.clients import Attacker

PASSWORD = "wonderland-4711"
SCRAPE_WITHIN, HEALTHY_WITHIN, MOST_MEMORY = 3.0, 1.0, 256.0
"""In seconds, seconds and MiB. The memory is the limit in the Helm chart."""

MOST_GROWTH = 24.0
"""MiB that may remain after the attacks: 14 with Python 3.11, 21 with 3.14.

The first status page loads its templates, which accounts for 5 MiB.
"""

CONFIG = """
refresh: {{min_interval: 1s, request_timeout: 5s,
  rate_limits: {{integrations: 1000000, job_sync_status: 1000000}}}}
workspaces:
  - {{name: w, endpoint: "{braze}", api_key: {key}}}
"""


@dataclass
class Samples:
    """The measurements during one attack."""

    name: str
    scrapes: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    failed: int = 0
    """Scrapes and probes that did not return 200."""

    def ok(self) -> bool:
        """Whether no limit was exceeded."""
        return (
            not self.failed
            and max(self.scrapes) <= SCRAPE_WITHIN
            and max(self.probes) <= HEALTHY_WITHIN
            and max(self.memory) <= MOST_MEMORY
        )

    def row(self) -> str:
        """A row of the table."""
        cells = [
            self.name,
            f"{statistics.median(self.scrapes):.2f} / {max(self.scrapes):.2f}",
            f"{statistics.median(self.probes):.2f} / {max(self.probes):.2f}",
            f"{max(self.memory):.0f}",
            str(self.failed),
        ]
        return "| " + " | ".join(cells) + " |"


class Soak:
    """A running exporter and the hostile Braze that it reads."""

    def __init__(self, pid: int, port: int, braze: str) -> None:
        self.pid, self.port, self.braze = pid, port, braze
        self.url = f"http://127.0.0.1:{port}"

    async def during(self, name: str, attack: Callable[[], Awaitable[object]]) -> Samples:
        """Sample until the attack is over."""
        samples = Samples(name)
        task = asyncio.ensure_future(attack())
        async with httpx.AsyncClient(auth=("alice", PASSWORD), timeout=15) as client:
            while True:
                await asyncio.gather(
                    self._ask(client, "/metrics", samples.scrapes, samples),
                    self._ask(client, "/-/healthy", samples.probes, samples),
                )
                samples.memory.append(resident(self.pid))
                if task.done():
                    break
                await asyncio.sleep(0.5)
        await task
        return samples

    async def _ask(
        self, client: httpx.AsyncClient, path: str, taken: list[float], samples: Samples
    ) -> None:
        started_at = time.monotonic()
        headers = SCRAPER | {"X-Prometheus-Scrape-Timeout-Seconds": "10"}
        try:
            answer = await client.get(self.url + path, headers=headers)
            samples.failed += answer.status_code != 200
        except httpx.HTTPError:
            samples.failed += 1
        taken.append(time.monotonic() - started_at)

    async def api_attack(self, name: str, seconds: float) -> None:
        """Let Braze attack for this long, with new runs that make the exporter keep reading."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            await client.post(f"{self.braze}/attack/{name}")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                await client.post(f"{self.braze}/finish")
                await asyncio.sleep(1)
            await client.post(f"{self.braze}/attack/")


def growth(results: list[Samples]) -> float:
    """The increase of resident memory from before to after the attacks, in MiB."""
    return results[-1].memory[-1] - max(results[0].memory)


def resident(pid: int) -> float:
    """The resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def soak(it: Soak, seconds: float, only: str) -> list[Samples]:
    """Run the attacks whose names contain `only`. They share the time, with pauses in between."""
    names = [name for name in Attacker(0, "", 0).attacks() if only in f"clients: {name}"]
    answers = [name for name in ATTACKS if only in f"Braze: {name}"]
    part = seconds / (len(names) + len(answers) + 2)
    attacks = Attacker(it.port, PASSWORD, part * 0.9).attacks()
    results = [await it.during("nothing", lambda: asyncio.sleep(part))]
    for name in names:
        results.append(await it.during(f"clients: {name}", attacks[name]))
        await asyncio.sleep(part * 0.1)
    for name in answers:
        attack = partial(it.api_attack, name, part * 0.9)
        results.append(await it.during(f"Braze: {name}", attack))
        await asyncio.sleep(part * 0.1)
    results.append(await it.during("nothing, afterwards", lambda: asyncio.sleep(part)))
    return results


def run(seconds: float, folder: Path, only: str = "") -> list[Samples]:
    """Start both processes and run the attacks."""
    port, braze = free_port(), free_port()
    config, web = folder / "config.yml", folder / "web.yml"
    config.write_text(CONFIG.format(braze=f"http://127.0.0.1:{braze}", key=KEY))
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(10)).decode()
    web.write_text(f"basic_auth_users:\n  alice: {hashed}\n")
    command = exporter_command(
        f"--config.file={config}",
        f"--web.config.file={web}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--state.file={folder / 'state.sqlite'}",
    )
    hostile = [sys.executable, "-m", "tests.hostile.braze", str(braze)]
    with running(hostile, folder / "braze.log"), running(command, folder / "log") as process:
        url = f"http://127.0.0.1:{braze}/attack/"
        eventually(lambda: httpx.post(url).status_code == 200, "the hostile Braze serves")
        health = f"http://127.0.0.1:{port}/-/healthy"
        healthy = partial(httpx.get, health, auth=("alice", PASSWORD))
        eventually(lambda: healthy().status_code == 200, "the exporter serves")
        return asyncio.run(
            soak(Soak(process.pid, port, f"http://127.0.0.1:{braze}"), seconds, only)
        )


def table(results: list[Samples]) -> str:
    """The results as a Markdown table."""
    head = [
        "| during | scrape, s: median / longest | probe, s: median / longest | MiB | failed |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(each.row() for each in results)])


def main() -> None:
    """Run the attacks and print the table. The exit status is 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--only", default="", help="a part of the names of the attacks to make")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        results = run(wanted.seconds, folder, wanted.only)
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(table(results) + "\n")
    exceeded = [each.name for each in results if not each.ok()]
    if growth(results) > MOST_GROWTH:
        exceeded.append("memory after the attacks")
    if exceeded:
        sys.exit(f"bounds exceeded: {', '.join(exceeded)}")


if __name__ == "__main__":
    main()
