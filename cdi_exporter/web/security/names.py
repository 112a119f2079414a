"""Go's names of versions, cipher suites, curves and ways to ask for a client's certificate.

Each check returns the name, or raises RedactedError with what is expected instead.
"""

import re
import ssl
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final

from cdi_exporter.config.mistakes import RedactedError

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}

CIPHER_SUITES: Final[Mapping[str, str]] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""OpenSSL's names of the suites of TLS 1.2 and below, in the order in which Go prefers them.

Go has taken no notice of the order in the file since 1.17.
"""

DEFAULT_CIPHER_SUITES = tuple(name for name in CIPHER_SUITES if "ECDHE" in name)

TLS13_CIPHER_SUITES: Final[Collection[str]] = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""Always on with TLS 1.3, in Go as in OpenSSL; naming them changes nothing."""

CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

VERIFIED: Final[Mapping[str, ssl.VerifyMode]] = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

UNVERIFIED: Final[Mapping[str, str]] = {
    "RequestClientCert": "VerifyClientCertIfGiven",
    "RequireAnyClientCert": "RequireAndVerifyClientCert",
    "RequireClientCert": "RequireAndVerifyClientCert",
}
"""Those that ask for a certificate and do not verify it, with what comes nearest."""

_SHOWABLE = re.compile(r"[A-Za-z0-9_.-]{1,60}")


def version(value: str) -> str:
    """The version of TLS."""
    return _known(value, VERSIONS, "unknown TLS version")


def cipher_suite(value: str) -> str:
    """A cipher suite."""
    return _known(value, [*CIPHER_SUITES, *TLS13_CIPHER_SUITES], "unknown cipher")


def curve(value: str) -> str:
    """An elliptic curve."""
    return _known(value, CURVES, "unknown curve")


def client_auth(value: str) -> str:
    """How a client's certificate is asked for; empty for not at all."""
    if value in UNVERIFIED:
        msg = (
            f"{value} asks for a certificate without verifying it, which Python's TLS cannot do; "
            f"expected {UNVERIFIED[value]} with client_ca_file"
        )
        raise RedactedError(msg)
    return "" if value == "" else _known(value, VERIFIED, "invalid ClientAuth")


def _known(value: str, known: Collection[str], what: str) -> str:
    if value in known:
        return value
    shown = f"{what}: {value}" if _SHOWABLE.fullmatch(value) else what
    names = {each.upper(): each for each in known}
    near = get_close_matches(value.upper(), names, n=1, cutoff=0.8)
    meant = f"did you mean {names[near[0]]}?" if near else f"expected one of {', '.join(known)}"
    msg = f"{shown}; {meant}"
    raise RedactedError(msg)
