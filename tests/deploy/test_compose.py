"""The Compose files: parsed by Docker's own parser, with their services run as configured there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.containers import output, script
from tests.e2e.processes import (
    ROOT,
    clean_environment,
    eventually,
    free_port,
    program,
    running,
    serves,
)

FILE = ROOT / "deploy" / "compose.yaml"
SHARED = ROOT / "deploy" / "compose-postgresql.yaml"
"""Two exporters that share a database."""
SERVICES = ("exporter", "prometheus", "alertmanager", "grafana")
Service = dict[str, Any]


def read(file: Path = FILE) -> dict[str, Service]:
    """The services, as Docker's own parser reads them."""
    model = json.loads(
        output(script("go-tool", "compose-go"), "--format=json", str(file), cwd=FILE.parent)
    )
    services = model["services"]
    assert isinstance(services, dict)
    return services


def with_variables(folder: Path, **variables: str) -> dict[str, Service]:
    """The services with variables, which that parser does not take from the environment."""
    text = re.sub(
        r"\$\{(\w+):-([^}]*)\}",
        lambda found: variables.get(found[1]) or found[2],
        FILE.read_text("utf-8"),
    )
    file = folder / "compose.yaml"
    file.write_text(text, "utf-8")
    return read(file)


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    """The services without any variables."""
    return read()


def mounted(service: Service) -> dict[str, Path]:
    """The mounted files and directories of the checkout, by their path in the container."""
    return {
        mount["target"]: Path(mount["source"])
        for mount in service["volumes"]
        if mount["type"] == "bind"
    }


def as_mounted(service: Service, folder: Path) -> Path:
    """A directory with the service's mounts at the same paths as in its container."""
    for target, source in mounted(service).items():
        place = folder / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
    return folder


def test_all_four_services_are_defined(services: dict[str, Service]) -> None:
    assert sorted(services) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_hardened_and_restarts(services: dict[str, Service], name: str) -> None:
    """It is read-only, has no capabilities, a fixed version and a health check, and restarts."""
    service = services[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback(
    services: dict[str, Service], name: str, tmp_path: Path
) -> None:
    """They are only reachable from this machine, unless PUBLISH_ADDRESS is set."""
    (port,) = services[name]["ports"]
    assert port["host_ip"] == "127.0.0.1"
    (port,) = with_variables(tmp_path, PUBLISH_ADDRESS="0.0.0.0")[name]["ports"]
    assert port["host_ip"] == "0.0.0.0"


@pytest.mark.parametrize("name", SERVICES)
def test_each_mounted_file_exists(services: dict[str, Service], name: str) -> None:
    """Each mount is a file or directory of the checkout and is read-only."""
    for mount in services[name]["volumes"]:
        if mount["type"] == "bind":
            assert Path(mount["source"]).is_relative_to(ROOT)
            assert Path(mount["source"]).exists()
            assert mount["read_only"]


def test_the_exporter_is_built_from_the_checkout(services: dict[str, Service]) -> None:
    """Its image is built from the Dockerfile, and its state is on a volume."""
    assert Path(services["exporter"]["build"]["context"]) == ROOT
    assert [mount["target"] for mount in services["exporter"]["volumes"]] == ["/data"]


def exporter(service: Service) -> tuple[list[str], dict[str, str], int]:
    """The command of the exporter's service, its environment and its port."""
    port = free_port()
    environment = clean_environment(
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        CDI_EXPORTER_WEB_LISTEN_ADDRESS=f"127.0.0.1:{port}",
        **service["environment"],
    )
    return [*service["entrypoint"], *service["command"]], environment, port


def test_two_variables_select_a_real_workspace(tmp_path: Path) -> None:
    """With BRAZE_REST_ENDPOINT and BRAZE_API_KEY the exporter reads that workspace."""
    given = {"BRAZE_REST_ENDPOINT": "http://127.0.0.1:9", "BRAZE_API_KEY": "key"}
    command, environment, port = exporter(with_variables(tmp_path, **given)["exporter"])
    with running(command, tmp_path / "log", environment):
        serves(f"http://127.0.0.1:{port}/-/healthy")
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    assert 'braze_cdi_refresh_error{reason="connection",workspace="default"} 1.0' in metrics


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"BRAZE_REST_ENDPOINT": "rest.iad-03.braze.com"}, "BRAZE_API_KEY"),
        ({"BRAZE_API_KEY": "key"}, "BRAZE_REST_ENDPOINT"),
    ],
)
def test_one_variable_without_the_other_is_an_error(
    given: dict[str, str], missing: str, tmp_path: Path
) -> None:
    """The exporter does not fall back to the demo, and the error names the missing variable."""
    command, environment, _ = exporter(with_variables(tmp_path, **given)["exporter"])
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert missing in line


