"""The reference page of the metrics."""

import runpy
from pathlib import Path

from cdi_exporter.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_equals_the_tools_output() -> None:
    """If it fails, run `python tools/metrics_reference.py`."""
    tool = runpy.run_path(str(ROOT / "tools" / "metrics_reference.py"))
    assert (ROOT / "docs" / "metrics.md").read_text("utf-8") == tool["reference"]()


def test_the_page_names_every_metric() -> None:
    """Each metric of the catalog is on the page with its help text."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    for metric in CATALOG:
        assert f"| `{metric.name}` | {metric.type} |" in page
        assert metric.help in page
