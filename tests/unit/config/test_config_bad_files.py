"""Bad files, each with the exact error lines that the user sees in a `.txt` file next to it."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdi_exporter.config import load_file
from cdi_exporter.errors import ConfigError

BAD = Path(__file__).parent / "testdata" / "bad"
NOBODY = 65_534
CANARY = "canary"
"""Part of each API key in the files."""

ENVIRON = {"BRAZE_KEY_EMPTY": " ", "BRAZE_KEY_SPACES": "canary 5f0c9d7e1a10"}
FILES = sorted(BAD.glob("*.yml"))


def rejection(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_file(str(path), ENVIRON)
    return caught.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_file_gives_exactly_its_messages(path: Path) -> None:
    """The errors of each file are exactly the expected ones."""
    message = str(rejection(path)).replace(f"{BAD}/", "")
    assert message + "\n" == path.with_suffix(".txt").read_text("utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_message_about_a_bad_file_shows_a_key(path: Path) -> None:
    """No error and no traceback contains a part of a key."""
    error = rejection(path)
    shown = "".join(traceback.format_exception(error)) + repr(error) + "".join(error.mistakes)
    assert CANARY not in shown.casefold()


def test_each_error_is_one_line_with_what_is_expected() -> None:
    """Each error is one line that starts with the file name and says what is expected."""
    for path in FILES:
        for mistake in rejection(path).mistakes:
            assert mistake.isprintable()
            assert mistake.startswith(f"{path}:")
            assert any(word in mistake for word in ("expected", "did you mean", "not valid YAML"))


def test_each_expected_message_has_its_bad_file() -> None:
    """Each expected message belongs to a file."""
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in FILES}


def test_a_missing_file_is_rejected_in_one_line(tmp_path: Path) -> None:
    """A missing file gives one error line."""
    path = tmp_path / "config.yml"
    assert str(rejection(path)) == (
        f"{path}: cannot be read (no such file or directory); expected a YAML file"
    )


def test_a_directory_is_rejected_in_one_line(tmp_path: Path) -> None:
    """A directory instead of a file gives one error line."""
    assert str(rejection(tmp_path)) == (
        f"{tmp_path}: cannot be read (is a directory); expected a YAML file"
    )


def test_an_unreadable_file_is_rejected_with_the_reason(tmp_path: Path) -> None:
    """A file that cannot be read gives one error line with the reason of the operating system."""
    path = tmp_path / "config.yml"
    path.symlink_to(path)
    assert str(rejection(path)) == (
        f"{path}: cannot be read (too many levels of symbolic links); expected a YAML file"
    )
    memory = Path("/proc/self/mem")
    assert str(rejection(memory)) == (
        "/proc/self/mem: cannot be read (input/output error); expected a YAML file"
    )


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's permission to read every file, if the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_read_permission_is_rejected(tmp_path: Path) -> None:
    """A file without read permission gives one error line."""
    path = tmp_path / "config.yml"
    path.touch(mode=0)
    with as_nobody():
        rejected = rejection(path)
    assert str(rejected) == (f"{path}: cannot be read (permission denied); expected a YAML file")


def test_a_device_is_not_read_as_a_file() -> None:
    """An endless device or a pipe without a writer is not read."""
    assert str(rejection(Path("/dev/zero"))) == (
        "/dev/zero: cannot be read (not a plain file); expected a YAML file"
    )


def test_an_impossible_file_name_is_escaped_in_the_message() -> None:
    """An impossible file name gives one error line, with unprintable characters escaped."""
    with pytest.raises(ConfigError) as caught:
        load_file("a\0\nb", {})
    assert str(caught.value) == (
        r"a\x00\nb: cannot be read (no possible file name); expected a YAML file"
    )


def test_aliases_that_multiply_are_rejected(tmp_path: Path) -> None:
    """Aliases that would multiply to more data than fits into memory give an error."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 15)]
    path = tmp_path / "config.yml"
    path.write_text("\n".join(lines))
    assert "repeated too often" in str(rejection(path))


def test_merge_keys_that_multiply_are_rejected(tmp_path: Path) -> None:
    """Merge keys that multiply give an error as well."""
    lines = ["a0: &a0 {}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 15)]
    path = tmp_path / "config.yml"
    path.write_text("\n".join(lines))
    assert "repeated too often" in str(rejection(path))
