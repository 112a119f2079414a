"""Files that are read while the exporter runs: they may be replaced, or be on a mount that hangs.

A file is never read on the event loop: each read has a thread of its own, which nothing waits
for longer than it says. What was read last stays in use until something better is there.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from cdi_exporter.threads import start

MOST_BYTES = 10 * 2**20
"""The largest file that is read: configurations and bundles of certificates are far smaller."""

FOR_ITS_OWNER = 0o600
"""The mode of a new file: it has the names of integrations and how many rows they have."""

READER = "file-reader"
"""The name of the threads that read files."""

PATIENCE = 0.2
"""Seconds to wait for a file before each use: enough for a local disk, hardly felt in a scrape."""

FIRST_PATIENCE = 5.0
"""Seconds to wait for a file of which nothing is known yet, and after which a file counts as
one that hangs: a slow network mount answers in less."""

SETTLES_AFTER = 2.0
"""Seconds after which the times of a file tell whether it was written: the coarsest file
systems count in steps of 2 s."""

Result = TypeVar("Result")
Value = TypeVar("Value")
Signature = tuple[int, int, int, int, int]


def read_within(read: Callable[[], Result], seconds: float = FIRST_PATIENCE) -> Result:
    """What `read` gives, in another thread; raises OSError if that takes too long."""
    try:
        return start(read, READER).result(seconds)
    except NotYet:
        raise _hangs() from None


def read_plain(path: str, most: int = MOST_BYTES + 1) -> bytes:
    """The first bytes of a regular file; opening a pipe or a device would wait."""
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
    """Why a file could not be read, in the system's words."""
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return "not a possible file name" if isinstance(error, ValueError) else str(error)


def _hangs() -> OSError:
    return OSError(0, f"no answer within {FIRST_PATIENCE:g} s")


@dataclass(slots=True)
class _Seen:
    """What was found at a path: digests, so that a key is kept no longer than needed."""

    take: Callable[[str], bytes]
    signature: Signature | None
    digest: bytes | None
    since: float
    settled: bool = False
    """Whether the content was read after two writes could have had the same times."""


class Files:
    """The files that something was read from, and whether they have changed since."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def read(self, path: str, most: int = MOST_BYTES + 1) -> bytes:
        """The first bytes of a file. Raises OSError, and ValueError for an impossible name."""
        return self._read(path, partial(read_plain, most=most))

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted. Raises OSError, ValueError."""
        return os.fsdecode(self._read(path, _names)).split("\0")

    def changed(self) -> bool:
        """Whether any file reads differently now.

        While a file may have been written twice within one tick of the file system's clock it
        is read again; after that its times and size tell. A symbolic link is followed each
        time, since Kubernetes swaps the link.
        """
        return any(self._changed(path, seen) for path, seen in self._seen.items())

    def _read(self, path: str, take: Callable[[str], bytes]) -> bytes:
        seen = self._seen[path] = _Seen(take, _signature(path), None, monotonic())
        content = take(path)
        seen.digest = hashlib.sha256(content).digest()
        return content

    def _changed(self, path: str, seen: _Seen) -> bool:
        signature = _signature(path)
        if signature == seen.signature and seen.settled:
            return False
        now = monotonic()
        try:
            digest = hashlib.sha256(seen.take(path)).digest()
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
    """A value that is read from files, and read again when they have changed.

    `load` makes the value; what it reads with the given `Files` is watched. If it raises an
    error, the value that was read last stays.
    """

    def __init__(self, load: Callable[[Files], Value]) -> None:
        self._load = load
        self._files: Files | None = None
        self._check: Future[None] | None = None
        self._began = 0.0
        self._problem: Exception | None = None
        self.value: Value | None = None
        """What was read last; None before the first success."""

    @property
    def problem(self) -> Exception | None:
        """Why the newest content is not in use; None if it is."""
        under_way = self._check is not None and not self._check.done()
        if under_way and monotonic() - self._began >= FIRST_PATIENCE:
            return _hangs()
        return self._problem

    def wait(self, seconds: float = PATIENCE) -> None:
        """Look at the files, for so long at most. Not on the event loop."""
        check = self._look_soon()
        with suppress(NotYet):
            check.result(self._left(seconds))

    async def refresh(self, seconds: float = PATIENCE) -> None:
        """Look at the files, for so long at most; a look that takes longer goes on."""
        check = self._look_soon()
        if check.done() or self._left(seconds) <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._left(seconds)):
                await asyncio.wrap_future(check)

    def _left(self, seconds: float) -> float:
        """A look that hangs is waited for once, not before each request."""
        return max(0.0, seconds - (monotonic() - self._began))

    def _look_soon(self) -> Future[None]:
        """The look that is under way, at most one at a time, or a new one."""
        if self._check is None or self._check.done():
            self._began = monotonic()
            self._check = start(self._look, READER)
            if self._check.done() and (error := self._check.exception()):
                self._problem = error if isinstance(error, Exception) else None
        return self._check

    def _look(self) -> None:
        if self._files is not None and not self._files.changed():
            return
        files = Files()
        try:
            self.value = self._load(files)
        except Exception as error:  # noqa: BLE001 -- whatever it is, what was read last stays
            self._problem = error
        else:
            self._problem = None
        finally:
            self._files = files
