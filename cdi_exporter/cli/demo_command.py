"""`demo`: the exporter against a simulated workspace."""

import asyncio
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import SPEED, Flags, flag, log_flags, options, web_flags


@click.command("demo", cls=Flags)
@flag(
    "integrations",
    command="demo",
    type=click.IntRange(1, 10_000),
    default=12,
    help="Number of integrations.",
)
@flag(
    "seed",
    command="demo",
    type=int,
    default=1,
    help="Random seed of the workspace.",
)
@flag(
    "speed",
    command="demo",
    type=SPEED,
    default=60.0,
    help="Factor by which schedules and durations are shortened.",
)
@web_flags
@log_flags
def command(integrations: int, seed: int, speed: float, **flags: Any) -> None:
    """Run the exporter against a simulated workspace: no key, no network."""
    from cdi_exporter import demo  # noqa: PLC0415 -- no other command needs the simulator

    logs.configure(flags["log_level"], flags["log_format"])
    asyncio.run(demo.run(options(flags), integrations=integrations, seed=seed, speed=speed))
