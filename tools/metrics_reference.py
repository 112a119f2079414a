"""Writes `docs/metrics.md` from the catalog: `python tools/metrics_reference.py`."""

from collections.abc import Iterable
from pathlib import Path

from cdi_exporter import catalog
from cdi_exporter.catalog import Metric

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

_INTRODUCTION = """\
# Metrics

<!-- Written by tools/metrics_reference.py from cdi_exporter/catalog.py; do not edit. -->

*Last sync* is the newest finished run: a run under way changes nothing there. A fact that
Braze did not give has no sample: never 0, never NaN. Times are Unix timestamps, never ages;
no sample carries a timestamp of its own. Runs that were there when an integration was first
seen are the baseline; counters start at 0 and rise once for each run that finishes later.
"""

_SECTIONS = (
    ("Per integration", catalog.PER_INTEGRATION, catalog.INTEGRATION),
    ("Per workspace", catalog.PER_WORKSPACE, catalog.WORKSPACE),
    ("The exporter itself", catalog.OWN, ()),
)

_PROCESS = """\
Besides these there are `process_*` (CPU, memory, file descriptors, start time; on Linux) and
`python_info`, as every Prometheus client for Python gives them.
"""


def _row(metric: Metric, common: tuple[str, ...]) -> str:
    further = ", ".join(f"`{label}`" for label in metric.labels if label not in common)
    text = metric.help.replace("|", "\\|")
    return f"| `{metric.name}` | {metric.type} | {further} | {text} |"


def _section(title: str, metrics: Iterable[Metric], common: tuple[str, ...]) -> str:
    shared = ", ".join(f"`{label}`" for label in common)
    labels = [f"Labels of all: {shared}.", ""] if common else []
    rows = [_row(metric, common) for metric in metrics]
    heading = "further labels" if common else "labels"
    table = [f"| name | type | {heading} | |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {title}", "", *labels, *table, ""])


def reference() -> str:
    """The page's text."""
    sections = [_section(*section) for section in _SECTIONS]
    return "\n".join([_INTRODUCTION, *sections, _PROCESS])


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
