"""Pieces of PromQL: selectors made from the catalog, so that no name can be wrong.

Each piece takes the newest value within the lookback and the maximum over the exporter's
instances: two of them, one that was replaced a moment ago, or the seam of a backfill never
give two series where a rule wants one.
"""

from collections.abc import Sequence

from cdi_exporter.catalog import INTEGRATION, Metric

PRESENCE = ("workspace", "integration_id")
"""What an integration is known by when its name changes."""


def by(labels: Sequence[str]) -> str:
    """The labels as `by` and `on` take them."""
    return "(" + ", ".join(labels) + ")"


def selector(metric: Metric, matchers: str = "") -> str:
    """All series of a metric, or those that match."""
    return f"{metric.name}{{{matchers}}}" if matchers else metric.name


def newest(
    metric: Metric,
    window: str,
    matchers: str = "",
    labels: Sequence[str] | None = None,
    offset: str = "",
) -> str:
    """The newest value within the window, by the metric's own labels where none are given."""
    moved = f" offset {offset}" if offset else ""
    return (
        f"max by {by(labels or metric.labels)} "
        f"(last_over_time({selector(metric, matchers)}[{window}]{moved}))"
    )


def highest(
    metric: Metric, window: str, matchers: str = "", labels: Sequence[str] | None = None
) -> str:
    """The highest value within the window."""
    return (
        f"max by {by(labels or metric.labels)} "
        f"(max_over_time({selector(metric, matchers)}[{window}]))"
    )


def increase(
    metric: Metric, window: str, matchers: str = "", labels: Sequence[str] | None = None
) -> str:
    """By how much a counter rose within the window; restarts do no harm."""
    return (
        f"max by {by(labels or metric.labels)} (increase({selector(metric, matchers)}[{window}]))"
    )


def of_integration(metric: Metric, window: str, matchers: str = "") -> str:
    """The newest value per integration, whatever further labels the metric has."""
    return newest(metric, window, matchers, INTEGRATION)


def indented(text: str, spaces: int = 2) -> str:
    """The text, moved to the right."""
    return "\n".join(" " * spaces + line for line in text.splitlines())


def both(operator: str, left: str, right: str) -> str:
    """A binary operation over two lines and more, its operator on a line of its own."""
    return f"{indented(left)}\n{operator}\n{indented(right)}"


def bracketed(text: str) -> str:
    """The text in brackets, over several lines."""
    return f"(\n{indented(text)}\n)"


def number(value: float) -> str:
    """The number as PromQL reads it, without a needless fraction."""
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
