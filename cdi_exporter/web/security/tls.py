"""Builds the TLS context of the server from the TLS section of the web configuration."""

import ipaddress
import os
import ssl
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog

from cdi_exporter.config.forms import Reader
from cdi_exporter.files import reason_of
from cdi_exporter.pem import as_file
from cdi_exporter.web.security.sections import (
    CIPHER_SUITES,
    CURVES,
    VERIFIED,
    VERSIONS,
    TlsSection,
)

log = structlog.get_logger()

Read = Callable[[str], bytes]

TLS = "tls_server_config"
DEFAULT_MINIMUM, DEFAULT_MAXIMUM = "TLS12", "TLS13"
DEFAULT_CIPHER_SUITES = tuple(name for name in CIPHER_SUITES if "ECDHE" in name)
_VERIFYING = "expected client_auth_type RequireAndVerifyClientCert or VerifyClientCertIfGiven"


class ServerContext(ssl.SSLContext):
    """The TLS context of one version of the file, with the allowed names of clients."""

    allowed_sans: frozenset[str] = frozenset()

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this certificate (as Python parses it) has an allowed name.

        The handshake has verified the certificate itself.
        """
        names = {
            _address(name) if kind == "IP Address" else name
            for kind, name in (certificate or {}).get("subjectAltName", ())
        }
        return not self.allowed_sans or not self.allowed_sans.isdisjoint(names)


def _address(text: str) -> str:
    """An IP address in its usual notation: OpenSSL writes IPv6 addresses differently."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


class UnusableSettingError(ValueError):
    """TLS settings that cannot be used; `path` is the key of the file to which this applies."""

    def __init__(self, text: str, *key: str) -> None:
        super().__init__(text)
        self.path = (TLS, *key)


def server_context(section: TlsSection, read: Read, found: Reader) -> ServerContext | None:
    """The TLS context of a section; None after errors, which are added to `found`."""
    for name, what in (("cert", "certificate"), ("key", "certificate's key")):
        if not getattr(section, name) and not getattr(section, f"{name}_file"):
            found.add((TLS,), f"{name} and {name}_file are missing; expected the {what} as PEM")
    if section.client_auth_type in (None, "", "NoClientCert"):
        if section.client_ca_file or section.client_ca:
            text = f"a client CA, but clients are not asked for a certificate; {_VERIFYING}"
            found.add((TLS,), text)
        if section.client_allowed_sans:
            text = f"clients are not asked for a certificate, so none is checked; {_VERIFYING}"
            found.add((TLS, "client_allowed_sans"), text)
    names = ("cert", "key", "client_ca")
    cert, key, client_ca = (_content(section, name, read, found) for name in names)
    if cert is None or key is None:
        return None
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        _set_versions_and_ciphers(context, section)
        _set_curves(context, section.curve_preferences or ())
        _set_client_auth(context, section, client_ca)
        _load_pair(context, cert, key)
    except UnusableSettingError as error:
        found.add(error.path, str(error))
        return None
    return context


def _content(section: TlsSection, name: str, read: Read, found: Reader) -> bytes | None:
    """The content of a file, or the inline text; None if it is missing or unreadable."""
    key = f"{name}_file"
    path, inline = getattr(section, key), getattr(section, name)
    if not path:
        return inline.encode("utf-8", "replace") if inline else None
    if "-----BEGIN" in path:
        found.add((TLS, key), f"PEM text; expected the path of a file, or this text as {name}")
        return None
    try:
        return read(os.path.join(found.directory, path))  # noqa: PTH118 -- "" stays ""
    except (OSError, ValueError) as error:
        text = f"cannot be read ({reason_of(error)}); expected a file with PEM text"
        found.add_value((TLS, key), path, text)
        return None


def _set_versions_and_ciphers(context: ssl.SSLContext, section: TlsSection) -> None:
    """Set versions and ciphers. As in Go, suites of TLS 1.3 only switch older versions off."""
    lowest = VERSIONS[section.min_version or DEFAULT_MINIMUM]
    highest = VERSIONS[section.max_version or DEFAULT_MAXIMUM]
    chosen = section.cipher_suites or DEFAULT_CIPHER_SUITES
    ciphers = [CIPHER_SUITES[name] for name in CIPHER_SUITES if name in chosen]
    if not ciphers:
        lowest = ssl.TLSVersion.TLSv1_3
    if lowest > highest:
        key = "max_version" if ciphers else "cipher_suites"
        text = (
            "leaves no version of TLS to serve with; expected a max_version that allows what "
            "min_version and cipher_suites ask for"
        )
        raise UnusableSettingError(text, key)
    if not getattr(ssl, f"HAS_{lowest.name}"):
        text = "a version of TLS that this Python's OpenSSL does not have; expected TLS12 or TLS13"
        raise UnusableSettingError(text, "min_version")
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated; they are only used if the file names them.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = lowest, highest
    if ciphers:
        # Before TLS 1.2 all signatures use SHA-1, which OpenSSL's security level 1 forbids.
        level = ":@SECLEVEL=0" if lowest < ssl.TLSVersion.TLSv1_2 else ""
        context.set_ciphers(":".join(ciphers) + level)


def _set_curves(context: ssl.SSLContext, curves: Collection[str]) -> None:
    groups = [CURVES[name] for name in dict.fromkeys(curves)]
    if hasattr(context, "set_groups") and groups:
        context.set_groups(":".join(groups))
    elif len(groups) > 1:
        text = "more than one curve, which this Python's TLS does not support; expected at most one"
        raise UnusableSettingError(text, "curve_preferences")
    elif groups:
        context.set_ecdh_curve(groups[0])


def _set_client_auth(context: ServerContext, section: TlsSection, client_ca: bytes | None) -> None:
    context.verify_mode = VERIFIED[section.client_auth_type or "NoClientCert"]
    context.allowed_sans = frozenset(map(_address, section.client_allowed_sans or ()))
    if context.verify_mode is ssl.CERT_NONE:
        return
    # As in Go, each certificate of the client CA file is trusted, also an intermediate one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if client_ca is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        with as_file(client_ca) as path:
            context.load_verify_locations(path)
    except ssl.SSLError:
        log.warning("client CA file empty", problem="no client certificate is accepted")


def _load_pair(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    try:
        with as_file(cert) as cert_path, as_file(key) as key_path:
            # Without a password, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(cert_path, key_path, password=b"")
    except ssl.SSLError as error:
        text = (
            f"{_pair_problem(cert, key, error)}; expected a certificate and the key that belongs "
            "to it, not encrypted, as PEM"
        )
        raise UnusableSettingError(text) from error


def _pair_problem(cert: bytes, key: bytes, error: ssl.SSLError) -> str:
    """What is wrong with the pair: OpenSSL's own message is usually only "PEM lib"."""
    if b"-----BEGIN CERTIFICATE-----" not in cert:
        return "no certificate where the certificate should be"
    if b"PRIVATE KEY-----" not in key:
        return "no private key where the key should be"
    if b"ENCRYPTED" in key:
        return "the private key is encrypted"
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the private key does not match the certificate"
    return (error.reason or "not readable").replace("_", " ").lower()
