"""The types of flags, their environment variables, and the flags that several commands have."""

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import click

from cdi_exporter.app import ServeOptions
from cdi_exporter.config import parse_duration
from cdi_exporter.config.mistakes import phrase, show_value
from cdi_exporter.state.postgres_url import database_url
from cdi_exporter.web.routes import FIXED_PATHS, WebOptions
from cdi_exporter.web.server import Address

SPEEDS = (0.01, 3600.0)
"""Slowest and fastest speed of the demo."""

LEAST_SIMILARITY = 0.8
"""Least similarity for a suggestion: `log.fromat` suggests `log.format`, `format` does not."""

PREFIX = "CDI_EXPORTER_"
"""Prefix of the environment variables that set flags."""

MOST_REPEATS = 100
"""Most values of one flag. Each is a socket, a label of every sample or a pattern for names."""


class Flag(click.Option):
    """An option `--name` that an environment variable can set too.

    An invalid value is collected, so that the other flags are checked, too.
    """

    def __init__(self, name: str, **attributes: Any) -> None:
        python_name = re.sub(r"[.-]", "_", name)
        given = {"show_default": True, "envvar": PREFIX + python_name.upper(), **attributes}
        super().__init__([f"--{name}", python_name], **given)

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The converted value, or each of several."""
        if not self.multiple or not isinstance(value, (list, tuple)):
            return self._cast(ctx, value)
        if len(value) > MOST_REPEATS:
            problem = f"given {len(value):,} times; expected at most {MOST_REPEATS}"
            _mistakes(ctx).append(click.BadParameter(problem, ctx, self).format_message())
            return ()
        return tuple(each for one in value for each in self._cast(ctx, (one,)) or ())

    def _cast(self, ctx: click.Context, value: Any) -> Any:
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            _mistakes(ctx).append(error.format_message())
            return None


class Flags(click.Command):
    """A command that reports all errors in its flags at once."""

    ignore_unknown_options = True
    allow_extra_args = True

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        for each in self.params:
            # A flag with a dot is one of `serve`. Any other belongs to one command, whose name is
            # part of the variable's, so that one environment works for every command.
            if isinstance(each, Flag) and "." not in each.opts[0]:
                each.envvar = f"{PREFIX}{name}_{each.name}".upper()

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Both names of the help flag, even if the command is called without its group."""
        return ["-h", "--help"]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the flags; raises UsageError with a line for each error."""
        mistakes = _mistakes(ctx)
        try:
            extra = super().parse_args(ctx, args)
        except click.UsageError as error:
            mistakes.append(error.format_message())
        else:
            mistakes += self._unknown(extra)
            if ctx.params.get("state_file") and ctx.params.get("state_url"):
                problem = (
                    "--state.file and --state.url cannot be combined; to use a database where the "
                    "image or the unit sets a state file, set CDI_EXPORTER_STATE_FILE to an empty "
                    "value"
                )
                mistakes.append(problem)
        if mistakes:
            raise click.UsageError("\n".join(mistakes), ctx)
        return []

    def _unknown(self, extra: list[str]) -> list[str]:
        """A line for each unknown flag, else one for each argument that is not a flag."""
        known = [name.lstrip("-") for param in self.params for name in param.opts]
        unknown = [each.partition("=")[0] for each in extra if each.startswith("-")]
        lines = []
        for name in unknown:
            near = get_close_matches(name.lstrip("-"), known, n=1, cutoff=LEAST_SIMILARITY)
            likely = [f"--{each}" for each in near]
            lines.append(click.NoSuchOption(name, possibilities=likely).format_message())
        return lines or [f"Got unexpected extra argument ({each})" for each in extra]


def _mistakes(ctx: click.Context) -> list[str]:
    """The errors collected so far."""
    lines: list[str] = ctx.meta.setdefault(__name__, [])
    return lines


class ParsedType(click.ParamType[Any]):
    """A type of flag whose values `parse` converts; its ValueError says what is wrong.

    The error shows the value, unless it may be `secret`.
    """

    def __init__(self, name: str, parse: Callable[[str], object], *, secret: bool = False) -> None:
        self.name, self._parse, self._secret = name, parse, secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; raises a usage error."""
        if not isinstance(value, str):
            return value  # a default, or parsed before
        try:
            return self._parse(value)
        except ValueError as error:
            shown = "" if self._secret else show_value(value)
            shown = f"'{shown[1:-1]}'" if shown else ""  # in quotes as click has them
            self.fail(phrase(shown, str(error)), param, ctx)


