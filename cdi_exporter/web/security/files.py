"""The files that a configuration was read from, and whether they have changed since."""

import hashlib
import os
import stat

MOST_BYTES = 10 * 2**20


class Files:
    """What was read, as digests: a key stays in memory no longer than it must."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes:
        """The content of a file. Raises OSError, ValueError where no file can have the name."""
        self._digests[path] = None
        content = _content(path)
        self._digests[path] = _digest(content)
        return content

    def changed(self) -> bool:
        """Whether any file reads differently now.

        Each is read again: two writes within one tick of the file system's clock leave no
        other trace. A symbolic link is followed each time, since Kubernetes swaps the link.
        """
        return any(_digest_now(path) != digest for path, digest in self._digests.items())


def _content(path: str) -> bytes:
    """The first bytes of a plain file; never waits, as reading a pipe would."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor, not a path
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return file.read(MOST_BYTES + 1)
    reason = "Not a plain file"
    raise OSError(0, reason)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _digest_now(path: str) -> bytes | None:
    try:
        return _digest(_content(path))
    except (OSError, ValueError):
        return None
