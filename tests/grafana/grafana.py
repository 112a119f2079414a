"""Grafana's handling of dashboard queries before it sends them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "grafana" / "dashboards"
DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
}

Object = Mapping[str, Any]

_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)(?::\w+)?\}?")
_SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")


def panels(dashboard: Object) -> Iterator[Object]:
    """All panels except rows, from top to bottom, including those of collapsed rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def rows(dashboard: Object) -> list[Object]:
    """The rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] == "row"]


def targets(dashboard: Object) -> Iterator[tuple[Object, Object]]:
    """Each query with its panel."""
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield panel, target


def expressions(dashboard: Object) -> dict[str, str]:
    """Every expression that is sent to Prometheus, by its place in the dashboard."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel, target in targets(dashboard)
    }
    found |= {
        f"annotation {annotation['name']}": annotation["expr"]
        for annotation in dashboard["annotations"]["list"]
    }
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert series, variable["query"]
            found[f"variable {variable['name']}"] = f"group by ({series[2]}) ({series[1]})"
    return found


def escaped(value: str) -> str:
    """A value, escaped for a regular expression inside a PromQL string."""
    return _SPECIAL.sub(lambda found: "\\\\" + found[0], value.replace("\\", "\\\\\\\\"))


def interpolated(values: str | Sequence[str]) -> str:
    """The value of a variable with several values.

    A string is an `allValue`, which stays as it is.
    """
    if isinstance(values, str):
        return values
    texts = [escaped(value) for value in values]
    return texts[0] if len(texts) == 1 else f"({'|'.join(texts)})"


@dataclass(frozen=True)
class Chosen:
    """The time range in seconds and the variables that the user selects."""

    range: int = 3600
    interval: int = 15
    scrape_interval: int = 15
    variables: Mapping[str, str | Sequence[str]] = field(
        default_factory=lambda: {"workspace": ".+", "integration": ".+"}
    )

    def filled(self, expr: str) -> str:
        """The expression that Prometheus gets. Unknown variables are left as they are."""
        rate_interval = max(self.interval + self.scrape_interval, 4 * self.scrape_interval)
        own = {
            "__range": f"{self.range}s",
            "__interval": f"{self.interval}s",
            "__rate_interval": f"{rate_interval}s",
        } | {name: interpolated(values) for name, values in self.variables.items()}
        return _VARIABLE.sub(lambda found: own.get(found[1], found[0]), expr)
