"""An exporter process with a web configuration, and clients for it."""

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import httpx

from tests.e2e.processes import exporter_command, free_port, program, running, serves

PASSWORD = "canary-wonderland"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
ALICE = ("alice", PASSWORD)

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
CLIENTS = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: authority.crt\n"
USERS = f"basic_auth_users:\n  alice: {HASH}\n"


@dataclass(frozen=True)
class Secured:
    """A running exporter whose web configuration can be changed."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    health: int
    tls: bool

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    def configure(self, content: str) -> None:
        """Replace the file atomically, as editors and Kubernetes do."""
        (self.folder / "next.yml").write_text(content)
        (self.folder / "next.yml").rename(self.folder / "web.yml")

    def client(self, pair: str | None = None, **more: Any) -> httpx.Client:
        """A client that trusts the server's certificate. `pair` names its client certificate."""
        context = ssl.create_default_context()
        if self.tls:
            context.load_verify_locations(self.folder / "server.crt")
            context.load_verify_locations(self.folder / "renewed.crt")
        if pair:
            context.load_cert_chain(self.folder / f"{pair}.crt", self.folder / f"{pair}.key")
        return httpx.Client(verify=context, base_url=self.url, timeout=60, **more)

    def get(self, path: str, pair: str | None = None, **more: Any) -> httpx.Response:
        """The response to a request over a new connection."""
        with self.client(pair, **more) as client:
            return client.get(path)

    def own_metrics(self, pair: str | None = None, **more: Any) -> dict[str, float]:
        """The exporter's own metrics that have no labels."""
        lines = self.get("/-/metrics", pair, **more).text.splitlines()
        parts = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in parts if "{" not in name}

    def events(self) -> list[dict[str, Any]]:
        """The log so far."""
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def secured(folder: Path, content: str, *flags: str, files: int = 1024) -> Iterator[Secured]:
    """The demo with `content` as its web configuration and this limit of open files."""
    port, health = free_port(), free_port()
    (folder / "web.yml").write_text(content)
    command = [program("prlimit"), f"--nofile={files}"]
    command += exporter_command(
        "demo",
        "--integrations=3",
        "--log.format=json",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.health-address=127.0.0.1:{health}",
        f"--web.config.file={folder / 'web.yml'}",
        *flags,
    )
    with running(command, folder / "log") as process:
        serves(f"http://127.0.0.1:{health}/-/ready")
        yield Secured(process, folder, port, health, tls="tls_server_config" in content)


def refused(ask: Any) -> bool:
    """Whether the connection fails. If it is closed late, the client sees a read error."""
    try:
        ask()
    except httpx.TransportError:
        return True
    return False
