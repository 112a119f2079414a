"""The commands: flags in, exit status out; everything else is somebody else's.

Each command is the `command` of a module of its name, imported where it is asked for: what one
needs costs the others nothing.
"""

import platform
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from cdi_exporter import __version__
from cdi_exporter.errors import ConfigError, StartError

PROGRAM = "cdi-exporter"
COMMANDS = ("serve", "demo", "check", "backfill", "healthcheck")
CANNOT_START = 1
WRONG_USE = 2


class Commands(click.Group):
    """The commands by their names; a bare invocation, or flags alone, mean `serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(found, click.Command)  # noqa: S101 -- a module without one is a defect
        return found

    def every_command(self) -> dict[str, click.Command]:
        """All of them by name, for those who describe them."""
        with click.Context(self) as context:
            found = {name: self.get_command(context, name) for name in COMMANDS}
        return {name: command for name, command in found.items() if command}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, and the flags of the one that needs no name."""
        super().format_options(ctx, formatter)
        serve = self.get_command(ctx, "serve")
        records = [param.get_help_record(ctx) for param in serve.params] if serve else []
        with formatter.section("Flags of serve"):
            formatter.write_dl([record for record in records if record])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` in front where no command is named."""
        own = {"--help", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def version_text() -> str:
    """What `--version` prints."""
    return f"{PROGRAM} {__version__} (Python {platform.python_version()})"


@click.group(cls=Commands, context_settings={"help_option_names": ["--help"]})
@click.version_option(__version__, message=version_text())
def cli() -> None:
    """Watch the sync runs of Braze Cloud Data Ingestion, for Prometheus.

    Without a command, `serve` is meant.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; every mistake is one line on stderr and an exit status."""
    try:
        cli.main(args=args, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as error:
        _stop(error.format_message().splitlines(), WRONG_USE)
    except ConfigError as error:
        _stop(error.mistakes, WRONG_USE)
    except StartError as error:
        _stop([str(error)], CANNOT_START)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _stop(lines: Sequence[str], status: int) -> None:
    from cdi_exporter import logs  # noqa: PLC0415 -- a healthcheck that is well needs no log

    for line in lines:
        logs.say(f"{PROGRAM}: {line}")
    sys.exit(status)
