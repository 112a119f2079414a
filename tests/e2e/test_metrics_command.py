"""The output, the written file and the exit status of a `metrics` process."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.processes import clean_environment, exporter_command
from tests.shown import serving
from tests.simulator import ScriptedIntegration, Simulator

KEY = "canary-key-5b0e"


@pytest.fixture
def integration() -> ScriptedIntegration:
    """An integration with a run some minutes ago."""
    made = ScriptedIntegration("good", "users")
    now = time.time()
    for number in range(3, 0, -1):
        made.run(now - 600 * number, now - 600 * number + 30, rows_synced=10)
    return made


@pytest.fixture
def simulator(integration: ScriptedIntegration) -> Simulator:
    """A workspace with this integration."""
    return Simulator([integration], time.time, key=KEY)


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    """The workspace URL."""
    with serving(simulator) as address:
        yield address


def metrics(url: str, *flags: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The output and the exit status of the command."""
    given = {"BRAZE_REST_ENDPOINT": url, "BRAZE_API_KEY": KEY} | env
    done = subprocess.run(
        exporter_command("metrics", *flags),
        env=clean_environment(**given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def values(page: str, name: str) -> list[float]:
    """The values of the samples with this name."""
    families = text_string_to_metric_families(page)
    return [each.value for family in families for each in family.samples if each.name == name]


def test_the_metrics_are_printed(url: str) -> None:
    """The exit status is 0, and no metric collides with those of node_exporter itself."""
    done = metrics(url)
    assert done.returncode == 0
    assert values(done.stdout, "braze_cdi_up") == [1]
    assert values(done.stdout, "cdi_exporter_build_info") == [1]
    assert "\nprocess_" not in done.stdout
    assert "\npython_info" not in done.stdout
    assert metrics(url, "--format=openmetrics").stdout.endswith("# EOF\n")


def test_the_counters_in_the_file_continue(
    url: str, integration: ScriptedIntegration, tmp_path: Path
) -> None:
    """A second call adds the runs that finished since the first."""
    page, state = tmp_path / "braze.prom", tmp_path / "state.sqlite"
    flags = (f"--output={page}", f"--state.file={state}")
    first = metrics(url, *flags)
    assert (first.returncode, first.stdout) == (0, "")
    assert sum(values(page.read_text(), "braze_cdi_syncs_total")) == 0
    integration.run(time.time() - 2, time.time() - 1, rows_synced=10)
    assert metrics(url, flags[1], CDI_EXPORTER_METRICS_OUTPUT=str(page)).returncode == 0
    assert sum(values(page.read_text(), "braze_cdi_syncs_total")) == 1
    assert page.stat().st_mode & 0o777 == 0o644


def test_a_workspace_that_cannot_be_read_is_status_1(url: str, simulator: Simulator) -> None:
    """The metrics are printed nevertheless, and the last line of stderr names the reason."""
    simulator.key = "another"
    done = metrics(url)
    assert done.returncode == 1
    assert values(done.stdout, "braze_cdi_up") == [0]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("cdi-exporter: cannot read the workspace default: 401: ")


def test_a_wrong_configuration_is_status_2(url: str) -> None:
    """Nothing is printed to stdout."""
    done = metrics(url, BRAZE_REST_ENDPOINT="http://rest.example.com")
    assert (done.returncode, done.stdout) == (2, "")
