"""`metrics`: one refresh, and the metrics on stdout or in a file."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import (
    CONFIG_FILE,
    LOG_FLAGS,
    POSITIVE_DURATION,
    STATE_FLAGS,
    Flag,
    Flags,
)
from cdi_exporter.cli.serve_command import load_settings, open_exporter, warn_of_variables
from cdi_exporter.clock import system_clock
from cdi_exporter.config import Settings
from cdi_exporter.errors import StartError
from cdi_exporter.exposition import Format
from cdi_exporter.threads import in_thread, run_loop

FLAGS = (
    Flag(
        "format",
        type=click.Choice(["text", "openmetrics"]),
        default="text",
        help="Exposition format. node_exporter's textfile collector needs text.",
    ),
    Flag(
        "output",
        type=click.Path(dir_okay=False),
        help="File to replace with the metrics in one step; by default they are printed.",
    ),
    Flag(
        "timeout",
        type=POSITIVE_DURATION,
        default="2m",
        help="Longest time to wait for Braze and for the request budget.",
    ),
)


@click.command("metrics", cls=Flags, params=[CONFIG_FILE, *STATE_FLAGS, *FLAGS, *LOG_FLAGS])
def command(config_file: str | None, **flags: Any) -> None:
    """Refresh once and print the metrics, or write them to a file.

    Exit status: 0 all workspaces were read, 1 one could not be read or the file could not be
    written, 2 the configuration is wrong.
    """
    logs.configure(flags["log_level"], flags["log_format"])
    warn_of_variables(config_file)
    settings = load_settings(config_file)
    if problems := run_loop(_run(settings, flags)):
        raise StartError("\n".join(problems))


async def _run(settings: Settings, flags: Mapping[str, Any]) -> list[str]:
    from cdi_exporter.one_refresh import refresh_once, write_file  # noqa: PLC0415 -- see `cli`

    form = Format(openmetrics=flags["format"] == "openmetrics")
    output = Path(flags["output"]) if flags["output"] else None

    async def write(page: bytes) -> None:
        await in_thread(lambda: _print(page) if output is None else write_file(output, page))

    exporter = await open_exporter(settings, flags, system_clock(), process_metrics=False)
    try:
        await exporter.start()
        return await refresh_once(exporter, form, flags["timeout"], write)
    finally:
        await exporter.close()


def _print(page: bytes) -> None:
    try:
        sys.stdout.buffer.write(page)
        sys.stdout.buffer.flush()
    except OSError as error:
        msg = f"cannot write to stdout: {error.strerror}"
        raise StartError(msg) from error
