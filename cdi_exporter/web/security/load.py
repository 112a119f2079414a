"""A web configuration file → what it asks for; every mistake in one go, one line each."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from cdi_exporter.config.document import Dialect, Document, read_document
from cdi_exporter.config.findings import Findings
from cdi_exporter.config.mistakes import KeyPath, show_kind
from cdi_exporter.errors import ConfigError
from cdi_exporter.web.security import headers
from cdi_exporter.web.security.policy import Policy, Rate
from cdi_exporter.web.security.schema import (
    SECTIONS,
    TYPED,
    File,
    HttpSection,
    RateLimitSection,
    TlsSection,
)
from cdi_exporter.web.security.tls import Material, ServerContext, TlsMistake, server_context

Read = Callable[[str], bytes]

TLS = "tls_server_config"


def _secret(path: KeyPath) -> bool:
    """The key in the file itself, and the users' hashes."""
    return path == (TLS, "key") or path[:1] == ("basic_auth_users",)


TOOLKIT = Dialect(secret=_secret, plain_keys=True, first_alone=True)


def load(path: str, read: Read) -> Policy:
    """The policy of a file; raises ConfigError with a line for each mistake.

    `read` gives the content of the file and of those that it names; it raises OSError.
    """
    document = read_document(path, TOOLKIT, read=read)
    found = Findings(path, document, SECTIONS)
    data = _as_written(document, document.data, ()) if document.data is not None else {}
    if not isinstance(data, dict):
        found.add((), f"{show_kind(data)}; expected a mapping")
        data = {}
    file = _validated(data, found)
    _check_headers(data, found)
    tls = _tls_section(data)
    context = _context(tls, path, read, found) if tls.on else None
    found.stop()
    if file is None:  # pragma: no cover -- there are mistakes, so stop() has raised
        raise ConfigError([f"{path}: not valid"])
    return _policy(file, context)


def _as_written(document: Document, value: Any, path: KeyPath) -> Any:
    """The data with each plain value as the text that stands in the file, but for `TYPED`."""
    if isinstance(value, dict):
        return {key: _as_written(document, each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_written(document, each, (*path, i)) for i, each in enumerate(value)]
    written = document.places[path].written
    if value is None or written is None or TYPED.intersection(path[-1:]):
        return value
    return written


def _validated(data: Mapping[str, Any], found: Findings) -> File | None:
    try:
        return File.model_validate(data)
    except ValidationError as error:
        found.add_invalid(error)
        return None


def _tls_section(data: Mapping[str, Any]) -> TlsSection:
    """The section as far as it is valid by itself: the rest of the file may be wrong."""
    try:
        return TlsSection.model_validate(data.get(TLS) or {})
    except ValidationError:
        return TlsSection()


def _check_headers(data: Mapping[str, Any], found: Findings) -> None:
    http = data.get("http_server_config")
    written = http.get("headers") if isinstance(http, dict) else None
    for name, value in written.items() if isinstance(written, dict) else ():
        problem = headers.problem(name, value or "") if isinstance(value, str | None) else None
        if problem:
            found.add(("http_server_config", "headers", name), problem)


def _context(section: TlsSection, path: str, read: Read, found: Findings) -> ServerContext | None:
    material = _Reader(section, os.path.dirname(path), read, found).material()  # noqa: PTH120 -- keeps ""
    if material is None:
        return None
    try:
        return server_context(section, material)
    except TlsMistake as mistake:
        found.add((TLS, *mistake.at), str(mistake))
        return None


class _Reader:
    """Reads what a section names, from the directory of the configuration file."""

    def __init__(self, section: TlsSection, directory: str, read: Read, found: Findings) -> None:
        self._section, self._directory = section, directory
        self._read, self._found = read, found

    def material(self) -> Material | None:
        """None where something is missing, which has been noted then."""
        section = self._section
        cert = self._needed("cert", section.cert_file, section.cert)
        key = self._needed("key", section.key_file, section.key)
        client_ca = self._content("client_ca", section.client_ca_file, section.client_ca)
        self._check_client_auth()
        return Material(cert, key, client_ca) if cert is not None and key is not None else None

    def _needed(self, name: str, path: str | None, inline: str | None) -> bytes | None:
        if not path and not inline:
            what = "the certificate" if name == "cert" else "the certificate's key"
            text = f"missing one of {name} or {name}_file; expected {what} as PEM"
            self._found.add((TLS,), text)
            return None
        return self._content(name, path, inline)

    def _content(self, name: str, path: str | None, inline: str | None) -> bytes | None:
        """The file's content where one is named, else the text itself."""
        if not path:
            return inline.encode("utf-8", "replace") if inline else None
        try:
            return self._read(os.path.join(self._directory, path))  # noqa: PTH118 -- "" stays ""
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
        except ValueError:
            reason = "no possible file name"
        key = f"{name}_file"
        text = f"failed to read {key} ({path}): {reason}; expected a file that holds it as PEM"
        self._found.add((TLS, key), text)
        return None

    def _check_client_auth(self) -> None:
        section = self._section
        if section.client_auth_type not in (None, "", "NoClientCert"):
            return
        wanted = "expected client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven"
        if section.client_ca_file or section.client_ca:
            text = f"client CA's have been configured without a Client Auth Policy; {wanted}"
            self._found.add((TLS,), text)
        if section.client_allowed_sans:
            text = f"no certificate is asked for, so none would be checked; {wanted}"
            self._found.add((TLS, "client_allowed_sans"), text)


def _policy(file: File, tls: ServerContext | None) -> Policy:
    http = file.http_server_config or HttpSection()
    rate = file.rate_limit or RateLimitSection()
    return Policy(
        tls=tls,
        headers=tuple(
            (name.encode(), headers.on_one_line(value or "").encode("latin-1"))
            for name, value in (http.headers or {}).items()
        ),
        users={
            name.encode("utf-8", "surrogatepass"): each
            for name, each in (file.basic_auth_users or {}).items()
        },
        rate=Rate(rate.interval or 0.0, rate.burst or 0),
    )
