"""`backfill`: the history that the API still has, for Prometheus."""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import CONFIG_FILE, DURATION, Flags, ParsedType, flag, log_flags, switch
from cdi_exporter.cli.serve_command import load_settings, warn_of_variables
from cdi_exporter.clock import system_clock, wall_now

if TYPE_CHECKING:
    from cdi_exporter.backfill import Backfill, Progress


def _parsed_by(name: str) -> Callable[[str], object]:
    """A parser of `backfill`, which is imported only once there is something to parse."""

    def parse(text: str) -> object:
        from cdi_exporter import backfill  # noqa: PLC0415

        parser: Callable[[str], object] = getattr(backfill, name)
        return parser(text)

    return parse


MOMENT = ParsedType("moment", _parsed_by("parse_moment"))
LABEL = ParsedType("label", _parsed_by("parse_label"))


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
    help="Label name=value to add to every sample: job, instance, external labels; repeatable.",
)
@flag(
    "include",
    command="backfill",
    multiple=True,
    metavar="GLOB",
    help="Glob pattern for names or IDs: only these integrations; repeatable.",
)
@flag(
    "output",
    command="backfill",
    type=click.Path(file_okay=False),
    default="braze-cdi-backfill",
    help="Directory for the files, one per UTC day, and for the data to resume.",
)
@switch("dry-run", "Estimate requests, time and size, then exit.", command="backfill")
@switch("force", "Allow --until less than 3h ago; see the warning in the docs.", command="backfill")
@log_flags
def command(config_file: str | None, **flags: Any) -> None:
    """Write the history that Braze still has as OpenMetrics files for promtool."""
    from cdi_exporter.backfill import (  # noqa: PLC0415 -- as above
        Backfill,
        BackfillOptions,
        open_spool,
    )

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
        with open_spool(options.output) as spool:
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


async def _read(backfill: "Backfill") -> bool:
    return await backfill.read(system_clock())


def _progress() -> "Progress":
    from cdi_exporter.backfill import Progress  # noqa: PLC0415 -- as above

    terminal = sys.stderr if sys.stderr.isatty() else None
    return Progress(lambda line: click.echo(line, err=True), time.monotonic, terminal)
