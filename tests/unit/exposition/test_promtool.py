"""The page in Prometheus' own linter."""

import shutil
import subprocess

import pytest

from cdi_exporter import catalog
from cdi_exporter.exposition import Exposition, Format, own_families, process_collectors
from cdi_exporter.snapshot import WorkspaceSnapshot

PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize("own", [False, True])
def test_promtool_reports_no_problems(
    full: WorkspaceSnapshot, quiet: WorkspaceSnapshot, own: bool
) -> None:
    """`promtool check metrics` parses the page without findings."""
    families = own_families(
        {each: {("1",) * len(each.labels): 1.0} for each in catalog.OWN}, process_collectors()
    )
    page = Exposition().render([full, quiet], Format(), own=families if own else ())
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"],
        input=page,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
