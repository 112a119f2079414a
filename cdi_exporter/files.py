"""Reads files that may be replaced while the exporter runs, or be on a mount that hangs.

Files are never read in the event loop, but in separate threads. Each function documents how long
it waits for them. If a file cannot be read, its last valid content stays in use.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from cdi_exporter.threads import start

MOST_BYTES = 10 * 2**20
"""Size limit of a file that is read. Configurations and certificate bundles are far smaller."""

FOR_ITS_OWNER = 0o600
"""Mode of a new file. State files contain names of integrations and numbers of rows."""

READER = "file-reader"
"""Name of the threads that read files."""

PATIENCE = 0.2
"""Seconds to wait for a file before each use: enough for a local disk, short for a scrape."""

FIRST_PATIENCE = 5.0
"""Seconds to wait for a file that was never read, and after which the file system counts as
hanging. A slow network mount needs less."""

SETTLES_AFTER = 2.0
"""Seconds after which every write changes the times of a file: the coarsest file systems store
times in steps of 2 s."""

Result = TypeVar("Result")
Value = TypeVar("Value")
Signature = tuple[int, int, int, int, int]


def read_within(read: Callable[[], Result], seconds: float = FIRST_PATIENCE) -> Result:
    """The result of `read`, called in another thread. Raises OSError if it takes too long."""
    try:
        return start(read, READER).result(seconds)
    except FutureTimeout:
        raise _hangs() from None


def read_plain(path: str, most: int = MOST_BYTES + 1) -> bytes:
    """The first bytes of a regular file. Raises OSError for a pipe or device, which could block."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            reason = "Not a plain file"
            raise OSError(0, reason)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)


def reason_of(error: Exception) -> str:
    """Why a file could not be read, as the operating system reports it."""
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return "not a possible file name" if isinstance(error, ValueError) else str(error)


def _hangs() -> OSError:
    return OSError(0, f"no answer within {FIRST_PATIENCE:g} s")


@dataclass(slots=True)
class _Seen:
    """The state of a path when it was read. Keeps a digest, because the content may be a key."""

    read: Callable[[str], bytes]
    signature: Signature | None
    digest: bytes | None
    since: float
    settled: bool = False
    """Whether any later write would change the signature."""


class Files:
    """A set of files that were read, and whether they have changed since."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def read(self, path: str, most: int = MOST_BYTES + 1) -> bytes:
        """The first bytes of a file. Raises OSError, or ValueError for an impossible name."""
        return self._read(path, partial(read_plain, most=most))

    def names(self, path: str) -> list[str]:
        """The sorted names in a directory. Raises OSError or ValueError."""
        return os.fsdecode(self._read(path, _names)).split("\0")

    def changed(self) -> bool:
        """Whether the content of any file has changed.

        A file is compared by its content while it might be written again with the same times, and
        by its times and size after that. Symbolic links are followed, since Kubernetes replaces
        them.
        """
        return any(self._changed(path, seen) for path, seen in self._seen.items())

    def _read(self, path: str, read: Callable[[str], bytes]) -> bytes:
        seen = self._seen[path] = _Seen(read, _signature(path), None, monotonic())
        content = read(path)
        seen.digest = hashlib.sha256(content).digest()
        return content

    def _changed(self, path: str, seen: _Seen) -> bool:
        signature = _signature(path)
        if signature == seen.signature and seen.settled:
            return False
        now = monotonic()
        try:
            digest = hashlib.sha256(seen.read(path)).digest()
        except (OSError, ValueError):
            digest = None
        if digest != seen.digest:
            return True
        if signature != seen.signature:
            seen.signature, seen.since, seen.settled = signature, now, False
        else:
            seen.settled = now - seen.since >= SETTLES_AFTER
        return False


def _names(path: str) -> bytes:
    names = os.listdir(path)  # noqa: PTH208 -- Path("") would be another directory
    return b"\0".join(sorted(map(os.fsencode, names)))


def _signature(path: str) -> Signature | None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- Path("") would be another file
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Watched(Generic[Value]):
    """A value that is loaded from files, and loaded again when they have changed.

    `load` creates the value. The files that it reads with its `Files` argument are watched. If it
    raises an error, the previous value stays in use.
    """

    def __init__(self, load: Callable[[Files], Value]) -> None:
        self._load = load
        self._files: Files | None = None
        self._check: Future[None] | None = None
        self._started = 0.0
        self._problem: Exception | None = None
        self.value: Value | None = None
        """The last value that was loaded; None before the first success."""

    @property
    def problem(self) -> Exception | None:
        """Why the newest content cannot be used; None if it is in use."""
        running = self._check is not None and not self._check.done()
        if running and monotonic() - self._started >= FIRST_PATIENCE:
            return _hangs()
        return self._problem

    def wait(self, seconds: float = PATIENCE) -> None:
        """Check the files, and wait at most `seconds`. Blocks: not for the event loop."""
        check = self._start_check()
        with suppress(FutureTimeout):
            check.result(self._time_left(seconds))

    async def refresh(self, seconds: float = PATIENCE) -> None:
        """Check the files, and wait at most `seconds`. A longer check continues in its thread."""
        check = self._start_check()
        if check.done() or self._time_left(seconds) <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._time_left(seconds)):
                await asyncio.wrap_future(check)

    def _time_left(self, seconds: float) -> float:
        """The time left to wait: only the first caller waits for a check that hangs."""
        return max(0.0, seconds - (monotonic() - self._started))

    def _start_check(self) -> Future[None]:
        """Start a check, unless one is running."""
        if self._check is None or self._check.done():
            self._started = monotonic()
            self._check = start(self._check_files, READER)
            if self._check.done() and (error := self._check.exception()):
                self._problem = error if isinstance(error, Exception) else None
        return self._check

    def _check_files(self) -> None:
        if self._files is not None and not self._files.changed():
            return
        files = Files()
        try:
            self.value = self._load(files)
        except Exception as error:  # noqa: BLE001 -- after any error the previous value stays in use
            self._problem = error
        else:
            self._problem = None
        finally:
            self._files = files
