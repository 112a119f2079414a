"""Helpers that all benchmarks need: quantiles, tables, a description of the machine, JSON."""

import json
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]
"""The results of one benchmark, which can be written as JSON."""

LIBRARIES = ("httpx", "prometheus-client", "starlette", "uvicorn", "h11")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that a `share` of the values do not exceed (nearest rank)."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of durations in milliseconds, and the number of samples."""

    samples: int
    least: float
    p50: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "Spread":
        return cls(
            len(milliseconds),
            quantile(milliseconds, 0.0),
            quantile(milliseconds, 0.5),
            quantile(milliseconds, 0.99),
        )


def shown(value: object) -> str:
    """A cell: three significant digits without an exponent, or a dash if not measured."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(3, max(0, digits))}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table that is also readable as plain text. Numbers are right-aligned."""
    cells = [[*head], *([shown(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    left = [
        not any(isinstance(row[column], int | float) for row in rows)
        for column, _ in enumerate(head)
    ]

    def line(row: Sequence[str]) -> str:
        padded = (
            text.ljust(width) if at_left else text.rjust(width)
            for text, width, at_left in zip(row, widths, left, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = "|".join(
        ":" + "-" * (width + 1) if at_left else "-" * (width + 1) + ":"
        for width, at_left in zip(widths, left, strict=True)
    )
    return "\n".join([line(cells[0]), f"|{rule}|", *map(line, cells[1:])])


def across(
    by_size: Mapping[str, Any], read: Callable[[Any], Mapping[str, object]]
) -> list[list[object]]:
    """Rows by name, with a column per size. None if a size has no such figure."""
    names = dict.fromkeys(name for one in by_size.values() for name in read(one))
    return [[name, *(read(one).get(name) for one in by_size.values())] for name in names]


def machine() -> dict[str, object]:
    """The machine that the figures were measured on, without its name."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")


def machine_line(described: Mapping[str, Any]) -> str:
    """The machine in one line, for the top of the tables."""
    libraries = ", ".join(f"{name} {found}" for name, found in described["libraries"].items())
    return (
        f"{described['system']} {described['architecture']}, {described['cores']} cores "
        f"({described['cpu']}), {described['python']}; {libraries}; "
        f"load average before: {described['load_average_before']}"
    )


def write_json(path: str, figures: Figures) -> None:
    """Write the figures and the machine."""
    Path(path).write_text(json.dumps(figures, indent=2) + "\n")


def sizes(text: str) -> list[int]:
    """Numbers of integrations from the value of a flag."""
    return [int(size) for size in text.split(",")]
