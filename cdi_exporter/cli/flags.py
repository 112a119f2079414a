"""The flags that commands share: their types, their names, their environment variables."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cdi_exporter.app import ServeOptions
from cdi_exporter.config import parse_duration
from cdi_exporter.web.app import WebOptions
from cdi_exporter.web.server import Address

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
    """A duration as Prometheus writes it, in seconds; where it must be `positive`, not 0."""

    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Raises what click shows as a usage error."""
        try:
            seconds = parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._positive and not seconds:
            self.fail("expected more than no time at all", param, ctx)
        return seconds


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


CONFIG_FILE = flag(
    "config.file",
    type=click.Path(),
    help="YAML configuration; else the environment is read.",
)


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
                "web.config.file",
                type=click.Path(),
                help="TLS, client certificates, basic auth, headers: YAML of the exporter-toolkit.",
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


def options(flags: dict[str, Any]) -> ServeOptions:
    """The options of `serve` out of click's values."""
    return ServeOptions(
        listen=flags["web_listen_address"],
        health=flags["web_health_address"],
        web_config=flags["web_config_file"],
        web=WebOptions(
            telemetry_path=flags["web_telemetry_path"],
            timeout_offset=flags["scrape_timeout_offset"],
            enable_lifecycle=flags["web_enable_lifecycle"],
        ),
    )
