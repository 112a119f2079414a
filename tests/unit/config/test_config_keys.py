"""Key files that are rotated while the exporter runs."""

import asyncio
import os
from pathlib import Path

import pytest

from cdi_exporter.config.keys import KeySource, inline_key
from cdi_exporter.config.mistakes import RedactedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("old\n")
    return path


def current(source: KeySource) -> str:
    """The key that the next request would use."""
    asyncio.run(source.refresh())
    return source.known.reveal()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_rotated_key_is_used_at_once(path: Path) -> None:
    """A new key in the same file is read, even with the same size and modification time."""
    source = KeySource(file=str(path))
    before = path.stat()
    path.write_text("new\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert current(source) == "new"


def test_a_replaced_key_file_is_noticed(path: Path, tmp_path: Path) -> None:
    """A key file that was moved over the old one is read."""
    source = KeySource(file=str(path))
    (tmp_path / "next").write_text("new")
    (tmp_path / "next").replace(path)
    assert current(source) == "new"


def test_a_swapped_symbolic_link_is_followed(tmp_path: Path) -> None:
    """Kubernetes replaces a mounted secret by swapping the symbolic link of its directory."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(version)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "key").symlink_to("..data/key")
    source = KeySource(file=str(tmp_path / "key"))
    assert current(source) == "v1"
    (tmp_path / "..tmp").symlink_to("v2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    assert current(source) == "v2"


def test_the_old_key_stays_in_use_during_a_rotation(path: Path) -> None:
    """The old key stays in use while the file is missing, empty, invalid or a directory."""
    source = KeySource(file=str(path))
    path.write_text("")
    assert current(source) == "old"
    path.write_text("two words")
    assert current(source) == "old"
    path.write_bytes(b"\xff\xfe")
    assert current(source) == "old"
    path.unlink()
    assert current(source) == "old"
    path.mkdir()
    assert current(source) == "old"
    path.rmdir()
    path.write_text("new")
    assert current(source) == "new"


def test_a_pipe_as_key_file_does_not_block(path: Path) -> None:
    """A named pipe without a writer is an error at the start; later, the old key stays in use."""
    source = KeySource(file=str(path))
    path.unlink()
    os.mkfifo(path)
    assert current(source) == "old"
    with pytest.raises(RedactedError, match="not a plain file"):
        KeySource(file=str(path))


def test_whitespace_around_a_key_is_ignored(path: Path) -> None:
    """Line ends and spaces around a key are removed, in a file and in text."""
    path.write_bytes(b" \tkey\r\n\n")
    assert current(KeySource(file=str(path))) == "key"
    assert inline_key(" key\n").known.reveal() == "key"


def test_reading_keys_leaks_no_file_descriptors(path: Path) -> None:
    """No file stays open after a key was read, or could not be read."""
    source = KeySource(file=str(path))
    before = open_files()
    path.unlink()
    path.mkdir()
    current(source)
    path.rmdir()
    path.write_text("new")
    current(source)
    assert open_files() == before


def test_key_files_are_equal_if_their_paths_are(path: Path) -> None:
    """Only sources with the same path are equal, and none shows its path."""
    source, same = KeySource(file=str(path)), KeySource(file=str(path))
    assert source == same
    assert hash(source) == hash(same)
    assert source != inline_key("old")
    assert str(path) not in repr(source)


MARKED = {
    "UTF-8": b"\xef\xbb\xbfnew\r\n",
    "UTF-16, little end first": "\ufeffnew\r\n".encode("utf-16-le"),
    "UTF-16, big end first": "\ufeffnew\n".encode("utf-16-be"),
}


@pytest.mark.parametrize("form", MARKED)
def test_a_byte_order_mark_in_a_key_file_is_ignored(form: str, path: Path) -> None:
    """Editors on Windows write one. It is ignored at the start and after a rotation."""
    source = KeySource(file=str(path))
    path.write_bytes(MARKED[form])
    assert current(source) == "new"
    assert source.problem is None
    assert current(KeySource(file=str(path))) == "new"


def test_a_byte_order_mark_in_the_environment_is_ignored() -> None:
    assert inline_key("\ufeffkey").known.reveal() == "key"


def test_the_problem_of_a_rotated_key_is_reported_while_the_old_one_is_in_use(path: Path) -> None:
    """Each problem names the file and shows no part of its content."""
    source = KeySource(file=str(path))
    assert source.problem is None
    problems = {
        b"": "is empty",
        b"canary key": "contains spaces",
        b"\xff\xfecanary\xd8": "is not text",
        b"\xef\xbb\xbf": "is empty",
        b"c" * 5000: "is longer than 4096 characters",
        b"\xff\xfe": "is empty",
    }
    for content, problem in problems.items():
        path.write_bytes(content)
        assert current(source) == "old"
        assert str(path) in str(source.problem)
        assert problem in str(source.problem)
        assert "canary" not in str(source.problem)
    path.unlink()
    assert current(source) == "old"
    assert source.problem == (
        f'the file "{path}" cannot be read (no such file or directory); expected a file that '
        "contains the key"
    )
    path.write_text("new")
    assert current(source) == "new"
    assert source.problem is None


def test_a_path_that_looks_like_a_key_is_not_shown() -> None:
    """The user may have configured the key itself instead of a file."""
    key = "0f9b1c3e-55aa-4c1e-9d57-0123456789ab"
    with pytest.raises(RedactedError) as caught:
        KeySource(file=key)
    assert key not in str(caught.value)
