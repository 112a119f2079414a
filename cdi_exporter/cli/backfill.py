"""`backfill`: the history that the API still has, for Prometheus."""

import asyncio
import io
import sys
import time
from pathlib import Path
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.backfill import (
    Backfill,
    BackfillOptions,
    PlainProgress,
    Progress,
    RichProgress,
    Spool,
    parse_label,
    parse_moment,
)
from cdi_exporter.cli.flags import CONFIG_FILE, DURATION, Flags, Written, flag, log_flags, switch
from cdi_exporter.cli.serve import load_settings, warn_of_variables
from cdi_exporter.clock import system_clock, wall_now

MOMENT = Written("moment", parse_moment)
LABEL = Written("label", parse_label)


@click.command("backfill", cls=Flags)
@CONFIG_FILE
@flag(
    "since",
    command="backfill",
    type=MOMENT,
    default="30d",
    help="Start of the range: a duration ago, or RFC 3339.",
)
@flag(
    "until",
    command="backfill",
    type=MOMENT,
    default="3h",
    help="End of the range: a duration ago, at least 3h, or RFC 3339.",
)
@flag(
    "step",
    command="backfill",
    type=DURATION,
    default="4m",
    help="Time between two samples of a series.",
)
@flag(
    "label",
    command="backfill",
    type=LABEL,
    multiple=True,
    help="name=value on every sample: job, instance, external labels; repeatable.",
)
@flag(
    "include",
    command="backfill",
    multiple=True,
    metavar="GLOB",
    help="Only integrations whose name or ID fits the pattern; repeatable.",
)
@flag(
    "output",
    command="backfill",
    type=click.Path(file_okay=False),
    default="braze-cdi-backfill",
    help="Folder for the files, one per UTC day, and for what resuming needs.",
)
@switch("dry-run", "Estimate requests, time and size, then exit.", command="backfill")
@switch("force", "Allow --until less than 3h ago; see the warning in the docs.", command="backfill")
@log_flags
def command(config_file: str | None, **flags: Any) -> None:
    """Write the history that the API still has, for promtool."""
    logs.configure(flags["log_level"], flags["log_format"], Stderr())  # type: ignore[arg-type]  # all that is asked of it
    warn_of_variables(config_file)
    options = BackfillOptions(
        output=Path(flags["output"]),
        since=flags["since"],
        until=flags["until"],
        step=flags["step"],
        labels=flags["label"],
        include=flags["include"],
        dry_run=flags["dry_run"],
        force=flags["force"],
    )
    options.check(wall_now())
    settings = load_settings(config_file)
    try:
        with Spool(options.output) as spool:
            backfill = Backfill(settings, options, spool, say=click.echo, progress=_progress())
            if asyncio.run(_read(backfill)):
                backfill.write()
    except KeyboardInterrupt:
        click.echo("interrupted: rerun the same command to resume", err=True)
        raise


class Stderr(io.TextIOBase):
    """Stderr as it is at each moment: a progress bar puts itself before it."""

    def write(self, text: str) -> int:
        """Write above the bar."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Nothing is held back."""
        sys.stderr.flush()


async def _read(backfill: Backfill) -> bool:
    return await backfill.read(system_clock())


def _progress() -> Progress:
    if sys.stderr.isatty():
        return RichProgress(sys.stderr)
    return PlainProgress(lambda line: click.echo(line, err=True), time.monotonic)
