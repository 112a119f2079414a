"""Certificates for the tests, created by openssl for each run, so that none expires."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = ("DNS:localhost", "IP:127.0.0.1")


def certificate(
    folder: Path,
    name: str,
    *,
    sans: Sequence[str] = LOOPBACK,
    authority: str | None = None,
    key: str = "ec",
) -> None:
    """Create `name.crt` and `name.key`, signed by `authority` in the same folder or self-signed."""
    kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    signer = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"] if authority else []
    openssl(
        folder,
        *("req", "-x509", "-noenc", "-days", "2", "-subj", f"/CN={name}"),
        *("-newkey", *kind, "-keyout", f"{name}.key", "-out", f"{name}.crt"),
        *(["-addext", f"subjectAltName={','.join(sans)}"] if sans else []),
        *signer,
    )


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def all_certificates(folder: Path) -> None:
    """All certificates of the tests: servers, an authority, and clients signed by it or not."""
    certificate(folder, "server")
    certificate(folder, "rsa", key="rsa")
    certificate(folder, "renewed")
    certificate(folder, "authority", sans=())
    certificate(
        folder,
        "client",
        sans=("DNS:scraper.example", "email:ops@example.com", "IP:::1", "URI:spiffe://x/prom"),
        authority="authority",
    )
    certificate(folder, "stranger", sans=("DNS:scraper.example",))
    encrypt = ("pkey", "-in", "server.key", "-aes256", "-passout", "pass:secret")
    openssl(folder, *encrypt, "-out", "encrypted.key")
