"""Certificates and keys in PEM form, as OpenSSL takes them."""

import codecs
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


def without_mark(content: bytes) -> bytes:
    """The content without a byte order mark, which editors on Windows write; UTF-16 as UTF-8.

    Raises ValueError if what follows the mark is not UTF-16.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def client_context() -> ssl.SSLContext:
    """How to connect to a server; it trusts nothing before `trust` is called."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    # The same with each version of Python: from 3.13 on its defaults refuse the CAs of many
    # companies (VERIFY_X509_STRICT: basicConstraints that are not critical, for one), and
    # accept an issuing CA without its root (VERIFY_X509_PARTIAL_CHAIN), which is useful.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def trust(context: ssl.SSLContext, certificates: bytes) -> None:
    """Trust certificates that are given as PEM; raises ValueError for none, or a broken one."""
    try:
        with as_file(without_mark(certificates)) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        msg = "contains no PEM certificates, or a damaged one"
        raise ValueError(msg) from error


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A path that has the content while it is needed, for this user only.

    OpenSSL reads certificates and keys from files only. Where the system has files in memory,
    nothing is written to a disk.
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