def test_prometheus_accepts_its_configuration(services: dict[str, Service], tmp_path: Path) -> None:
    """The mounted configuration and rules are valid."""
    root = as_mounted(services["prometheus"], tmp_path)
    printed = output(
        program("promtool"), "check", "config", str(root / "etc/prometheus/prometheus.yml")
    )
    assert "rules found" in printed


def test_alertmanager_accepts_its_configuration(
    services: dict[str, Service], tmp_path: Path
) -> None:
    """The mounted configuration and templates are valid."""
    root = as_mounted(services["alertmanager"], tmp_path)
    printed = output(
        program("amtool"), "check-config", str(root / "etc/alertmanager/alertmanager.yml")
    )
    assert "1 templates" in printed


def test_grafana_finds_dashboards_and_data(services: dict[str, Service], tmp_path: Path) -> None:
    """Each provider's directory has dashboards, and the data source is the service's Prometheus."""
    root = as_mounted(services["grafana"], tmp_path)
    provisioning = root / "etc/grafana/provisioning"
    providers = [
        provider
        for path in provisioning.glob("dashboards/*.y*ml")
        for provider in yaml.safe_load(path.read_text("utf-8"))["providers"]
    ]
    assert providers
    for provider in providers:
        assert list((root / provider["options"]["path"].lstrip("/")).rglob("*.json"))
    sources = [
        source
        for path in provisioning.glob("datasources/*.y*ml")
        for source in yaml.safe_load(path.read_text("utf-8"))["datasources"]
    ]
    assert [(source["type"], source["url"]) for source in sources] == [
        ("prometheus", "http://prometheus:9090")
    ]


