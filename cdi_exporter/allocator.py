"""Configures how much freed memory the C library keeps."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3
"""The parameter of `mallopt` for the threshold, from glibc's `malloc.h`."""

LARGEST_KEPT = 320 * 1024
"""Size in bytes of the largest buffer that is kept for reuse: more than the 256 KiB that asyncio
allocates for each read from a socket, and less than a large response of the API."""


def return_large_buffers() -> None:
    """Return the memory of larger buffers to the operating system when they are freed.

    By default glibc raises the threshold to the size of the largest freed buffer, up to 32 MiB.
    After a few large responses it would keep the memory of all later ones.
    """
    with suppress(OSError, AttributeError):  # other C libraries have no such parameter
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
