"""The CA certificates that connections to Braze trust: those of a file, or the system's.

The system's certificates are found as OpenSSL finds them: by SSL_CERT_FILE and SSL_CERT_DIR, or at
the default paths of the OpenSSL build. They are read here, in a separate thread. OpenSSL would
read files in the event loop during a handshake.
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
"""The names of the files that OpenSSL uses in a directory of certificates."""


class Trust:
    """The trusted certificates as an SSLContext, which is replaced when their files change.

    If `ca_file` is None, the system's certificates are trusted.
    """

    def __init__(self, ca_file: str | None, environ: Mapping[str, str]) -> None:
        self._ca_file, self._environ = ca_file, environ
        self._what = f"ca_file ({ca_file})" if ca_file else "the system's certificates"
        self._watched = Watched(self._load)

    @property
    def from_file(self) -> bool:
        """Whether `ca_file` or an environment variable sets the certificates."""
        paths = ssl.get_default_verify_paths()
        variables = (paths.openssl_cafile_env, paths.openssl_capath_env)
        return bool(self._ca_file or any(map(self._environ.get, variables)))

    @property
    def problem(self) -> str | None:
        """Why the newest certificates cannot be used; None if they are in use."""
        problem = self._watched.problem
        if problem is None:
            return None
        if isinstance(problem, ValueError):  # raised below, with the name of the file
            return str(problem)
        return f"{self._what}: {reason_of(problem)}"

    async def context(self, seconds: float) -> ssl.SSLContext | None:
        """The newest context, after at most `seconds`; None if no certificates were read yet."""
        await self._watched.refresh(seconds)
        return self._watched.value

    def _load(self, files: Files) -> ssl.SSLContext:
        context = client_context()
        if self._ca_file:
            _trust_file(context, files, self._ca_file, self._what)
            return context
        paths = ssl.get_default_verify_paths()
        for variable, default, add in (
            (paths.openssl_cafile_env, paths.openssl_cafile, _trust_file),
            (paths.openssl_capath_env, paths.openssl_capath, _trust_folders),
        ):
            if named := self._environ.get(variable):
                add(context, files, named, f"{variable} ({named})")
            else:
                with suppress(ValueError):
                    add(context, files, default, "")
        if not context.cert_store_stats()["x509"]:
            msg = (
                "the system has no CA certificates; "
                "install the package ca-certificates, or set ca_file"
            )
            raise ValueError(msg)
        return context


def _trust_file(context: ssl.SSLContext, files: Files, path: str, what: str) -> None:
    """Trust the certificates in a file. Raises ValueError if it has none."""
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


def _trust_folders(context: ssl.SSLContext, files: Files, folders: str, what: str) -> None:
    """Trust the certificates in directories. Raises ValueError if one cannot be read."""
    for folder in folders.split(os.pathsep):
        try:
            names = files.names(folder)
        except (OSError, ValueError) as error:
            msg = f"{what} cannot be read ({reason_of(error)})"
            raise ValueError(msg) from error
        for name in names:
            if _HASHED.fullmatch(name):
                with suppress(ValueError):
                    _trust_file(context, files, str(Path(folder, name)), name)
