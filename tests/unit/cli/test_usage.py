"""Output of the command line for help and usage errors."""

import pytest
from structlog.testing import capture_logs

from cdi_exporter.cli import COMMANDS, main
from cdi_exporter.cli.serve_command import warn_of_endpoints
from cdi_exporter.config import Settings
from tests.harness import workspace


def run_command(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[object, str]:
    """The exit status and the output."""
    status: object = 0
    try:
        main(args)
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.mark.parametrize("args", [["-h"], ["--help"], ["check", "-h"], ["metrics", "-h"]])
def test_help_has_a_short_form(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    status, text = run_command(capsys, *args)
    assert status == 0
    assert text.startswith("Usage: ")


def test_the_list_of_commands_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command is listed with its full description."""
    _, text = run_command(capsys, "--help")
    commands = text.partition("Commands:")[2].partition("Flags of serve:")[0]
    assert all(f"\n  {name} " in commands for name in COMMANDS)
    assert "..." not in commands


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'? (see cdi-exporter --help)"),
        (["check", "--format=json"], "No such option '--format'. (see cdi-exporter check --help)"),
        (
            ["check", "--log.fromat=json"],
            (
                "No such option '--log.fromat'. Did you mean '--log.format'? "
                "(see cdi-exporter check --help)"
            ),
        ),
    ],
)
def test_a_misspelt_command_suggests_the_likely_one(
    capsys: pytest.CaptureFixture[str], args: list[str], expected: str
) -> None:
    """The error is one line, with exit status 2. Nothing is suggested if no name is similar."""
    assert run_command(capsys, *args) == (2, f"cdi-exporter: {expected}\n")


def test_a_dashboard_url_as_endpoint_is_logged_at_startup() -> None:
    """The warning contains the REST endpoint of the cluster."""
    wrong = workspace("a", endpoint="https://dashboard-03.braze.com")
    right = workspace("b", endpoint="https://rest.iad-03.braze.com")
    with capture_logs() as logs:
        warn_of_endpoints(Settings((wrong, right)))
    (line,) = logs
    assert (line["event"], line["workspace"]) == ("wrong endpoint configured", "a")
    assert line["problem"].endswith("that of its cluster is rest.iad-03.braze.com")
