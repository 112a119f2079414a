"""The output and the exit status of a `check` process whose stdout is a pipe."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.e2e.processes import ROOT, clean_environment, closed_port, exporter_command
from tests.e2e.tls_proxy import certificate, proxy
from tests.shown import serving
from tests.simulator import ScriptedIntegration, Simulator

KEY = "canary-key-5b0e"
GOLDEN = Path(__file__).parent / "check"
HOUR = 3_600.0


class Braze:
    """A simulated workspace that a server on a loopback port serves."""

    def __init__(self) -> None:
        now = time.time()
        good, lossy, broken = (
            ScriptedIntegration(each, name)
            for each, name in (("good", "users"), ("lossy", "orders"), ("broken", "purchases"))
        )
        for number in range(4, 1, -1):
            end = now - HOUR * number + 20  # printed ages stay the same for 30 s
            good.run(end - 65, end, rows_synced=12_000)
            lossy.run(end - 55, end, "partial", rows_synced=70, rows_failed=30)
            broken.run(end - 5, end, "config_error", rows_synced=None, rows_failed=None)
        good.list_fields = {"contact_emails": ["canary@example.com"]}
        self.simulator = Simulator([good, lossy, broken], time.time, key=KEY)
        self.url = ""

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.url.rpartition(":")[2])


@pytest.fixture
def braze() -> Iterator[Braze]:
    """A workspace without problems."""
    made = Braze()
    with serving(made.simulator) as url:
        made.url = url
        yield made


def check(url: str, *flags: str, width: int = 80, **env: str) -> tuple[int, str]:
    """The exit status and the piped output, without the port and times."""
    given = {"BRAZE_REST_ENDPOINT": url, "BRAZE_API_KEY": KEY, "COLUMNS": str(width)} | env
    done = subprocess.run(
        exporter_command("check", *flags),
        env=clean_environment(**given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for output in (done.stdout, done.stderr):
        assert "canary" not in output
        assert "Traceback" not in output
        assert "\x1b" not in output
    output = re.sub(r"(?<=127\.0\.0\.1:)\d{5}", "PORTS", done.stdout)
    output = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "YYYY-MM-DD HH:MM UTC", output)
    return done.returncode, "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text("utf-8")


def test_piped_lines_are_not_wrapped(braze: Braze) -> None:
    """Without COLUMNS, no line is wrapped and no line has trailing spaces."""
    env = clean_environment(BRAZE_REST_ENDPOINT=braze.url, BRAZE_API_KEY=KEY)
    env.pop("COLUMNS", None)
    done = subprocess.run(
        exporter_command("check"),
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    (line,) = (each for each in done.stdout.splitlines() if "watching uses" in each)
    assert line.endswith("A finished run appears within 1 min.")
    assert all(each == each.rstrip() for each in done.stdout.splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_a_working_configuration_has_no_findings(braze: Braze, width: int) -> None:
    """The exit status is 0, and the table fits the width."""
    status, output = check(braze.url, width=width)
    assert (status, output) == (0, golden(f"works-{width}"))


def test_a_key_that_braze_does_not_know(braze: Braze) -> None:
    """The response is 401. The exit status is 1, and the output says what to compare."""
    braze.simulator.key = "another"
    assert check(braze.url) == (1, golden("unauthorized"))


@pytest.mark.parametrize(
    ("lacking", "name"), [("integration_list", "no-list"), ("integration_job_status", "no-history")]
)
def test_a_key_that_lacks_a_permission(braze: Braze, lacking: str, name: str) -> None:
    """The response is 403. The exit status is 1, and the output names the permission."""
    braze.simulator.permissions.remove(f"cdi.{lacking}")
    assert check(braze.url) == (1, golden(name))


def test_configured_ids_need_no_list(braze: Braze) -> None:
    """If the IDs are configured, `check` succeeds without the permission for the list."""
    braze.simulator.permissions.remove("cdi.integration_list")
    assert check(braze.url, BRAZE_INTEGRATION_IDS="good,lossy") == (0, golden("configured"))


def test_an_id_that_braze_does_not_know(braze: Braze) -> None:
    """The exit status is 1. The output lists the unknown ID and the IDs that work."""
    status, output = check(braze.url, BRAZE_INTEGRATION_IDS="good,gone")
    assert (status, output) == (1, golden("unknown-id"))


def test_a_closed_port_is_reported_within_seconds() -> None:
    with closed_port() as port:
        assert check(f"http://127.0.0.1:{port}") == (1, golden("refused"))


def test_plain_http_at_an_https_endpoint(braze: Braze) -> None:
    """The output distinguishes a port that speaks plain HTTP from a closed one."""
    status, output = check(braze.url.replace("http://", "https://"))
    assert status == 1
    assert "no TLS connection to 127.0.0.1:PORTS" in output


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate that a proxy presents for one of Braze's clusters."""
    return certificate(tmp_path_factory.mktemp("tls"), "rest.iad-03.braze.com")