@pytest.fixture
def stack(services: dict[str, Service], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The services except Grafana, with their flags and mounts, on loopback ports."""
    command, environment, port = exporter(services["exporter"])
    ports = {"exporter": port, "prometheus": free_port(), "alertmanager": free_port()}
    with running(command, tmp_path / "exporter.log", environment):
        serves(f"http://127.0.0.1:{port}/-/healthy")
        with (
            running(
                local("alertmanager", services, tmp_path, ports), tmp_path / "alertmanager.log"
            ),
            running(local("prometheus", services, tmp_path, ports), tmp_path / "prometheus.log"),
        ):
            yield {name: f"http://127.0.0.1:{each}" for name, each in ports.items()}


def local(
    name: str, services: dict[str, Service], folder: Path, ports: dict[str, int]
) -> list[str]:
    """The command of a service, with its paths and names replaced by local ones."""
    root = as_mounted(services[name], folder / name)
    for path in root.rglob("*.yml"):
        text = path.read_text("utf-8")
        for host, port in ports.items():
            text = re.sub(rf'"{host}:\d+"', f'"127.0.0.1:{port}"', text)
        path.write_text(text, "utf-8")
    debian = {"alertmanager": "prometheus-alertmanager"}.get(name, name)
    flags = [re.sub(r"=/", f"={root}/", flag) for flag in services[name]["command"]]
    return [program(debian), *flags, f"--web.listen-address=127.0.0.1:{ports[name]}"]


def test_the_services_reach_each_other(stack: dict[str, str]) -> None:
    """Prometheus scrapes the demo, evaluates the rules and is connected to Alertmanager."""

    def answer(path: str) -> Any:
        return httpx.get(f"{stack['prometheus']}/api/v1/{path}").json()["data"]

    def scraped() -> bool:
        active = answer("targets")["activeTargets"]
        jobs = {each["labels"]["job"] for each in active if each["health"] == "up"}
        return {"braze-cdi", "alertmanager"} <= jobs

    eventually(lambda: httpx.get(f"{stack['prometheus']}/-/ready").is_success, "it is ready")
    eventually(scraped, "Prometheus scrapes the exporter and Alertmanager")
    eventually(
        lambda: answer("alertmanagers")["activeAlertmanagers"],
        "Prometheus is connected to Alertmanager",
    )
    eventually(lambda: answer("query?query=braze_cdi_up")["result"], "Prometheus has samples")
    rules = [rule for group in answer("rules")["groups"] for rule in group["rules"]]
    assert rules
    assert not [rule["name"] for rule in rules if rule["health"] == "err"]


@pytest.fixture(scope="module")
def shared() -> dict[str, Service]:
    """The services of two exporters with a database, without any variables."""
    return read(SHARED)


def test_two_exporters_share_a_database(shared: dict[str, Service]) -> None:
    """They differ only in their published port, and have no volume."""
    assert sorted(shared) == ["database", "exporter-1", "exporter-2", "prometheus"]
    one, two = ({**shared[f"exporter-{number}"]} for number in (1, 2))
    assert [one.pop("ports")[0]["published"], two.pop("ports")[0]["published"]] == [
        *("10234", "10235")
    ]
    assert one == two
    assert "volumes" not in one
    assert one["environment"]["CDI_EXPORTER_STATE_URL"] == "postgresql://cdi@database/cdi"
    assert one["environment"]["CDI_EXPORTER_STATE_FILE"] == "", "the image's own is switched off"


def test_shared_services_are_hardened_and_restart(shared: dict[str, Service]) -> None:
    """They are hardened like the services in the other file.

    Ports are published on the loopback, and mounts are read-only.
    """
    for service in shared.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]
        assert "build" in service or re.search(r":v?\d+\.\d+(\.\d+)?$", service["image"])
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ()))
        for mount in service.get("volumes", ()):
            if mount["type"] == "bind":
                assert Path(mount["source"]).exists()
                assert mount["read_only"]
    assert "ports" not in shared["database"]


def test_the_password_is_a_file_that_both_read(shared: dict[str, Service], tmp_path: Path) -> None:
    """No variable contains it, and the exporter starts with the file's content."""
    secret = "/run/secrets/database-password"
    for name in ("database", "exporter-1", "exporter-2"):
        assert [each["target"] for each in shared[name]["secrets"]] == [secret]
        assert "PGPASSWORD" not in shared[name]["environment"]
        assert "POSTGRES_PASSWORD" not in shared[name]["environment"]
    assert shared["database"]["environment"]["POSTGRES_PASSWORD_FILE"] == secret
    service = shared["exporter-1"]
    assert service["environment"]["DATABASE_PASSWORD_FILE"] == secret
    (tmp_path / "password").write_text("canary\n", "utf-8")
    stand_in = tmp_path / "cdi-exporter"
    stand_in.write_text('#!/bin/sh\necho "$PGPASSWORD $*"\n', "utf-8")
    stand_in.chmod(0o755)

    def started(password: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*service["entrypoint"], *service["command"]],
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "DATABASE_PASSWORD_FILE": str(password),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert started(tmp_path / "password").stdout == "canary serve\n"
    missing = started(tmp_path / "missing")
    assert missing.returncode != 0
    assert missing.stdout == ""


def test_prometheus_scrapes_both_exporters(shared: dict[str, Service], tmp_path: Path) -> None:
    """Each is a target, and the mounted rules, which combine both, are valid."""
    root = as_mounted(shared["prometheus"], tmp_path)
    file = root / "etc/prometheus/prometheus.yml"
    assert "rules found" in output(program("promtool"), "check", "config", str(file))
    jobs = {each["job_name"]: each for each in yaml.safe_load(file.read_text())["scrape_configs"]}
    (targets,) = jobs["braze-cdi"]["static_configs"]
    assert targets == {"targets": ["exporter-1:10234", "exporter-2:10234"]}
