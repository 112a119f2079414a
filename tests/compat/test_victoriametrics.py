"""The alerts on VictoriaMetrics, with the same tests as for Prometheus, run by vmalert-tool.

It counts the first value of a new series as an increase, and an alert sees the result of a
recording rule one evaluation later.
"""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import program
from tests.rules.scenarios import TEST_FILES, stories

ALERT_TESTS = [
    path
    for path in TEST_FILES
    if not any("promql_expr_test" in story for story in stories(path))  # not supported there
]


def test_tests_of_alerts_and_of_expressions_are_in_separate_files() -> None:
    """This way, each test of alerts also runs with VictoriaMetrics."""
    for path in set(TEST_FILES) - set(ALERT_TESTS):
        assert not any("alert_rule_test" in story for story in stories(path))
    assert len(ALERT_TESTS) >= 5


@pytest.mark.parametrize("path", ALERT_TESTS, ids=lambda path: path.stem)
def test_the_same_alerts_fire(path: Path) -> None:
    """Each alert fires with its texts and ends as on Prometheus."""
    done = subprocess.run(
        [program("vmalert-tool"), "unittest", "--disableAlertgroupLabel", f"--files={path}"],
        capture_output=True,
        check=False,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
