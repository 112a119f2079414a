"""A web configuration file → what it asks for; every mistake in one go, one line each."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from cdi_exporter.config.forms import Reader, Values, is_valid
from cdi_exporter.config.mistakes import MistakeCollector, show_kind
from cdi_exporter.config.yaml_lines import Dialect, KeyPath, YamlData, read_yaml
from cdi_exporter.web.security import headers
from cdi_exporter.web.security.policy import Policy, Rate
from cdi_exporter.web.security.schema import (
    SECTIONS,
    TYPED,
    HttpSection,
    RateLimitSection,
    TlsSection,
    WebConfigFile,
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
    yaml = read_yaml(path, TOOLKIT, read=read)
    found = MistakeCollector(path, yaml)
    data = _as_written(yaml, yaml.data, ()) if yaml.data is not None else {}
    if not isinstance(data, dict):
        found.add((), f"{show_kind(data)}; expected a mapping")
        data = {}
    values = Reader(found, SECTIONS).mapping(WebConfigFile, data, ())
    _check_headers(data, found)
    tls = values.get(TLS, {})
    # The certificates are looked at even if the rest of the file is wrong.
    section = TlsSection(**tls) if is_valid(tls) else TlsSection()
    context = _context(section, path, read, found) if section.on else None
    found.stop()
    return _policy(values, context)


def _as_written(yaml: YamlData, value: Any, path: KeyPath) -> Any:
    """The data with each plain value as the text that stands in the file, but for `TYPED`."""
    if isinstance(value, dict):
        return {key: _as_written(yaml, each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_written(yaml, each, (*path, i)) for i, each in enumerate(value)]
    written = yaml.positions[path].written
    if value is None or written is None or TYPED.intersection(path[-1:]):
        return value
    return written


def _check_headers(data: Mapping[str, Any], found: MistakeCollector) -> None:
    http = data.get("http_server_config")
    written = http.get("headers") if isinstance(http, dict) else None
    for name, value in written.items() if isinstance(written, dict) else ():
        problem = headers.problem(name, value or "") if isinstance(value, str | None) else None
        if problem:
            found.add(("http_server_config", "headers", name), problem)


def _context(
    section: TlsSection, path: str, read: Read, found: MistakeCollector
) -> ServerContext | None:
    material = _MaterialReader(section, os.path.dirname(path), read, found).material()  # noqa: PTH120 -- keeps ""
    if material is None:
        return None
    try:
        return server_context(section, material)
    except TlsMistake as mistake:
        found.add((TLS, *mistake.at), str(mistake))
        return None


class _MaterialReader:
    """Reads what a section names, from the directory of the configuration file."""

    def __init__(
        self, section: TlsSection, directory: str, read: Read, found: MistakeCollector
    ) -> None:
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


def _policy(values: Values, tls: ServerContext | None) -> Policy:
    http = HttpSection(**values.get("http_server_config", {}))
    rate = RateLimitSection(**values.get("rate_limit", {}))
    return Policy(
        tls=tls,
        headers=tuple(
            (name.encode(), headers.on_one_line(value or "").encode("latin-1"))
            for name, value in (http.headers or {}).items()
        ),
        users={
            name.encode("utf-8", "surrogatepass"): each
            for name, each in values.get("basic_auth_users", {}).items()
        },
        rate=Rate(rate.interval or 0.0, rate.burst or 0),
    )
