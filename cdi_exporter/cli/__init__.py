"""The commands: they turn flags into calls of other packages, and errors into an exit status.

Each command is the `command` of the module `NAME_command`. `serve`, which runs for years, imports
all of these modules to recognise misspelt environment variables. So each module imports what only
its own command needs when that command runs.
"""

import platform
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

from cdi_exporter import __version__
from cdi_exporter.errors import ConfigError, StartError

PROGRAM = "cdi-exporter"
COMMANDS = ("serve", "demo", "check", "metrics", "backfill", "healthcheck")
CANNOT_START = 1
WRONG_USE = 2
VERSION = f"{PROGRAM} {__version__} (Python {platform.python_version()})"
"""What `--version` prints."""


class Commands(click.Group):
    """The commands; without the name of one, `serve` runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name; None if there is no such command."""
        return _imported(cmd_name) if cmd_name in COMMANDS else None

    def every_command(self) -> dict[str, click.Command]:
        """All commands by name, for their documentation."""
        return {name: _imported(name) for name in COMMANDS}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; raises UsageError with a suggestion."""
        if args[0] not in COMMANDS:
            near = get_close_matches(args[0], COMMANDS, n=1)
            every = f"{', '.join(COMMANDS[:-1])} or {COMMANDS[-1]}"
            suggestion = f"Did you mean '{near[0]}'?" if near else f"Use {every}."
            ctx.fail(f"No such command '{args[0]}'. {suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the whole first sentence of its help."""
        commands = self.every_command().items()
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(500)) for name, each in commands])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and the flags of `serve`, which can be used without its name."""
        super().format_options(ctx, formatter)
        records = [param.get_help_record(ctx) for param in _imported("serve").params]
        with formatter.section("Flags of serve"):
            formatter.write_dl([record for record in records if record])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` in front if no command is named."""
        own = {"-h", "--help", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def _imported(name: str) -> click.Command:
    command: click.Command = import_module(f"{__name__}.{name}_command").command
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=VERSION)
def cli() -> None:
    """Watch the sync runs of Braze Cloud Data Ingestion, for Prometheus.

    Without a command, `serve` runs.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line; print each error as one line on stderr, and exit with its status."""
    try:
        cli.main(args=args, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as error:
        called = error.ctx.command_path if error.ctx else PROGRAM
        lines = error.format_message().splitlines()
        _stop([*lines[:-1], f"{lines[-1]} (see {called} --help)"], WRONG_USE)
    except ConfigError as error:
        _stop(error.mistakes, WRONG_USE)
    except StartError as error:
        _stop(str(error).splitlines(), CANNOT_START)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _stop(lines: Sequence[str], status: int) -> None:
    from cdi_exporter import logs  # noqa: PLC0415 -- a successful healthcheck needs no log

    for line in lines:
        logs.say(f"{PROGRAM}: {line}")
    sys.exit(status)