def behind(port: int, folder: Path, ca_file: Path | None) -> tuple[int, str]:
    """The result of `check` for a workspace of cluster US-03 behind a proxy."""
    config = folder / "config.yml"
    trust = f", ca_file: {ca_file}" if ca_file else ""
    config.write_text(
        "workspaces:\n  - {name: production, endpoint: rest.iad-03.braze.com, "
        f"api_key_env: KEY{trust}}}\n"
    )
    url = f"http://canary:canary-password@127.0.0.1:{port}"
    return check("", f"--config.file={config}", KEY=KEY, HTTPS_PROXY=url)


def test_a_key_of_another_cluster(braze: Braze, trusted: Path, tmp_path: Path) -> None:
    """After a 401 from a known cluster, `check` names the cluster and its dashboard."""
    braze.simulator.key = "another"
    with proxy(trusted, braze.port) as port:
        assert behind(port, tmp_path, trusted) == (1, golden("wrong-cluster"))


def test_a_proxy_that_opens_tls(braze: Braze, trusted: Path, tmp_path: Path) -> None:
    """The proxy's certificate is not trusted. With `ca_file`, `check` works through the proxy."""
    with proxy(trusted, braze.port) as port:
        assert behind(port, tmp_path, None) == (1, golden("not-trusted"))
        status, output = behind(port, tmp_path, trusted)
    assert status == 0
    assert "rest.iad-03.braze.com (US-03)" in output


def test_a_proxy_that_refuses_every_connection(trusted: Path, tmp_path: Path) -> None:
    """The refusal is not reported as Braze's. The output names the proxy variable, not its URL."""
    with proxy(trusted, None) as port:
        assert behind(port, tmp_path, trusted) == (1, golden("proxy-refuses"))


def test_offline_makes_no_request(braze: Braze) -> None:
    """The exit status is 0. With an error it is 2, and the error is one line, as in `serve`."""
    assert check("https://dashboard-03.braze.com", "--offline") == (0, golden("offline"))
    assert check(braze.url, "--offline")[0] == 0
    assert not braze.simulator.statuses


def test_a_wrong_configuration_is_status_2(tmp_path: Path) -> None:
    """Each error is one line on stderr, as in `serve`. Nothing is on stdout."""
    config = tmp_path / "config.yml"
    config.write_text(f"workspaces:\n  - {{name: a, endpont: x, api_key: {KEY}}}\n")
    done = subprocess.run(
        exporter_command("check", f"--config.file={config}"),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert 'did you mean "endpoint"?' in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert KEY not in done.stderr


def test_a_scrape_interval_of_0_is_refused(braze: Braze) -> None:
    """An interval of 0 exits with status 2 instead of dividing by zero."""
    assert check(braze.url, "--scrape-interval=0s")[0] == 2


@pytest.mark.parametrize("works", [True, False])
def test_json_output_matches_the_schema(braze: Braze, works: bool) -> None:
    """The output matches the published schema, whatever the exit status is."""
    if not works:
        braze.simulator.key = "another"
    status, output = check(braze.url, "--output=json", "--scrape-interval=15s")
    report = json.loads(output)
    schema = json.loads((ROOT / "docs" / "check.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)
    assert (status == 0) is works is report["ok"] is (report["workspaces"][0]["key_works"])
    assert report["scrape_interval_seconds"] == 15.0


def test_with_a_file_the_environment_is_not_read(tmp_path: Path) -> None:
    """With `--config.file`, the variables of the quick start are ignored, valid or not."""
    config = tmp_path / "config.yml"
    config.write_text("workspaces: [{name: a, endpoint: rest.us-10.braze.com, api_key_env: KEY}]\n")
    status, output = check(
        "no URL", "--offline", f"--config.file={config}", KEY=KEY, BRAZE_WORKSPACE="b"
    )
    assert status == 0
    assert output.startswith("a  https://rest.us-10.braze.com (US-10)\n")
