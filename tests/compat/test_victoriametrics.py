"""The alerts on VictoriaMetrics: the same tests as for Prometheus, with vmalert-tool.

It takes the value of a new series as an increase, and an alert sees what a rule records one
evaluation later.
"""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import program
from tests.rules.scenarios import TEST_FILES, stories

ALERT_TESTS = [
    path
    for path in TEST_FILES
    if not any("promql_expr_test" in story for story in stories(path))  # it does not know these
]


def test_tests_of_alerts_and_of_expressions_are_in_separate_files() -> None:
    """Each test of alerts is run with VictoriaMetrics, too."""
    for path in set(TEST_FILES) - set(ALERT_TESTS):
        assert not any("alert_rule_test" in story for story in stories(path))
    assert len(ALERT_TESTS) >= 5


@pytest.mark.parametrize("path", ALERT_TESTS, ids=lambda path: path.stem)
def test_the_same_alerts_fire(path: Path) -> None:
    """Each alert fires, with its words, and ends as on Prometheus."""
    done = subprocess.run(
        [program("vmalert-tool"), "unittest", "--disableAlertgroupLabel", f"--files={path}"],
        capture_output=True,
        check=False,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
