"""`--web.config.file` with real TLS, real clients and a real process."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.certificates import all_certificates
from tests.e2e.processes import (
    ROOT,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    program,
    running,
    serves,
)
from tests.e2e.secured import (
    ALICE,
    CLIENTS,
    HASH,
    PASSWORD,
    TLS,
    USERS,
    Secured,
    refused,
    secured,
)

SUCCESSFUL = "cdi_exporter_web_config_last_reload_successful"
HEADERS = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    all_certificates(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the directory with the certificates, which a test can change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def closed(folder: Path) -> Iterator[Secured]:
    """An exporter with TLS, client certificates, users and headers."""
    with secured(folder, TLS + CLIENTS + USERS + HEADERS) as exporter:
        yield exporter


def test_every_path_needs_certificate_and_password(closed: Secured) -> None:
    """Every path needs both a certificate and a password."""
    answer = closed.get("/metrics", "client", auth=ALICE)
    assert answer.status_code == 200
    assert "braze_cdi_up" in answer.text
    assert answer.headers["X-Frame-Options"] == "deny"
    assert refused(lambda: closed.get("/metrics", auth=ALICE))
    assert refused(lambda: closed.get("/metrics", "stranger", auth=ALICE))
    assert refused(
        lambda: httpx.get(f"http://localhost:{closed.port}/metrics", auth=ALICE, timeout=60)
    )
    for auth in (None, ("alice", "wrong"), ("nobody", PASSWORD)):
        for path in ("/metrics", "/", "/-/healthy", "/-/ready"):
            answer = closed.get(path, "client", auth=auth)
            assert (answer.status_code, answer.text) == (401, "Unauthorized\n")
            assert answer.headers["WWW-Authenticate"] == "Basic"


def test_the_health_address_stays_open(closed: Secured) -> None:
    """Containers request it: plain HTTP without credentials, with two paths and nothing else."""
    base = f"http://127.0.0.1:{closed.health}"
    answers = [httpx.get(base + path, timeout=60) for path in ("/-/healthy", "/-/ready")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "X-Frame-Options" not in answers[0].headers
    for path in ("/", "/metrics", "/-/metrics", "/probe", "/sd", "/api/v1/status", "/-/reload"):
        assert httpx.get(base + path, timeout=60).status_code == 404

    def healthcheck(*flags: str) -> int:
        command = exporter_command("healthcheck", *flags)
        done = subprocess.run(command, env=clean_environment(), check=False, timeout=60)
        return done.returncode

    own = f"--web.listen-address=127.0.0.1:{closed.port}"
    assert healthcheck(own, f"--web.health-address=127.0.0.1:{closed.health}") == 0
    assert healthcheck(own) == 1


def test_openssl_sees_what_was_configured(folder: Path) -> None:
    """Only TLS 1.3 with one curve, and HTTP/1.1."""
    only = "  min_version: TLS13\n  curve_preferences: [CurveP384]\n"
    with secured(folder, TLS + only) as exporter:

        def s_client(*arguments: str) -> str:
            address = f"localhost:{exporter.port}"
            done = subprocess.run(
                ["openssl", "s_client", "-connect", address, "-CAfile", "server.crt", *arguments],
                cwd=folder,
                input="",
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            return done.stdout

        shown = s_client("-alpn", "h2,http/1.1")
        assert "Verify return code: 0 (ok)" in shown
        assert "TLSv1.3" in shown
        assert "secp384r1" in shown  # the group; the start of the line depends on the version
        assert "ALPN protocol: http/1.1" in shown
        assert "Cipher is (NONE)" in s_client("-tls1_2")
        assert "Cipher is (NONE)" in s_client("-groups", "P-256")


def test_the_names_of_clients_are_checked(folder: Path) -> None:
    """A certificate of the client CA without one of the allowed names is refused."""
    allowed = "  client_allowed_sans:\n  - {}\n"
    with secured(folder, TLS + CLIENTS + allowed.format("scraper.example")) as exporter:
        assert exporter.get("/-/ready", "client").status_code == 200
        exporter.configure(TLS + CLIENTS + allowed.format("other.example"))
        assert refused(lambda: exporter.get("/-/ready", "client"))
        exporter.configure(TLS + CLIENTS + allowed.format("ops@example.com"))
        assert exporter.get("/-/ready", "client").status_code == 200


def test_a_renewed_certificate_is_served_without_a_restart(folder: Path) -> None:
    """New connections get the new certificate. An open connection stays open."""
    with secured(folder, TLS) as exporter, exporter.client() as staying:
        assert staying.get("/-/ready").status_code == 200
        before = served_certificate(exporter)
        shutil.copy(folder / "renewed.crt", folder / "server.crt")
        shutil.copy(folder / "renewed.key", folder / "server.key")
        assert served_certificate(exporter) != before
        assert exporter.get("/-/ready").status_code == 200
        assert staying.get("/-/ready").status_code == 200


def served_certificate(exporter: Secured) -> str:
    return ssl.get_server_certificate(("localhost", exporter.port))


def test_client_certificate_rules_change_without_a_restart(folder: Path) -> None:
    """The new rule applies to the next connection, whether it is stricter or not."""
    with secured(folder, TLS + CLIENTS) as exporter:
        assert refused(lambda: exporter.get("/-/ready"))
        exporter.configure(TLS)
        assert exporter.get("/-/ready").status_code == 200
        exporter.configure(TLS + CLIENTS)
        assert refused(lambda: exporter.get("/-/ready"))
        exporter.configure(TLS + CLIENTS.replace("authority", "stranger"))
        assert refused(lambda: exporter.get("/-/ready", "client"))
        assert exporter.get("/-/ready", "stranger").status_code == 200


def test_a_broken_change_keeps_the_running_configuration(folder: Path) -> None:
    """The error is logged once and shows in a metric. The next valid file is applied."""
    with secured(folder, TLS + USERS) as exporter:
        assert exporter.own_metrics(auth=ALICE)[SUCCESSFUL] == 1
        exporter.configure(TLS + USERS + "basic_auth: {}\n")
        for _ in range(5):
            assert exporter.own_metrics(auth=ALICE)[SUCCESSFUL] == 0
            assert exporter.get("/-/ready").status_code == 401
        errors = [each for each in exporter.events() if each["level"] == "error"]
        assert [each["event"] for each in errors] == ["web configuration reload failed"]
        line = len((TLS + USERS).splitlines()) + 1
        assert (
            f'web.yml:{line}: basic_auth: unknown key; did you mean "basic_auth_users"?'
            in (errors[0]["problem"])
        )
        exporter.configure(TLS)
        assert exporter.get("/-/ready").status_code == 200
        assert exporter.own_metrics()[SUCCESSFUL] == 1


def test_a_wrong_file_is_status_2(folder: Path) -> None:
    """Each error is one line. Nothing else is printed, and no port is opened."""
    web = folder / "web.yml"
    web.write_text("tls_server_config: {cert_file: server.crt}\nbasic_auth_users: {alice: abc}\n")
    done = subprocess.run(
        exporter_command("demo", f"--web.config.file={web}"),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert f"{web}:1: tls_server_config: key and key_file are missing" in first
    assert f"{web}:2: basic_auth_users.alice: not a bcrypt hash" in second


def test_web_config_secrets_are_not_shown(closed: Secured) -> None:
    """No log line or page contains the password, its hash or the key, at any log level."""
    closed.get("/metrics", "client", auth=("alice", PASSWORD + "!"))
    closed.configure(TLS + CLIENTS + USERS + f"unknown: {HASH}\n")
    pages = [closed.get(path, "client", auth=ALICE).text for path in ("/metrics", "/")]
    shown = (closed.folder / "log").read_text() + "".join(pages)
    key = (closed.folder / "server.key").read_text().splitlines()[1]
    assert not any(secret in shown for secret in (PASSWORD, HASH, key))


def cpu_seconds(exporter: Secured) -> float:
    """CPU time that the process has used."""
    fields = Path(f"/proc/{exporter.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_exporter_stops_whatever_clients_do(folder: Path) -> None:
    """An open connection, a handshake or a password comparison does not delay the shutdown."""
    dear = f"basic_auth_users:\n  alice: $2b$31${'.' * 53}\n"
    with secured(folder, TLS + dear) as exporter, exporter.client() as staying:
        assert staying.get("/-/ready").status_code == 401
        with socket.create_connection(("127.0.0.1", exporter.port)):
            asking = threading.Thread(
                target=lambda: refused(lambda: exporter.get("/-/ready", auth=ALICE))
            )
            before = cpu_seconds(exporter)
            asking.start()
            eventually(lambda: cpu_seconds(exporter) > before + 1, "the password is compared")
            exporter.process.send_signal(signal.SIGTERM)
            assert exporter.process.wait(30) == 0
            asking.join(30)


def test_prometheus_scrapes_with_the_documented_configuration(closed: Secured) -> None:
    """The scrape configuration of docs/web-config.md works, with the paths and port of the test."""
    page = (ROOT / "docs" / "web-config.md").read_text("utf-8")
    (example,) = [part for part in page.split("```yaml\n") if part.startswith("scrape_configs:")]
    config = yaml.safe_load(example.partition("```")[0])
    (job,) = config["scrape_configs"]
    (closed.folder / "password").write_text(PASSWORD)
    job["tls_config"] |= {
        "ca_file": "server.crt",
        "cert_file": "client.crt",
        "key_file": "client.key",
    }
    job["basic_auth"] |= {"username": "alice", "password_file": "password"}
    job["static_configs"] = [{"targets": [f"localhost:{closed.port}"]}]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    path = closed.folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={closed.folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, closed.folder / "prometheus.log"):
        base = f"http://127.0.0.1:{port}"
        serves(f"{base}/-/ready")

        def scraped() -> bool:
            answer = httpx.get(f"{base}/api/v1/query", params={"query": "up"})
            return [each["value"][1] for each in answer.json()["data"]["result"]] == ["1"]

        eventually(scraped, "Prometheus scrapes with certificate and password")
