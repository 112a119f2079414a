"""The certificates that connections to Braze trust: those of a file, or the system's.

The system's are those of OpenSSL: SSL_CERT_FILE and SSL_CERT_DIR, else the paths that it was
built with. They are read here, and not by OpenSSL, so that a handshake reads no files.
"""

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cdi_exporter.files import Files, Watched, reason_of
from cdi_exporter.pem import client_context, trust

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The files of a directory that OpenSSL looks into."""


class Trust:
    """The certificates to trust, read again when they have been replaced.

    `ca_file` None means the system's. Each state of the files has a context of its own.
    """

    def __init__(self, ca_file: str | None, environ: Mapping[str, str]) -> None:
        self._ca_file, self._environ = ca_file, environ
        self._what = f"ca_file ({ca_file})" if ca_file else "the system's certificates"
        self._watched = Watched(self._load)

    @property
    def from_file(self) -> bool:
        """Whether somebody has said which certificates to trust."""
        paths = ssl.get_default_verify_paths()
        variables = (paths.openssl_cafile_env, paths.openssl_capath_env)
        return bool(self._ca_file or any(map(self._environ.get, variables)))

    @property
    def problem(self) -> str | None:
        """Why the newest certificates are not in use; None if they are."""
        problem = self._watched.problem
        if problem is None:
            return None
        if isinstance(problem, ValueError):  # from here, with the name of the file
            return str(problem)
        return f"{self._what}: {reason_of(problem)}"

    async def context(self, seconds: float) -> ssl.SSLContext | None:
        """The newest context that is known after so many seconds at most; None before any."""
        await self._watched.refresh(seconds)
        return self._watched.value

    def _load(self, files: Files) -> ssl.SSLContext:
        context = client_context()
        if self._ca_file:
            _trust_file(context, files, self._ca_file, self._what)
            return context
        paths = ssl.get_default_verify_paths()
        if named := self._environ.get(paths.openssl_cafile_env):
            _trust_file(context, files, named, f"{paths.openssl_cafile_env} ({named})")
        else:
            with suppress(ValueError):
                _trust_file(context, files, paths.openssl_cafile, "")
        if named := self._environ.get(paths.openssl_capath_env):
            for folder in named.split(os.pathsep):
                _trust_folder(context, files, folder, f"{paths.openssl_capath_env} ({named})")
        else:
            with suppress(ValueError):
                _trust_folder(context, files, paths.openssl_capath, "")
        if not context.cert_store_stats()["x509"]:
            msg = (
                "the system has no CA certificates; "
                "install the package ca-certificates, or set ca_file"
            )
            raise ValueError(msg)
        return context


def _trust_file(context: ssl.SSLContext, files: Files, path: str, what: str) -> None:
    """Trust the certificates of a file; raises ValueError if it has none."""
    try:
        content = files.read(path)
    except (OSError, ValueError) as error:
        msg = f"{what} cannot be read ({reason_of(error)})"
        raise ValueError(msg) from error
    try:
        trust(context, content)
    except ValueError as error:
        msg = f"{what} {error}"
        raise ValueError(msg) from error


def _trust_folder(context: ssl.SSLContext, files: Files, folder: str, what: str) -> None:
    """Trust the certificates in a directory; raises ValueError if that cannot be read."""
    try:
        names = files.names(folder)
    except (OSError, ValueError) as error:
        msg = f"{what} cannot be read ({reason_of(error)})"
        raise ValueError(msg) from error
    for name in names:
        if _HASHED.fullmatch(name):
            with suppress(ValueError):
                _trust_file(context, files, str(Path(folder, name)), name)
