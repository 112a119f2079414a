"""The command line of a backfill: its errors and its output streams."""

import sys
from io import StringIO
from pathlib import Path

import pytest

from cdi_exporter.cli import main
from cdi_exporter.cli.backfill_command import Stderr

KEY = "key-of-the-command"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace at an address that refuses connections: no test here may send it a request."""
    monkeypatch.setenv("BRAZE_REST_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("BRAZE_API_KEY", KEY)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--since=yesterday"],
            "expected a duration ago such as 30d, or a time such as 2026-09-01T00:00:00Z",
        ),
        (
            ["--label=job"],
            "expected name=value, such as job=braze-cdi",
        ),
        (["--step=2h"], "--step=2h: expected whole seconds, from 1s to 1h"),
        (
            ["--since=1h", "--until=2h"],
            "--since=1h --until=2h: the range contains no sample at a step of 4m",
        ),
        (
            ["--label=job=a", "--label=job=b"],
            "--label: job is given more than once",
        ),
        (["--unit=4m"], "No such option '--unit'."),
    ],
)
def test_a_configuration_error_is_one_line_and_creates_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], line: str
) -> None:
    """The exit status is 2, and no work was started."""
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main(["backfill", f"--output={output}", *flags])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    (found,) = printed.err.splitlines()
    assert found.startswith("cdi-exporter: ")
    assert line in found
    assert printed.out == ""
    assert not output.exists()


def test_a_configuration_error_is_reported_as_by_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the file, the line and the key, with the same exit status."""
    config = tmp_path / "config.yml"
    config.write_text("workspaces: [{name: a, api_key: x}]\n")
    with pytest.raises(SystemExit) as caught:
        main(["backfill", f"--config.file={config}", f"--output={tmp_path / 'out'}"])
    assert caught.value.code == 2
    assert "config.yml:1: workspaces[0].endpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unusable_folder_is_one_line_of_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(["backfill", f"--output={tmp_path / 'file' / 'out'}"])
    assert caught.value.code == 1
    printed = capsys.readouterr().err.splitlines()
    assert printed == [f"cdi-exporter: {tmp_path / 'file' / 'out'} cannot be used: Not a directory"]


def test_log_lines_are_written_to_the_current_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress bar replaces stderr to keep log lines above itself."""
    stream = Stderr()
    bar = StringIO()
    monkeypatch.setattr(sys, "stderr", bar)
    stream.write("warning\n")
    stream.flush()
    assert bar.getvalue() == "warning\n"
