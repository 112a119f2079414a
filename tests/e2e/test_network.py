"""Proxies, certificates, key files and reloads with real sockets and real processes."""

import json
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import certificate, openssl
from tests.e2e.processes import (
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
    serves,
)
from tests.harness import Page
from tests.shown import serving
from tests.simulator import ScriptedIntegration, Simulator

KEY = "canary-key-77ab"
PASSWORD = "canary-password"


def simulated() -> Simulator:
    """A workspace with runs an hour apart."""
    one = ScriptedIntegration("one", "users")
    for number in range(4, 0, -1):
        start = time.time() - 3600 * number
        one.run(start, start + 60, rows_synced=10)
    return Simulator([one], time.time, key=KEY)


@pytest.fixture
def braze() -> Iterator[str]:
    with serving(simulated()) as url:
        yield url


def environment(**more: str) -> dict[str, str]:
    found = clean_environment(BRAZE_API_KEY=KEY)
    return {key: value for key, value in found.items() if key.upper() != "NO_PROXY"} | more


# Proxies


def outcome(*arguments: str, **environ: str) -> tuple[int, str]:
    """The exit status and the output of a command."""
    done = subprocess.run(
        exporter_command(*arguments),
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    assert "canary" not in output
    return done.returncode, output


@contextmanager
def started(folder: Path, *flags: str, **environ: str) -> Iterator[str]:
    """The URL of an exporter that serves."""
    port = free_port()
    command = exporter_command(f"--web.listen-address=127.0.0.1:{port}", *flags)
    with running(command, folder / "log", environment(**environ)):
        url = f"http://127.0.0.1:{port}"
        serves(f"{url}/-/ready")
        yield url


def scrape(url: str) -> Page:
    return Page(httpx.get(f"{url}/metrics", timeout=30).text)


ODD = {
    "networks": {"NO_PROXY": "10.0.0.0/8,fd00::/8,127.0.0.0/8"},
    "IPv6 in brackets": {"NO_PROXY": "[::1],127.0.0.1"},
    "IPv6": {"no_proxy": "::1, 127.0.0.1"},
    "nothing between commas": {"NO_PROXY": " ,,127.0.0.1:*,, 127.0.0.1 ,"},
    "everything": {"NO_PROXY": "*", "ALL_PROXY": "socks5h://127.0.0.1:1"},
    "a network, and SOCKS": {"NO_PROXY": "127.0.0.0/8", "ALL_PROXY": "socks5h://127.0.0.1:1"},
    "a wrong proxy of another scheme": {"HTTPS_PROXY": f"ftp://u:{PASSWORD}@x:99999"},
    "no such certificates": {"SSL_CERT_FILE": "/no/such/file", "SSL_CERT_DIR": "/no/such/folder"},
    "certificates that are none": {"SSL_CERT_FILE": "/etc/passwd"},
    "TLS keys that cannot be written": {"SSLKEYLOGFILE": "/no/such/folder/keys"},
}
"""Proxy variables with which the commands must start and reach an endpoint on the loopback."""


@pytest.mark.parametrize("case", ODD)
def test_commands_work_with_unusual_proxy_variables(case: str, braze: str, tmp_path: Path) -> None:
    """`serve`, `check` and `backfill` start and bypass the proxy if they should."""
    environ = {"HTTP_PROXY": "http://127.0.0.1:1"} if "PROXY" in str(ODD[case]).upper() else {}
    if "HTTPS_PROXY" in ODD[case]:
        environ = {}
    environ |= {"BRAZE_REST_ENDPOINT": braze, **ODD[case]}
    status, output = outcome("check", **environ)
    assert status == 0, output
    flags = ["--since=4h", "--until=0s", "--force", f"--output={tmp_path / 'out'}"]
    status, output = outcome("backfill", *flags, **environ)
    assert status == 0, output
    with started(tmp_path, **environ) as url:
        eventually(lambda: scrape(url)("braze_cdi_up") == 1, "the workspace is up")
    assert "Traceback" not in (tmp_path / "log").read_text()
    ignored = (tmp_path / "log").read_text().count("NO_PROXY entry ignored")
    assert ignored == (1 if "127.0.0.1:*" in str(ODD[case]) else 0)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ALL_PROXY": "socks5h://127.0.0.1:1080"}, "ALL_PROXY: "),
        ({"https_proxy": f"socks5://u:{PASSWORD}@h:1"}, "https_proxy: "),
        ({"HTTPS_PROXY": f"http://u:{PASSWORD}@h:99999"}, "HTTPS_PROXY: "),
        ({"HTTPS_PROXY": "nonsense://h"}, "HTTPS_PROXY: "),
        ({"HTTPS_PROXY": "http://"}, "HTTPS_PROXY: "),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check", "backfill"])
def test_an_unusable_proxy_is_one_line_of_error(
    command: str, environ: dict[str, str], message: str, tmp_path: Path
) -> None:
    """The error names the variable, and the exit status is that of a configuration error."""
    flags = [f"--output={tmp_path}"] if command == "backfill" else []
    environ = environ | {"BRAZE_REST_ENDPOINT": "rest.iad-03.braze.com"}
    status, output = outcome(command, *flags, **environ)
    assert status == 2
    (line,) = output.splitlines()
    assert line.startswith(f"cdi-exporter: {message}")
    assert line.endswith("expected an HTTP proxy, such as http://proxy.example:3128")


# Certificates


class _Front(socketserver.StreamRequestHandler):
    server: "Front"

    def handle(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.pair)
        with suppress(OSError), context.wrap_socket(self.connection, server_side=True) as inside:
            self.server.connections.append(inside)
            upstream = socket.create_connection(("127.0.0.1", self.server.upstream))
            with closing(upstream):
                back = threading.Thread(target=_relay, args=(upstream, inside))
                back.start()
                _relay(inside, upstream)
                back.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Front(socketserver.ThreadingTCPServer):
    """A TLS server in front of another one. Each connection uses the current certificate."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Front)
        self.pair, self.upstream = folder / "pair.pem", upstream
        self.connections: list[ssl.SSLSocket] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self.server_address[1]}"

    def present(self, name: str) -> None:
        """Use another certificate from now on, and close all connections."""
        folder = self.pair.parent
        both = (folder / f"{name}.key").read_bytes() + (folder / f"{name}.crt").read_bytes()
        self.pair.write_bytes(both)
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificate authorities, and a server certificate from each."""
    folder = tmp_path_factory.mktemp("authorities")
    for name in ("old", "new"):
        certificate(folder, f"{name}-ca", sans=())
        certificate(folder, f"{name}-server", authority=f"{name}-ca")
    return folder


@pytest.fixture
def front(authorities: Path, tmp_path: Path, braze: str) -> Iterator[Front]:
    shutil.copytree(authorities, tmp_path, dirs_exist_ok=True)
    with Front(tmp_path, int(braze.rpartition(":")[2])) as server:
        server.present("old-server")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def configured(folder: Path, url: str, **more: str) -> str:
    """The flag with a configuration of one workspace."""
    workspace = {"name": "w", "endpoint": url, "api_key_env": "BRAZE_API_KEY"} | more
    text = {"refresh": {"min_interval": "0s"}, "workspaces": [workspace]}
    (folder / "config.yml").write_text(json.dumps(text))
    return f"--config.file={folder / 'config.yml'}"


def up(url: str, value: float) -> None:
    eventually(lambda: scrape(url)("braze_cdi_up", workspace="w") == value, f"up is {value}")


RELOADED = "cdi_exporter_file_reload_successful"


@pytest.mark.parametrize("named", ["ca_file", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_replaced_certificates_apply_to_the_next_connection(
    named: str, front: Front, tmp_path: Path
) -> None:
    """No restart or reload is needed. If the new file is invalid, the old one stays in use."""
    bundle = tmp_path / "bundle" / "01234567.0"
    bundle.parent.mkdir()
    shutil.copy(tmp_path / "old-ca.crt", bundle)
    environ, more = {"SSL_CERT_FILE": str(bundle)}, {}
    if named == "ca_file":
        environ, more = {}, {"ca_file": "bundle/01234567.0"}
    elif named == "SSL_CERT_DIR":
        environ = {"SSL_CERT_DIR": str(bundle.parent)}
    flag = configured(tmp_path, front.url, **more)
    with started(tmp_path, flag, **environ) as url:
        up(url, 1)
        assert scrape(url)(RELOADED, workspace="w", kind="ca_file") == 1
        front.present("new-server")
        up(url, 0)
        shutil.copy(tmp_path / "new-ca.crt", bundle)
        up(url, 1)
        if named != "SSL_CERT_DIR":
            bundle.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
            eventually(
                lambda: scrape(url)(RELOADED, workspace="w", kind="ca_file") == 0,
                "the error is reported",
            )
            front.present("new-server")
            for _ in range(5):
                assert scrape(url)("braze_cdi_up", workspace="w") == 1
            logged = (tmp_path / "log").read_text()
            assert logged.count("CA certificates unusable") == 1
            assert str(bundle) in logged
            shutil.copy(tmp_path / "old-ca.crt", bundle)
            front.present("old-server")
            up(url, 1)
            assert scrape(url)(RELOADED, workspace="w", kind="ca_file") == 1
            assert "CA certificates recovered" in (tmp_path / "log").read_text()


def test_connections_are_kept_while_the_certificates_stay(front: Front, tmp_path: Path) -> None:
    """Rewriting the file with the same content does not close connections."""
    shutil.copy(tmp_path / "old-ca.crt", tmp_path / "bundle.pem")
    flag = configured(tmp_path, front.url, ca_file="bundle.pem")
    with started(tmp_path, flag) as url:
        up(url, 1)
        made = len(front.connections)
        for _ in range(5):
            shutil.copy(tmp_path / "old-ca.crt", tmp_path / "bundle.pem")
            up(url, 1)
        assert len(front.connections) == made


@pytest.mark.parametrize("marked", [False, True])
def test_a_company_ca_without_critical_constraints_is_trusted(
    marked: bool, front: Front, tmp_path: Path
) -> None:
    """Its basicConstraints are not critical. Every version of Python must accept that."""
    openssl(
        tmp_path,
        *("req", "-x509", "-noenc", "-days", "2", "-subj", "/CN=company"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-keyout", "company.key", "-out", "company.crt"),
        *("-config", str(_plain_ca(tmp_path)), "-extensions", "ca"),
    )
    certificate(tmp_path, "company-server", authority="company")
    if marked:
        content = (tmp_path / "company.crt").read_bytes()
        (tmp_path / "company.crt").write_bytes(b"\xef\xbb\xbf" + content)
    front.present("company-server")
    flag = configured(tmp_path, front.url, ca_file="company.crt")
    status, output = outcome("check", flag)
    assert status == 0, output


def _plain_ca(folder: Path) -> Path:
    path = folder / "ca.cnf"
    path.write_text("[req]\ndistinguished_name=n\n[n]\n[ca]\nbasicConstraints=CA:TRUE\n")
    return path


def test_a_certificate_that_ca_file_does_not_cover_is_explained(
    front: Front, tmp_path: Path
) -> None:
    """The advice does not suggest the setting that is already set."""
    flag = configured(tmp_path, front.url, ca_file="new-ca.crt")
    status, output = outcome("check", flag, COLUMNS="500")
    assert status == 1
    assert (
        "No certificate in ca_file leads to it: add the certificate of the CA that issued it."
        in output
    )


@pytest.mark.parametrize("named", ["api_key_file", "ca_file"])
def test_a_pipe_instead_of_a_file_does_not_block(named: str, tmp_path: Path) -> None:
    """Neither the start nor a reload waits for the pipe."""
    os.mkfifo(tmp_path / "pipe")
    more = {named: str(tmp_path / "pipe")}
    workspace: dict[str, Any] = {"name": "w", "endpoint": "https://x.test"} | more
    if named == "ca_file":
        workspace["api_key_env"] = "BRAZE_API_KEY"
    (tmp_path / "config.yml").write_text(json.dumps({"workspaces": [workspace]}))
    status, output = outcome("check", f"--config.file={tmp_path / 'config.yml'}")
    assert status == 2
    assert "cannot be read (not a plain file)" in output
    os.mkfifo(tmp_path / "configuration")
    status, output = outcome("check", f"--config.file={tmp_path / 'configuration'}")
    assert status == 2
    assert "cannot be read (not a plain file)" in output


# A mount that hangs


HANGING = """
import os, sys, threading, time
from cdi_exporter import files
gate = sys.argv.pop(1)
here = os.path.dirname(gate)
plain, stat = files.read_plain, files._signature

def hang(path):
    while path.startswith(here) and os.path.exists(gate):
        time.sleep(0.05)

def read_plain(path, *rest, **more):
    hang(path)
    return plain(path, *rest, **more)

def signature(path):
    hang(path)
    return stat(path)

files.read_plain, files._signature = read_plain, signature
from cdi_exporter.config import values, yaml_lines
yaml_lines.read_plain = values.read_plain = read_plain
from cdi_exporter.cli import main
main()
"""
"""The exporter, with a directory in which files hang while a certain file exists."""


def test_a_mount_that_hangs_does_not_affect_the_exporter(front: Front, tmp_path: Path) -> None:
    """The key, certificates and web configuration that were read last stay in use.

    The exporter shuts down in time.
    """
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "key").write_text(KEY)
    shutil.copy(tmp_path / "old-ca.crt", mount / "ca.pem")
    (mount / "web.yml").write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    workspace = {"name": "w", "endpoint": front.url, "api_key_file": "mount/key"}
    text = {
        "refresh": {"min_interval": "0s"},
        "workspaces": [workspace | {"ca_file": "mount/ca.pem"}],
    }
    (tmp_path / "config.yml").write_text(json.dumps(text))
    gate, port = mount / "gate", free_port()
    command = [sys.executable, "-c", HANGING, str(gate), f"--config.file={tmp_path}/config.yml"]
    command += [f"--web.config.file={mount}/web.yml", "--web.enable-lifecycle"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, tmp_path / "log", environment()) as process:
        serves(f"{url}/-/ready")
        up(url, 1)
        gate.touch()
        started_at = time.monotonic()
        for _ in range(20):
            assert scrape(url)("braze_cdi_up", workspace="w") == 1
            assert httpx.get(f"{url}/-/healthy").headers["x-frame-options"] == "deny"
        assert time.monotonic() - started_at < 30
        time.sleep(5)
        eventually(
            lambda: (
                [scrape(url)(RELOADED, workspace="w", kind=kind) for kind in ("api_key", "ca_file")]
                == [0, 0]
            ),
            "the error is reported",
        )
        page = scrape(url)
        assert page("cdi_exporter_web_config_last_reload_successful") == 0
        assert page("braze_cdi_up", workspace="w") == 1
        logged = (tmp_path / "log").read_text()
        assert logged.count("key file unusable") == 1
        assert "no answer within 5 s" in logged
        answer = httpx.post(f"{url}/-/reload", timeout=60)
        assert answer.status_code == 400
        assert "no answer within 5 s" in answer.text
        assert scrape(url)("braze_cdi_up", workspace="w") == 1
        gate.unlink()
        eventually(
            lambda: scrape(url)(RELOADED, workspace="w", kind="api_key") == 1,
            "the files are readable again",
        )
        assert httpx.post(f"{url}/-/reload", timeout=60).status_code == 200
        gate.touch()
        scrape(url)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    gate.unlink()


# Reloads


def test_reloads_do_not_leak_connections(tmp_path: Path) -> None:
    """One of two workspaces that share a key is removed and added during requests."""
    app = simulated()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        await asyncio.sleep(0.05)
        await app(scope, receive, send)

    def write(folder: Path, url: str, *names: str) -> None:
        fast = {"integrations": 1_000_000, "job_sync_status": 1_000_000}
        refresh = {"min_interval": "0s", "rate_limits": fast, "request_timeout": "2s"}
        several = [
            {"name": name, "endpoint": url, "api_key_env": "BRAZE_API_KEY"} for name in names
        ]
        text = {"refresh": refresh, "workspaces": several}
        (folder / "config.yml").write_text(json.dumps(text))

    app = Simulator(
        [ScriptedIntegration(str(number), f"sync-{number}") for number in range(60)],
        time.time,
        key=KEY,
        limits={"integrations": 10**6, "job_sync_status": 10**6},
    )
    with serving(slow) as braze:
        write(tmp_path, braze, "a", "b")
        flags = [f"--config.file={tmp_path / 'config.yml'}", "--web.enable-lifecycle"]
        with started(tmp_path, *flags) as url:
            for number in range(30):
                thread = threading.Thread(target=scrape, args=(url,))
                thread.start()
                time.sleep(0.01 * (number % 10))
                write(tmp_path, braze, "a")
                assert httpx.post(f"{url}/-/reload").status_code == 200
                write(tmp_path, braze, "a", "b")
                assert httpx.post(f"{url}/-/reload").status_code == 200
                thread.join(30)
                assert not thread.is_alive()
            write(tmp_path, braze, "a")
            assert httpx.post(f"{url}/-/reload").status_code == 200

            def requests_sent() -> float:
                return sum(scrape(url).all("braze_cdi_api_requests_total", workspace="a"))

            before = requests_sent()
            eventually(lambda: requests_sent() >= before + 10, "it keeps sending requests")
            assert scrape(url)("braze_cdi_up", workspace="a") == 1
            problems = [
                line for line in (tmp_path / "log").read_text().splitlines() if "level=err" in line
            ]
            assert problems == []
