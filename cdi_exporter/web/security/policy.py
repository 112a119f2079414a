"""Reads a web configuration file into a policy, or reports all its errors, one line each."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdi_exporter.config.forms import Reader, is_valid
from cdi_exporter.config.mistakes import show_kind
from cdi_exporter.config.secret import Secret
from cdi_exporter.config.yaml_lines import KeyPath, YamlData, read_yaml
from cdi_exporter.files import reason_of
from cdi_exporter.web.security.sections import SECTIONS, TYPED, TlsSection, WebConfigFile
from cdi_exporter.web.security.tls import ServerContext, TlsMistake, server_context

Read = Callable[[str], bytes]

TLS = "tls_server_config"
_VERIFYING = "expected client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the file configures. `users` are bcrypt hashes by name; without users, all may enter."""

    tls: ServerContext | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: Mapping[bytes, Secret] = field(default_factory=dict)
    interval: float = 0.0
    """Seconds per request of the rate limit; 0: no limit."""
    burst: int = 0
    """Requests that the rate limit allows at once."""


def _secret(path: KeyPath) -> bool:
    """Whether a value is secret: an inline private key, or a hash of a user."""
    return path == (TLS, "key") or path[:1] == ("basic_auth_users",)


def load(path: str, read: Read) -> Policy:
    """The policy of a file; raises ConfigError with a line for each error.

    `read` returns the content of the file, and of the files that it names; it raises OSError.
    """
    yaml = read_yaml(path, is_secret=_secret, toolkit=True, read=read)
    found = Reader(path, yaml, SECTIONS, {})
    data = _as_written(yaml, yaml.data, ()) if yaml.data is not None else {}
    if not isinstance(data, dict):
        found.add((), f"{show_kind(data)}; expected a mapping")
        data = {}
    values = found.mapping(WebConfigFile, data, ())
    section = values.get(TLS, {})
    # The certificates are checked even if the rest of the file is invalid, to report all errors.
    tls = TlsSection(**section) if is_valid(section) else TlsSection()
    context = _context(tls, found.directory, read, found) if tls.on else None
    found.stop()
    rate = values.get("rate_limit", {})
    return Policy(
        tls=context,
        headers=values.get("http_server_config", {}).get("headers", ()),
        users=values.get("basic_auth_users", {}),
        interval=rate.get("interval", 0.0),
        burst=rate.get("burst", 0),
    )


def _as_written(yaml: YamlData, value: Any, path: KeyPath) -> Any:
    """The data with each plain value as the text in the file, except those of `TYPED`."""
    if isinstance(value, dict):
        return {key: _as_written(yaml, each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_written(yaml, each, (*path, i)) for i, each in enumerate(value)]
    written = yaml.written.get(path)
    if value is None or written is None or TYPED.intersection(path[-1:]):
        return value
    return written


def _context(
    section: TlsSection, directory: str, read: Read, found: Reader
) -> ServerContext | None:
    def content(name: str) -> bytes | None:
        """The content of the file, or the inline text; None if it is missing or unreadable."""
        key = f"{name}_file"
        path, inline = getattr(section, key), getattr(section, name)
        if not path:
            return inline.encode("utf-8", "replace") if inline else None
        if "-----BEGIN" in path:
            found.add((TLS, key), f"PEM text; expected the path of a file, or this text as {name}")
            return None
        try:
            return read(os.path.join(directory, path))  # noqa: PTH118 -- "" stays ""
        except (OSError, ValueError) as error:
            text = f"cannot be read ({reason_of(error)}); expected a file with PEM text"
            found.add_value((TLS, key), path, text)
            return None

    for name, what in (("cert", "certificate"), ("key", "certificate's key")):
        if not getattr(section, name) and not getattr(section, f"{name}_file"):
            found.add((TLS,), f"{name} and {name}_file are missing; expected the {what} as PEM")
    _check_client_auth(section, found)
    cert, key, client_ca = content("cert"), content("key"), content("client_ca")
    if cert is None or key is None:
        return None
    try:
        return server_context(section, cert, key, client_ca)
    except TlsMistake as mistake:
        found.add((TLS, *mistake.at), str(mistake))
        return None


def _check_client_auth(section: TlsSection, found: Reader) -> None:
    if section.client_auth_type not in (None, "", "NoClientCert"):
        return
    if section.client_ca_file or section.client_ca:
        found.add((TLS,), f"a client CA, but clients are not asked for a certificate; {_VERIFYING}")
    if section.client_allowed_sans:
        text = f"clients are not asked for a certificate, so none is checked; {_VERIFYING}"
        found.add((TLS, "client_allowed_sans"), text)
