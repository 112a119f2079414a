"""`check`: whether the configuration, the key and its permissions work."""

import asyncio
import os
import sys
from io import TextIOWrapper
from typing import Any

import click
from rich.console import Console

from cdi_exporter import logs
from cdi_exporter.check import REPORT, Options, Report, check, show
from cdi_exporter.cli.flags import CONFIG_FILE, POSITIVE_DURATION, Flags, flag, log_flags, switch
from cdi_exporter.cli.serve import load_settings, warn_of_variables
from cdi_exporter.clock import system_clock
from cdi_exporter.config import Settings

SOMETHING_FAILS = 1


@click.command("check", cls=Flags)
@CONFIG_FILE
@flag(
    "scrape-interval",
    command="check",
    type=POSITIVE_DURATION,
    default="1m",
    help="Tell what watching takes when Prometheus scrapes this often.",
)
@switch("offline", "Check the configuration alone; ask nothing of Braze.", command="check")
@flag(
    "output",
    command="check",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people, or for programs.",
)
@log_flags
def command(config_file: str | None, **flags: Any) -> None:
    """Tell whether each workspace's key works, what it may read, and what watching takes.

    Exit status: 0 all well, 1 something does not work, 2 the configuration is wrong.
    """
    logs.configure(flags["log_level"], flags["log_format"])
    warn_of_variables(config_file)
    options = Options(flags["scrape_interval"], flags["offline"], os.environ)
    report = asyncio.run(_check(load_settings(config_file), options))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal that lacks a character
    if flags["output"] == "json":
        click.echo(REPORT.dump_json(report, indent=2))
    else:
        show(report, Console())
    if not report.ok:
        sys.exit(SOMETHING_FAILS)


async def _check(settings: Settings, options: Options) -> Report:
    return await check(settings, options, system_clock())
