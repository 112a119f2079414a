"""Runs `check` against simulated workspaces in virtual time."""

import asyncio
import io
from collections.abc import Sequence

import httpx
from rich.console import Console

from cdi_exporter.check import Report, check, show
from cdi_exporter.check.report import CheckedWorkspace, Finding
from cdi_exporter.check.state_database import Describe
from cdi_exporter.config import Settings, WorkspaceConfig
from tests.harness import KEY, workspace
from tests.simulation.direct import DirectTransport
from tests.simulator import Simulator
from tests.virtual import EPOCH, run, virtual_clock

Answering = Simulator | httpx.AsyncBaseTransport
"""A simulated workspace, or another server at its endpoint."""


def simulated(*integrations: object, ahead: float = 0.0, **settings: object) -> Simulator:
    """A workspace with strict limits. Its clock is `ahead` seconds ahead of the running loop's."""
    fields: dict[str, object] = {"key": KEY, "limit_window": "sliding", "latency": 0.1}

    def clock() -> float:
        return EPOCH + ahead + asyncio.get_running_loop().time()

    return Simulator(integrations, clock, **(fields | settings))  # type: ignore[arg-type]


def checked(
    *answering: Answering,
    workspaces: Sequence[WorkspaceConfig] | None = None,
    scrape_interval: float = 60.0,
    offline: bool = False,
    describe: Describe | None = None,
) -> Report:
    """The report on workspaces named w0, w1 …, or on a single one named w."""
    if workspaces is None:
        names = ["w"] if len(answering) == 1 else [f"w{i}" for i in range(len(answering))]
        workspaces = [workspace(name) for name in names]
    by_name = dict(zip([config.name for config in workspaces], answering, strict=True))

    def transport(config: WorkspaceConfig) -> httpx.AsyncBaseTransport:
        found = by_name[config.name]
        return DirectTransport(found) if isinstance(found, Simulator) else found

    async def main() -> Report:
        return await check(
            Settings(tuple(workspaces)),
            virtual_clock(),
            scrape_interval=scrape_interval,
            offline=offline,
            transport=transport,
            describe=describe,
        )

    return run(main())


def one(answering: Answering, **settings: object) -> CheckedWorkspace:
    """The result for a single workspace with these settings."""
    config = workspace(**settings)  # type: ignore[arg-type]
    (found,) = checked(answering, workspaces=[config]).workspaces
    return found


def finding(found: CheckedWorkspace, code: str) -> Finding:
    """The only finding with that code."""
    (each,) = [each for each in found.findings if each.code == code]
    return each


def codes(found: CheckedWorkspace) -> list[str]:
    """The codes of the findings, the most severe first."""
    return [each.code for each in found.findings]


def text(report: Report, width: int = 80) -> str:
    """The report for people, as it is written to a file."""
    out = io.StringIO()
    show(report, Console(file=out, width=width))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
