"""Files that are read again while the program runs: replaced, broken, or on a mount that hangs."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdi_exporter import files
from cdi_exporter.files import Files, Watched, read_plain, read_within
from cdi_exporter.threads import start

SAFETY = 30.0
"""Seconds after which a test assumes that something hangs."""


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Mount:
    """A file on a mount that can be made to hang."""

    def __init__(self) -> None:
        self.content, self.reads, self.at_once, self.most_at_once = b"one", 0, 0, 0
        self._answers = threading.Event()
        self._answers.set()

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def load(self, several: Files) -> bytes:
        """The content of the file, once the mount responds."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._answers.wait(SAFETY)
        self.at_once -= 1
        self.reads += 1
        return self.content


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    """A mount whose file is read again by each check."""
    monkeypatch.setattr(Files, "changed", lambda _: True)
    found = Mount()
    yield found
    found.answer()


def text_of(several: Files, path: Path) -> str:
    return several.read(str(path)).decode()


def watched(path: Path) -> Watched[str]:
    return Watched(lambda several: text_of(several, path))


def now(source: Watched[str]) -> str | None:
    """The value after a check, in an event loop."""

    async def check() -> str | None:
        await source.refresh(SAFETY)
        return source.value

    return asyncio.run(check())


def test_a_changed_file_is_noticed_by_the_next_check(tmp_path: Path) -> None:
    """The file is overwritten, replaced, or becomes a link to another file."""
    path = tmp_path / "file"
    path.write_text("one")
    source = watched(path)
    assert now(source) == "one"
    path.write_text("two")
    assert now(source) == "two"
    (tmp_path / "next").write_text("three")
    (tmp_path / "next").replace(path)
    assert now(source) == "three"
    (tmp_path / "other").write_text("four")
    path.unlink()
    path.symlink_to("other")
    assert now(source) == "four"


def test_two_writes_with_the_same_times_are_both_seen(tmp_path: Path) -> None:
    """Within a tick of the file system's clock, two writes can have the same time and size."""
    path = tmp_path / "file"
    path.write_text("one")
    source = watched(path)
    assert now(source) == "one"
    signature = files._signature(str(path))
    path.write_text("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_signature", lambda _: signature)
        assert now(source) == "two"


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read until two writes can no longer have the same time.

    Then it is not read again.
    """
    path, clock, reads = tmp_path / "file", [100.0], []
    path.write_text("one")

    def read(path: str, most: int = 0) -> bytes:
        reads.append(path)
        return Path(path).read_bytes()

    monkeypatch.setattr(files, "monotonic", lambda: clock[0])
    monkeypatch.setattr(files, "read_plain", read)
    several = Files()
    several.read(str(path))
    for _ in range(3):
        assert not several.changed()
    assert len(reads) == 4
    clock[0] += files.SETTLES_AFTER
    for _ in range(3):
        assert not several.changed()
    assert len(reads) == 5
    path.write_text("two, and longer")
    assert several.changed()


def test_the_last_valid_content_stays_while_the_file_is_broken(tmp_path: Path) -> None:
    """The reason is kept until the file is valid again."""
    path = tmp_path / "file"
    path.write_text("one")
    source = watched(path)
    assert (now(source), source.problem) == ("one", None)
    path.write_bytes(b"\xff")
    assert now(source) == "one"
    assert isinstance(source.problem, UnicodeDecodeError)
    path.unlink()
    assert now(source) == "one"
    assert isinstance(source.problem, FileNotFoundError)
    path.write_text("one")
    assert (now(source), source.problem) == ("one", None)


def test_only_the_first_check_waits_for_a_hanging_file(mount: Mount) -> None:
    """Later checks use the last value at once. The new value is used when the mount responds."""
    source = Watched(mount.load)

    async def main() -> list[bytes | None]:
        await source.refresh(SAFETY)
        mount.hang()
        mount.content = b"two"
        found = []
        for _ in range(500):
            await source.refresh()
            found.append(source.value)
        mount.answer()
        await source.refresh(SAFETY)
        found.append(source.value)
        return found

    started = time.monotonic()
    assert asyncio.run(main()) == [b"one"] * 500 + [b"two"]
    assert time.monotonic() - started < SAFETY
    assert mount.most_at_once == 1
    assert mount.reads == 2


def test_a_file_that_hangs_for_a_while_is_reported_as_a_problem(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem ends when the mount responds."""
    source = Watched(mount.load)
    source.wait(SAFETY)
    mount.hang()
    source.wait(0.01)
    assert source.problem is None
    monkeypatch.setattr(files, "FIRST_PATIENCE", 0.01)
    time.sleep(0.02)
    assert "no answer within" in str(source.problem)
    mount.answer()
    source.wait(SAFETY)
    assert source.problem is None


def test_a_file_that_hangs_does_not_block_the_event_loop(mount: Mount) -> None:
    """The event loop keeps running, however many files hang."""
    mount.hang()
    sources = [Watched(mount.load) for _ in range(50)]

    async def main() -> int:
        ticks = 0
        checks = asyncio.gather(*(source.refresh(0.2) for source in sources))
        while not checks.done():
            await asyncio.sleep(0.001)
            ticks += 1
        return ticks

    assert asyncio.run(main()) > 10


def test_the_check_after_a_cancelled_one_gets_its_result(mount: Mount) -> None:
    """The thread of the cancelled check finishes. The next check uses its result."""
    mount.hang()
    source = Watched(mount.load)

    async def main() -> bytes | None:
        task = asyncio.create_task(source.refresh(SAFETY))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        mount.answer()
        await source.refresh(SAFETY)
        return source.value

    assert asyncio.run(main()) == b"one"


def test_a_read_that_takes_too_long_is_an_error(mount: Mount) -> None:
    """This applies to files that must be read before anything else can be done."""
    mount.hang()
    with pytest.raises(OSError, match="no answer within") as caught:
        read_within(lambda: mount.load(Files()), 0.01)
    assert files.reason_of(caught.value).startswith("no answer within")
    assert read_within(lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        read_within(lambda: read_plain("/no/such/file"))


def test_a_thread_that_cannot_be_started_is_reported_as_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container can limit the number of threads."""
    path = tmp_path / "file"
    path.write_text("one")
    source = watched(path)
    assert now(source) == "one"
    path.write_text("two")

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert now(source) == "one"
        assert "can't start new thread" in str(source.problem)
    assert (now(source), source.problem) == ("two", None)


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "socket"])
def test_a_path_that_is_not_a_regular_file_does_not_block(kind: str, tmp_path: Path) -> None:
    """Opening a pipe without a writer would block. Reading a device would not end."""
    path = tmp_path / kind
    listening = socket.socket(socket.AF_UNIX)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case _:
            listening.bind(str(path))
    before = open_files()
    with pytest.raises(OSError, match=r".") as caught:
        read_plain(str(path))
    assert files.reason_of(caught.value)
    assert open_files() == before
    listening.close()


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    """The read of a dead mount never returns. The process ends all the same."""
    program = (
        "import asyncio, threading\n"
        "from cdi_exporter.files import Watched\n"
        "never = threading.Event()\n"
        "async def main():\n"
        "    source = Watched(lambda files: never.wait())\n"
        "    await source.refresh()\n"
        "    print('done')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=SAFETY
    )
    assert done.stdout == "done\n"


def test_an_error_in_a_thread_is_raised_with_its_result() -> None:
    with pytest.raises(ZeroDivisionError):
        start(lambda: 1 / 0).result(SAFETY)
