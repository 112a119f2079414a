"""The image: built from the unchanged Dockerfile, and run as in production."""

import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import httpx
import pytest
import yaml

from cdi_exporter import __version__
from tests.deploy.containers import (
    DOCKERFILE,
    Containers,
    Served,
    base_image,
    output,
)
from tests.e2e.braze_server import KEY
from tests.e2e.processes import ROOT, eventually, free_port
from tests.harness import SCRAPER
from tools import licences

pytestmark = pytest.mark.timeout(300)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """A directory with the built image."""
    made = Containers(tmp_path_factory.mktemp("containers"))
    try:
        made.make_base_image()
        made.build()
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="module")
def demo(containers: Containers) -> Iterator[Served]:
    """The demo in a hardened container."""
    with containers.running("demo", "demo") as served:
        yield served


def metric(url: str, start: str) -> float:
    """The sum of the samples whose lines start with this text."""
    lines = httpx.get(f"{url}/metrics", headers=SCRAPER, timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def test_the_dockerfile_has_no_findings() -> None:
    """The Dockerfile linter finds nothing."""
    output(str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE))


def test_the_image_has_its_entrypoint_port_and_user(containers: Containers) -> None:
    """It has a numeric user that is not root, the program, a volume, a health check and labels."""
    image = containers.image()
    config = image["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["cdi-exporter"]
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["10234/tcp"]
    own = [each for each in config["Env"] if each.startswith("CDI_EXPORTER_")]
    assert own == ["CDI_EXPORTER_STATE_FILE=/data/state.sqlite"]
    assert image["Healthcheck"]["Test"] == ["CMD", "cdi-exporter", "healthcheck"]


def test_the_image_has_all_labels(containers: Containers) -> None:
    """It has the labels that OCI defines, with the version of the code. A release adds more."""
    prefix = "org.opencontainers.image."
    labels = {
        key.removeprefix(prefix): value
        for key, value in containers.image()["Config"]["Labels"].items()
        if key.startswith(prefix)
    }
    assert set(labels) == {
        *("title", "description", "licenses", "authors", "vendor", "version", "ref.name"),
        *("revision", "created", "source", "url", "documentation", "base.name"),
    }
    assert labels["title"] == "cdi-exporter"
    assert labels["licenses"] == PROJECT["license"]
    assert labels["description"] == PROJECT["description"]
    assert labels["version"] == labels["ref.name"] == __version__
    assert labels["base.name"] == base_image()


def test_the_image_has_only_the_locked_packages_and_no_build_tools(containers: Containers) -> None:
    """It contains exactly the locked packages, and no installer or compiler."""
    listed = (
        "from importlib.metadata import distributions\n"
        "print(*(f'{found.name}=={found.version}' for found in distributions()))"
    )
    found = containers.inside("/opt/cdi-exporter/bin/python", "-c", listed)
    locked = [f"{each.name}{each.specifier}" for each in licences.installed()]
    wanted = [*locked, f"cdi-exporter=={__version__}"]
    assert sorted(found.lower().replace("_", "-").split()) == sorted(wanted)
    for search in ("command -v pip pip3 gcc cc make git", "find / -xdev -type d -name pip"):
        assert containers.inside("/bin/sh", "-c", f"{search} 2>/dev/null; true") == ""


def test_the_image_has_the_bytecode_of_its_modules(containers: Containers) -> None:
    """Otherwise each health check would compile the modules that it imports."""
    code = (
        "import os, sys; import cdi_exporter.app\n"
        "loaded = [getattr(each, '__cached__', None) for each in sys.modules.values()]\n"
        "print([each for each in loaded if each and not os.path.exists(each)])"
    )
    assert containers.inside("/opt/cdi-exporter/bin/python", "-c", code) == "[]"


def test_the_exporter_adds_little_to_the_base_image(
    containers: Containers, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exporter and its packages add less than 45 MB to the base image."""
    whole = containers.image()["Size"] / 1e6
    added = whole - containers.image(base_image())["Size"] / 1e6
    with capsys.disabled():
        sys.stdout.write(f"\nimage: {whole:.0f} MB, of which the exporter {added:.0f} MB\n")
    assert added < 45


def test_the_demo_runs_without_privileges(demo: Served) -> None:
    """It serves as user 65532 without capabilities, and only /data is writable."""
    process = demo.process()
    assert process["Uid"].split() == ["65532"] * 4
    assert process["Gid"].split() == ["65532"] * 4
    assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0
    assert process["NoNewPrivs"] == "1"
    eventually(lambda: metric(demo.url, "braze_cdi_up{") == 1, "the demo's workspace is up")
    assert httpx.get(demo.url, timeout=60).status_code == 200


def test_the_health_check_succeeds(demo: Served) -> None:
    """The image's health check succeeds while the exporter serves."""
    demo.healthy()


def test_the_health_check_needs_no_password(containers: Containers, tmp_path: Path) -> None:
    """The health check has no credentials and needs none."""
    file = tmp_path / "web.yml"
    secret = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file.write_text(yaml.safe_dump({"basic_auth_users": {"prometheus": secret}}))
    file.chmod(0o644)
    command = ("demo", "--web.config.file=/etc/web.yml")
    mounts = {str(file): "/etc/web.yml:ro"}
    with containers.running("secured", *command, answer=401, volumes=mounts) as served:
        served.healthy()


def test_two_containers_share_a_network(containers: Containers, demo: Served) -> None:
    """A second exporter can use another address. Each health check requests its own exporter."""
    with containers.running("neighbour", "demo") as neighbour:
        neighbour.healthy()
        demo.healthy()
        containers.podman("pause", neighbour.name)
        try:
            demo.healthy()
        finally:
            containers.podman("unpause", neighbour.name)
        neighbour.healthy()


def test_any_user_of_group_0_can_run_the_image(containers: Containers, braze: str) -> None:
    """OpenShift chooses the user. The state is kept in the image's own volume."""
    environment = {"BRAZE_REST_ENDPOINT": braze, "BRAZE_API_KEY": KEY}
    chosen = "1000680000:0"
    with containers.running("chosen", environment=environment, user=chosen) as served:
        assert served.process()["Uid"].split() == ["1000680000"] * 4
        eventually(
            lambda: metric(served.url, "braze_cdi_integrations{") == 3, "all integrations are shown"
        )
        listed = containers.podman("exec", served.name, "stat", "-c", "%u %a", "state.sqlite")
        assert listed == "1000680000 600"
        served.healthy()


def test_the_container_stops_at_once(containers: Containers) -> None:
    """SIGTERM ends it with status 0, long before a container would be killed."""
    with containers.running("stopped", "demo") as served:
        started_at = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - started_at < 15


def test_counters_survive_in_the_volume(containers: Containers, braze: str) -> None:
    """A new container with the old volume continues the counters and adds runs since then."""
    environment = {"BRAZE_REST_ENDPOINT": braze, "BRAZE_API_KEY": KEY}
    counted = 'braze_cdi_syncs_total{integration_id="good"'
    with containers.running("first", environment=environment, volumes={"state": "/data"}) as first:
        eventually(
            lambda: metric(first.url, "braze_cdi_integrations{") == 3, "all integrations are shown"
        )
        httpx.post(f"{braze}/finish", timeout=60)
        eventually(lambda: metric(first.url, counted) == 1, "the run is counted")
        assert first.stop() == 0
    httpx.post(f"{braze}/finish", timeout=60)
    with containers.running(
        "second", environment=environment, volumes={"state": "/data"}
    ) as second:
        eventually(lambda: metric(second.url, counted) == 2, "both runs are counted")


def test_a_configuration_error_is_one_line(containers: Containers) -> None:
    """Without a key the log says what is missing, and the exit status is 2."""
    served = Served(containers, "mistaken", free_port())
    served.start(environment={"BRAZE_REST_ENDPOINT": "rest.iad-03.braze.com"})
    try:
        assert containers.podman("wait", served.name) == "2"
        (line,) = served.log().splitlines()
        assert "BRAZE_API_KEY" in line
    finally:
        containers.podman("rm", "--force", served.name)


@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
def test_every_package_exists_for_arm64(python: str, tmp_path: Path) -> None:
    """The lock installs on arm64 without a compiler, as the Dockerfile requires."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(tmp_path)]
    command += ["--require-hashes", "--only-binary=:all:", f"--python-version={python}"]
    command += ["--platform=manylinux2014_aarch64", "--platform=manylinux_2_28_aarch64"]
    output(*command, "--requirement", str(licences.LOCK), timeout=280)
    assert list(tmp_path.glob("bcrypt-*aarch64.whl"))
