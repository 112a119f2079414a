"""How the C library's allocator keeps memory that was freed."""

import ctypes
from contextlib import suppress

M_MMAP_THRESHOLD = -3
"""A parameter of `mallopt`, from glibc's `malloc.h`."""

LARGEST_KEPT = 320 * 1024
"""Bytes of a buffer that may be kept for reuse: more than the 256 KiB that asyncio allocates for
each read of a socket, and less than a large answer of the API."""


def return_large_buffers() -> None:
    """Give the memory of larger buffers back to the system as soon as they are freed.

    By default glibc raises this limit, up to 32 MiB, to the size of the largest buffer that was
    freed: after a few large answers it keeps the memory of the following ones for good.
    """
    with suppress(OSError, AttributeError):  # other C libraries have no such limit
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
