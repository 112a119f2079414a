"""`backfill`: write the history that Braze still has as files for Prometheus."""

import asyncio
import io
import sys
import time
from pathlib import Path
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.cli.flags import CONFIG_FILE, DURATION, LOG_FLAGS, Flag, Flags, ParsedType, switch
from cdi_exporter.cli.serve_command import load_settings, warn_of_variables
from cdi_exporter.clock import system_clock, wall_now


def _moment(text: str) -> object:
    from cdi_exporter.backfill import parse_moment  # noqa: PLC0415 -- see `cli`

    return parse_moment(text)


def _label(text: str) -> object:
    from cdi_exporter.backfill import parse_label  # noqa: PLC0415 -- see `cli`

    return parse_label(text)


MOMENT, LABEL = ParsedType("moment", _moment), ParsedType("label", _label)

FLAGS = (
    Flag(
        "since", type=MOMENT, default="30d", help="Start of the range: a duration ago, or RFC 3339."
    ),
    Flag(
        "until",
        type=MOMENT,
        default="3h",
        help="End of the range: a duration ago, at least 3h, or RFC 3339.",
    ),
    Flag("step", type=DURATION, default="4m", help="Time between two samples of a series."),
    Flag(
        "label",
        type=LABEL,
        multiple=True,
        help="Label name=value to add to every sample: job, instance, external labels; repeatable.",
    ),
    Flag(
        "include",
        multiple=True,
        metavar="GLOB",
        help="Glob pattern for names or IDs: only these integrations; repeatable.",
    ),
    Flag(
        "output",
        type=click.Path(file_okay=False),
        default="braze-cdi-backfill",
        help="Directory for the files, one per UTC day, and for the data to resume.",
    ),
    switch("dry-run", "Estimate requests, time and size, then exit."),
    switch("force", "Allow --until less than 3h ago; see the warning in the docs."),
)


@click.command("backfill", cls=Flags, params=[CONFIG_FILE, *FLAGS, *LOG_FLAGS])
def command(config_file: str | None, **flags: Any) -> None:
    """Write the history that Braze still has as OpenMetrics files for promtool."""
    from cdi_exporter.backfill import (  # noqa: PLC0415 -- see `cli`
        Backfill,
        BackfillOptions,
        Progress,
        open_spool,
    )

    logs.configure(flags["log_level"], flags["log_format"], Stderr())
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
    terminal = sys.stderr if sys.stderr.isatty() else None
    progress = Progress(lambda line: click.echo(line, err=True), time.monotonic, terminal)

    async def read() -> bool:
        return await backfill.read(system_clock())

    try:
        with open_spool(options.output) as spool:
            backfill = Backfill(settings, options, spool, say=click.echo, progress=progress)
            if asyncio.run(read()):
                backfill.write()
    except KeyboardInterrupt:
        click.echo("interrupted: rerun the same command to resume", err=True)
        raise


class Stderr(io.TextIOBase):
    """A stream for the log: the current `sys.stderr`, which a progress bar replaces by its own."""

    def write(self, text: str) -> int:
        """Write to the current stream."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the current stream."""
        sys.stderr.flush()
