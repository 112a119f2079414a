"""Flags of the commands: their documentation and their environment variables."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cdi_exporter.cli import cli
from cdi_exporter.cli.flags import MOST_REPEATS

COMMANDS = cli.every_command()
PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
FLAGS = [
    pytest.param(name, each, id=f"{name} {each.opts[0]}")
    for name, command in COMMANDS.items()
    for each in command.params
    if isinstance(each, click.Option) and each.name != "version"
]
SAMPLES = {
    "address": "127.0.0.1:4711",
    "boolean": "true",
    "directory": "elsewhere",
    "duration": "7s",
    "file": "elsewhere",
    "float": "7.5",
    "speed": "7.5",
    "integer": "7",
    "integer range": "7",
    "label": "job=braze",
    "moment": "7d",
    "path": "/elsewhere",
    "text": "something",
    "url": "postgresql://cdi@db.example.com/cdi",
}
"""A value other than the default, by the type of the flag."""


SERVE = {flag for each in COMMANDS["serve"].params for flag in each.opts}


def variable(command: str, flag: str) -> str:
    """The environment variable of a flag. If `serve` lacks the flag, it contains the command."""
    prefix = "" if flag in SERVE else f"{command}_"
    words = prefix + flag.removeprefix("--")
    return "CDI_EXPORTER_" + words.upper().replace(".", "_").replace("-", "_")


def sample(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return next(str(each) for each in option.type.choices if each != option.default)
    return SAMPLES[option.type.name]


def value(command: str, option: click.Option, *args: str) -> object:
    """The value that the command gets for a flag."""
    context = COMMANDS[command].make_context(command, list(args), resilient_parsing=False)
    with context:
        return context.params[str(option.name)]


@pytest.mark.parametrize(("command", "option"), FLAGS)
def test_each_flag_is_on_the_reference_page(command: str, option: click.Option) -> None:
    """The page lists each flag of each command, with its variable and its help."""
    (flag,) = option.opts
    page = PAGE.read_text("utf-8")
    assert f"### `{command}`\n" in page
    assert f"| `{flag}` | `{variable(command, flag)}` |" in page
    section = page.split(f"### `{command}`\n")[1].split("\n### ")[0]
    assert f"`{flag}`" in section
    assert option.help
    assert option.help in page


@pytest.mark.parametrize(("command", "option"), FLAGS)
def test_each_flag_can_be_set_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, command: str, option: click.Option
) -> None:
    """A value in CDI_EXPORTER_<FLAG> has the same effect as one on the command line."""
    (flag,) = option.opts
    monkeypatch.delenv(variable(command, flag), raising=False)
    args = [flag] if option.is_flag else [flag, sample(option)]
    default, given = value(command, option), value(command, option, *args)
    assert given != default, "the sample must differ from the default"
    monkeypatch.setenv(variable(command, flag), sample(option))
    assert value(command, option) == given


def test_one_environment_works_for_every_command() -> None:
    """A variable has the same meaning for all commands."""
    meanings: dict[str, set[tuple[str, str]]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            # `healthcheck` reads flags of `serve` with its own types, to start quickly.
            if (
                isinstance(option, click.Option)
                and isinstance(option.envvar, str)
                and (command.name != "healthcheck")
            ):
                meaning = (str(option.name), str(option.type.name))
                meanings.setdefault(option.envvar, set()).add(meaning)
    assert {each: found for each, found in meanings.items() if len(found) > 1} == {}


def test_flags_override_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDI_EXPORTER_WEB_TELEMETRY_PATH", "/from-environment")
    command = COMMANDS["serve"]
    with command.make_context("serve", ["--web.telemetry-path=/from-flag"]) as context:
        assert context.params["web_telemetry_path"] == "/from-flag"


def test_a_repeatable_flag_takes_several_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its variable the values are separated by spaces."""
    monkeypatch.setenv("CDI_EXPORTER_WEB_LISTEN_ADDRESS", ":4711 [::1]:4712")
    command = COMMANDS["serve"]
    with command.make_context("serve", []) as from_variable:
        several = from_variable.params["web_listen_address"]
    args = ["--web.listen-address", ":4711", "--web.listen-address", "[::1]:4712"]
    with command.make_context("serve", args) as from_flags:
        assert from_flags.params["web_listen_address"] == several
    assert len(several) == 2


WRONG = {
    "--scrape.timeout-offset": "soon",
    "--web.listen-address": "host",
    "--web.telemetry-path": "no path",
    "--web.enable-lifecycle": "perhaps",
}


@pytest.mark.parametrize("flag", WRONG)
def test_a_wrong_value_is_shown_in_the_message(flag: str) -> None:
    """The message names the flag. A value that looks like a key is not shown."""

    def message(given: str) -> str:
        with pytest.raises(click.UsageError) as caught:
            COMMANDS["serve"].make_context("serve", [f"{flag}={given}"])
        return caught.value.format_message()

    assert f"'{flag}'" in message(WRONG[flag])
    assert f"'{WRONG[flag]}'" in message(WRONG[flag])
    key = "0f9b1c3e-55aa-4c1e-9d57-0123456789ab"
    assert key not in message(key)


def test_a_flag_can_be_repeated_at_most_a_hundred_times() -> None:
    """Each value is a socket, a label of every sample, or a pattern for every name."""
    for command, flag in (
        ("serve", "--web.listen-address=:1"),
        ("backfill", "--include=a"),
        ("backfill", "--label=a=b"),
    ):
        result = CliRunner().invoke(cli, [command, *([flag] * (MOST_REPEATS + 1))])
        assert result.exit_code == 2
        assert "given 101 times; expected at most 100" in result.output


@pytest.mark.parametrize("command", ["serve", "metrics"])
def test_a_state_file_and_a_database_cannot_be_combined(command: str) -> None:
    """The error is one line, with exit status 2. A variable counts like a flag."""
    url = "--state.url=postgresql://cdi@db.example.com/cdi"
    given = CliRunner().invoke(cli, [command, "--state.file=state.sqlite", url])
    variable = {"CDI_EXPORTER_STATE_FILE": "state.sqlite"}
    half = CliRunner().invoke(cli, [command, url], env=variable)
    for result in (given, half):
        assert result.exit_code == 2
        assert "--state.file and --state.url cannot be combined" in result.output


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://cdi:canary@db.example.com/cdi", "contains a password"),
        ("postgresql://db.example.com/cdi?user=cdi&password=canary", "contains a password"),
        ("mysql://cdi:canary@db.example.com/cdi", "does not start with postgresql://"),
        ("canary", "does not start with postgresql://"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check", "metrics"])
def test_a_url_with_a_password_is_refused(command: str, url: str, problem: str) -> None:
    """The error is one line, with exit status 2.

    The URL may contain a password and is not shown.
    """
    result = CliRunner().invoke(cli, [command, f"--state.url={url}"])
    assert result.exit_code == 2
    assert problem in result.output
    assert "--state.url" in result.output
    assert "canary" not in result.output
