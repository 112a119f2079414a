"""The workflows, checked by actionlint, which includes GitHub's own schema for them."""

from tests.deploy.containers import output, script
from tests.e2e.processes import ROOT


def test_actionlint_has_no_findings() -> None:
    """There are no unknown keys, invalid expressions or missing jobs."""
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert workflows
    command = [script("go-tool", "actionlint"), "-shellcheck=", "-pyflakes="]
    assert output(*command, *map(str, workflows)) == ""
