"""`demo`: the exporter against a simulated workspace."""

import asyncio
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import LOG_FLAGS, SPEED, WEB_FLAGS, Flag, Flags, options

FLAGS = (
    Flag(
        "integrations", type=click.IntRange(1, 10_000), default=12, help="Number of integrations."
    ),
    Flag("seed", type=int, default=1, help="Random seed of the workspace."),
    Flag(
        "speed",
        type=SPEED,
        default=60.0,
        help="Factor by which schedules and durations are shortened.",
    ),
)


@click.command("demo", cls=Flags, params=[*FLAGS, *WEB_FLAGS, *LOG_FLAGS])
def command(integrations: int, seed: int, speed: float, **flags: Any) -> None:
    """Run the exporter against a simulated workspace: no key, no network."""
    from cdi_exporter import demo  # noqa: PLC0415 -- see `cli`

    logs.configure(flags["log_level"], flags["log_format"])
    asyncio.run(demo.run(options(flags), integrations=integrations, seed=seed, speed=speed))
