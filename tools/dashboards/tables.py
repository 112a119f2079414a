"""Tables: one instant query per column, joined on the label that identifies the rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tools.dashboards.panels import DATASOURCE, Json, mappings, override, panel
from tools.dashboards.states import FAINT, NO_DATA, Looks


class Label(NamedTuple):
    """A column with a label of the rows. Without a width it takes the remaining space."""

    field: str
    title: str
    width: int | None = None
    link: str = ""
    """The link that a click on the cell opens."""

    @property
    def look(self) -> dict[str, object]:
        """Grafana's settings of the column."""
        links = [{"title": "Open the integration's dashboard", "url": self.link}]
        width: dict[str, object] = {"custom.width": self.width} if self.width else {}
        return width | ({"links": links} if self.link else {})


@dataclass(frozen=True)
class Column:
    """A column with one value per row. `ref` is a word, because Grafana shows it in the query."""

    ref: str
    title: str
    expr: str
    unit: str
    width: int
    absent: str = "-"
    decimals: int = 0
    looks: Looks | None = None
    coloured: bool = False
    """Whether the cell's background has the colour of its value."""
    words: bool = False
    """Whether the values are texts, which are left-aligned."""

    @property
    def field(self) -> str:
        """Grafana's name of the column before it is renamed."""
        return f"Value #{self.ref}"

    @property
    def look(self) -> dict[str, object]:
        """Grafana's settings of the column."""
        colour = FAINT if self.coloured else ""
        look: dict[str, object] = {
            "custom.width": self.width,
            "decimals": self.decimals,
            "mappings": mappings(self.looks or {}, self.absent, colour),
            "unit": self.unit,
        }
        if self.words:
            look["custom.align"] = "left"
        if self.coloured:
            look["custom.cellOptions"] = {"mode": "basic", "type": "color-background"}
        return look


def table(
    title: str, about: str, rows: str, key: str, *columns: Label | Column, sort: Sequence[str]
) -> Json:
    """A table, sorted by the columns `sort`, highest first.

    It has a row for each series of the query `rows`, identified by the label `key`.
    """
    values = [column for column in columns if isinstance(column, Column)]
    shown = [column.field for column in columns]
    hidden = sorted({key, "Value #rows"} - set(shown))
    transformations = {
        "filterFieldsByName": {"exclude": {"pattern": "^Time.*"}},
        "joinByField": {"byField": key, "mode": "outer"},
        "organize": {
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {name: index for index, name in enumerate(shown)},
            "renameByName": {column.field: column.title for column in columns},
        },
    }
    return panel(
        *("table", title, about, ""),
        interval="2m",
        targets=[
            _target("rows", rows),
            *(_target(column.ref, column.expr) for column in values),
        ],
        transformations=[{"id": name, "options": each} for name, each in transformations.items()],
        defaults={"unit": "short", "noValue": NO_DATA},
        overrides=[override("byName", each.title, each.look) for each in columns],
        options={
            "cellHeight": "sm",
            "showHeader": True,
            "sortBy": [{"displayName": each, "desc": True} for each in sort],
        },
    )


def _target(ref: str, expr: str) -> Json:
    return {
        "datasource": DATASOURCE,
        "expr": expr,
        "format": "table",
        "instant": True,
        "range": False,
        "refId": ref,
    }
