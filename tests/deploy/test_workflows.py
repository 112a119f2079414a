"""The workflows: judged by actionlint, which knows GitHub's own schema of them."""

from tests.deploy.containers import output, script
from tests.e2e.processes import ROOT


def test_actionlint_has_no_findings() -> None:
    """No unknown key, no wrong expression, no needed job that does not exist."""
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    command = [script("go-tool", "actionlint"), "-shellcheck=", "-pyflakes="]
    assert output(*command, *map(str, workflows)) == ""
