"""Loads PEM certificates and keys into OpenSSL, and creates TLS contexts for clients."""

import codecs
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


def without_mark(content: bytes) -> bytes:
    """The content without the byte order mark of Windows editors. UTF-16 is converted to UTF-8.

    Raises ValueError if the content has the mark of UTF-16 but is invalid.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def client_context() -> ssl.SSLContext:
    """A context for connections to a server. Without `trust`, it trusts no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    # Behave the same with each version of Python. By default, Python 3.13 and newer reject the
    # CAs of many companies (VERIFY_X509_STRICT, for example if basicConstraints is not critical).
    # They also accept an issuing CA without its root (VERIFY_X509_PARTIAL_CHAIN), which is useful.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def trust(context: ssl.SSLContext, certificates: bytes) -> None:
    """Trust PEM certificates. Raises ValueError if there is none, or an invalid one."""
    try:
        with as_file(without_mark(certificates)) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        msg = "contains no PEM certificates, or a damaged one"
        raise ValueError(msg) from error


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A temporary file with the content, readable only by this user.

    OpenSSL reads certificates and keys only from files. On Linux the file is only in memory.
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
