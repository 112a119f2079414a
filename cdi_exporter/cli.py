"""The commands: flags in, exit status out; everything else is somebody else's."""

import asyncio
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from cdi_exporter import __version__, logs
from cdi_exporter.app import Exporter, ServeOptions, serve, system_clock
from cdi_exporter.config import Settings, from_environment, load_file, parse_duration
from cdi_exporter.errors import ConfigError, StartError
from cdi_exporter.web.app import WebOptions
from cdi_exporter.web.server import Address

PROGRAM = "cdi-exporter"
CANNOT_START = 1
WRONG_USE = 2

Command = TypeVar("Command", bound=Callable[..., object])


def flag(name: str, *args: Any, **kwargs: Any) -> Callable[[Command], Command]:
    """An option `--name` that an environment variable can set too."""
    variable = "CDI_EXPORTER_" + re.sub(r"[.-]", "_", name).upper()
    python_name = re.sub(r"[.-]", "_", name)
    return click.option(
        f"--{name}", python_name, *args, envvar=variable, show_default=True, **kwargs
    )


class AddressType(click.ParamType[Address]):
    """`:PORT`, `HOST:PORT` or `[IPv6]:PORT`."""

    name = "address"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Address:
        """Raises what click shows as a usage error."""
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[float]):
    """A duration as Prometheus writes it, in seconds."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Raises what click shows as a usage error."""
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class PathType(click.ParamType[str]):
    """A path of a URL."""

    name = "path"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Raises what click shows as a usage error."""
        text = str(value)
        if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
            self.fail(f"{text!r} is no path; expected one like /metrics", param, ctx)
        return text


class DefaultsToServe(click.Group):
    """A bare invocation, or flags alone, mean `serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `serve` in front where no command is named."""
        own = {"--help", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def version_text() -> str:
    """What `--version` prints."""
    return f"{PROGRAM} {__version__} (Python {platform.python_version()})"


def log_flags(command: Command) -> Command:
    """The flags of every command that logs."""
    command = flag(
        "log.format",
        type=click.Choice(["logfmt", "json"]),
        default="logfmt",
        help="Format of the log.",
    )(command)
    return flag(
        "log.level",
        type=click.Choice(["debug", "info", "warn", "error"]),
        default="info",
        help="Log this and what is graver.",
    )(command)


def web_flags(command: Command) -> Command:
    """The flags of every command that serves."""
    for decorate in reversed(
        [
            flag(
                "web.listen-address",
                type=AddressType(),
                multiple=True,
                default=[":10234"],
                help="Where to listen: :PORT, HOST:PORT or [::1]:PORT; repeatable.",
            ),
            flag(
                "web.telemetry-path",
                type=PathType(),
                default="/metrics",
                help="Path of the metrics.",
            ),
            flag(
                "web.health-address",
                type=AddressType(),
                help="A second, plain listener for /-/healthy and /-/ready alone.",
            ),
            flag(
                "web.enable-lifecycle",
                is_flag=True,
                help="Allow POST /-/reload.",
            ),
            flag(
                "scrape.timeout-offset",
                type=DurationType(),
                default="0.5s",
                help="Subtracted from the time that Prometheus waits for an answer.",
            ),
        ]
    ):
        command = decorate(command)
    return command


@click.group(cls=DefaultsToServe, context_settings={"help_option_names": ["--help"]})
@click.version_option(__version__, message=version_text())
def cli() -> None:
    """Watch the sync runs of Braze Cloud Data Ingestion, for Prometheus.

    Without a command, `serve` is meant.
    """


@cli.command("serve")
@flag("config.file", type=click.Path(), help="YAML configuration; else the environment is read.")
@web_flags
@log_flags
def serve_command(config_file: str | None, **flags: Any) -> None:
    """Run the exporter."""
    logs.configure(flags["log_level"], flags["log_format"])
    asyncio.run(_serve(lambda: load_settings(config_file), options(flags)))


async def _serve(load: Callable[[], Settings], opts: ServeOptions) -> None:
    await serve(Exporter(load(), system_clock(), load=load), opts)


@cli.command("demo")
@flag("integrations", type=click.IntRange(1, 10_000), default=12, help="How many integrations.")
@flag("seed", type=int, default=1, help="The same seed gives the same workspace.")
@flag(
    "speed",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    help="Schedules and durations are divided by it.",
)
@web_flags
@log_flags
def demo_command(integrations: int, seed: int, speed: float, **flags: Any) -> None:
    """Run the exporter against a simulated workspace: no key, no network."""
    from cdi_exporter import demo  # noqa: PLC0415 -- nothing that serve needs

    logs.configure(flags["log_level"], flags["log_format"])
    asyncio.run(
        demo.run(options(flags), integrations=integrations, seed=seed, speed=speed, say=click.echo)
    )


def options(flags: dict[str, Any]) -> ServeOptions:
    """The options of `serve` out of click's values."""
    return ServeOptions(
        listen=flags["web_listen_address"],
        health=flags["web_health_address"],
        web=WebOptions(
            telemetry_path=flags["web_telemetry_path"],
            timeout_offset=flags["scrape_timeout_offset"],
            enable_lifecycle=flags["web_enable_lifecycle"],
        ),
    )


def load_settings(config_file: str | None) -> Settings:
    """The configuration from its file, or from the environment where none is named."""
    return load_file(config_file, os.environ) if config_file else from_environment(os.environ)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; every mistake is one line on stderr and an exit status."""
    try:
        cli.main(args=args, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.UsageError as error:
        _stop([error.format_message()], WRONG_USE)
    except ConfigError as error:
        _stop(error.mistakes, WRONG_USE)
    except StartError as error:
        _stop([str(error)], CANNOT_START)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _stop(lines: Sequence[str], status: int) -> None:
    for line in lines:
        click.echo(f"{PROGRAM}: {line}", err=True)
    sys.exit(status)