def _switch(word: str) -> bool:
    plain = word.strip().lower()
    if plain in ("1", "true", "t", "yes", "y", "on"):
        return True
    if plain in ("0", "false", "f", "no", "n", "off"):
        return False
    msg = "is neither true nor false"
    raise ValueError(msg)


def _positive(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        msg = "must be greater than zero; expected a duration such as 1m"
        raise ValueError(msg)
    return seconds


def _speed(text: str) -> float:
    slowest, fastest = SPEEDS
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not slowest <= speed <= fastest:
        msg = f"is not a number from {slowest:g} to {fastest:g}"
        raise ValueError(msg)
    return speed


def _path(text: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        msg = "is not a path; expected a path such as /metrics"
        raise ValueError(msg)
    if text in FIXED_PATHS:
        msg = "is reserved; expected another path, such as /metrics"
        raise ValueError(msg)
    return text


ADDRESS = ParsedType("address", Address.parse)
DURATION = ParsedType("duration", parse_duration)
POSITIVE_DURATION = ParsedType("duration", _positive)
SPEED = ParsedType("speed", _speed)
SWITCH = ParsedType("boolean", _switch)
PATH = ParsedType("path", _path)
DATABASE_URL = ParsedType("url", database_url, secret=True)


def switch(name: str, text: str) -> Flag:
    """A flag that is on if it has no value, or one that means true."""
    return Flag(
        name,
        type=SWITCH,
        is_flag=False,
        flag_value="true",
        default=False,
        metavar="",
        show_default="off",
        help=text,
    )


CONFIG_FILE = Flag(
    "config.file",
    type=click.Path(),
    help="YAML configuration file; without it, the BRAZE_* variables are read.",
)
STATE_FILE = Flag(
    "state.file",
    type=click.Path(),
    help="SQLite file that keeps the counters across restarts; by default they are in memory.",
)
STATE_URL = Flag(
    "state.url",
    type=DATABASE_URL,
    help="postgresql:// URL of a database that keeps the counters and is shared by several "
    "exporters, without a password; cannot be combined with --state.file.",
)
STATE_FLAGS = (STATE_FILE, STATE_URL)
LOG_FLAGS = (
    Flag(
        "log.level",
        type=click.Choice(["debug", "info", "warn", "error"]),
        default="info",
        help="Minimum log level.",
    ),
    Flag("log.format", type=click.Choice(["logfmt", "json"]), default="logfmt", help="Log format."),
)
"""The flags of every command that logs."""

WEB_FLAGS = (
    Flag(
        "web.listen-address",
        type=ADDRESS,
        multiple=True,
        default=[":10234"],
        help="Address to listen on: :PORT, HOST:PORT or [::1]:PORT; repeatable.",
    ),
    Flag(
        "web.telemetry-path",
        type=PATH,
        default="/metrics",
        help="Path under which to expose metrics.",
    ),
    Flag(
        "web.health-address",
        type=ADDRESS,
        help="Address of a second listener, without TLS or auth, for /-/healthy and /-/ready only.",
    ),
    Flag(
        "web.config.file",
        type=click.Path(),
        help="Web configuration file (exporter-toolkit): TLS, client certificates, auth, headers.",
    ),
    switch("web.enable-lifecycle", "Enable POST /-/reload."),
    Flag(
        "scrape.timeout-offset",
        type=DURATION,
        default="0.5s",
        help="Time to subtract from Prometheus' scrape timeout.",
    ),
)
"""The flags of every command that serves."""


def options(flags: Mapping[str, Any]) -> ServeOptions:
    """The options of `serve` from the values of its flags."""
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
