"""PEM text as a file, since OpenSSL reads certificates and keys from files alone."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A path that has the content while it is needed, for this user alone.

    Where the system has files in memory, nothing is written to a disk.
    """
    with _memory_file() or tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        named = isinstance(file.name, str)
        yield file.name if named else f"/proc/self/fd/{file.fileno()}"


def _memory_file() -> BinaryIO | None:
    try:
        return os.fdopen(os.memfd_create("pem", os.MFD_CLOEXEC), "w+b")
    except (AttributeError, OSError):  # not Linux, or forbidden
        return None
