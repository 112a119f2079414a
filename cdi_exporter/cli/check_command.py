"""`check`: report whether the configuration, the keys and their permissions work."""

import asyncio
import os
import sys
from functools import partial
from io import StringIO, TextIOWrapper
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import (
    CONFIG_FILE,
    LOG_FLAGS,
    POSITIVE_DURATION,
    STATE_URL,
    Flag,
    Flags,
    switch,
)
from cdi_exporter.cli.serve_command import load_settings, warn_of_variables
from cdi_exporter.clock import system_clock
from cdi_exporter.state.postgres import describe

SOMETHING_FAILS = 1

WIDE = 10_000
"""Columns of a file or a pipe, so that no line is wrapped and lines can be searched."""

FLAGS = (
    Flag(
        "scrape-interval",
        type=POSITIVE_DURATION,
        default="1m",
        help="Scrape interval for which to estimate the requests.",
    ),
    switch("offline", "Check only the configuration; send no request to Braze."),
    Flag("output", type=click.Choice(["table", "json"]), default="table", help="Output format."),
)


@click.command("check", cls=Flags, params=[CONFIG_FILE, STATE_URL, *FLAGS, *LOG_FLAGS])
def command(config_file: str | None, state_url: str | None, **flags: Any) -> None:
    """Check each workspace's key and permissions, and estimate the requests that watching takes.

    With --state.url, check the database as well; nothing in it is changed.

    Exit status: 0 all well, 1 something does not work, 2 the configuration is wrong.
    """
    logs.configure(flags["log_level"], flags["log_format"])
    warn_of_variables(config_file)
    settings = load_settings(config_file)
    from rich.console import Console  # noqa: PLC0415 -- see `cli`

    from cdi_exporter.check import Report, check, show  # noqa: PLC0415 -- see `cli`

    async def run() -> Report:
        return await check(
            settings,
            system_clock(),
            scrape_interval=flags["scrape_interval"],
            offline=flags["offline"],
            describe=partial(describe, state_url, "check") if state_url else None,
        )

    report = asyncio.run(run())
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal that lacks a character
    if flags["output"] == "json":
        click.echo(report.to_json().encode("utf-8", "replace"))
    elif sys.stdout.isatty():
        show(report, Console())
    else:
        text = StringIO()
        show(report, Console(file=text, width=None if "COLUMNS" in os.environ else WIDE))
        for line in text.getvalue().splitlines():
            click.echo(line.rstrip())  # the cells of a table end with spaces
    if not report.ok:
        sys.exit(SOMETHING_FAILS)
