"""Tables: one instant query per column, joined on what tells the rows apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, table
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboards.panels import DATASOURCE, About, Step, missing, steps
from tools.dashboards.statuses import NO_DATA


@dataclass(frozen=True)
class Label:
    """A column that is a label of the first query."""

    label: str
    title: str
    width: int | None = None
    link: str | None = None
    """Where a click on the cell leads."""

    @property
    def field(self) -> str:
        """What Grafana calls it before it is renamed."""
        return self.label


@dataclass(frozen=True)
class Column:
    """A column of values. `ref` is a word: Grafana calls the values `Value #ref`."""

    ref: str
    title: str
    expr: str
    unit: str
    width: int | None = None
    absent: str = "-"
    decimals: int | None = None
    mapping: models.ValueMap | None = None
    colours: Sequence[Step] = ()
    """Where given, or where there is a mapping, the cell's background has its colour."""

    @property
    def field(self) -> str:
        """What Grafana calls it before it is renamed."""
        return f"Value #{self.ref}"


@dataclass(frozen=True)
class Rows:
    """What a table has a row for: each series of the query, which differ in `key`."""

    ref: str
    expr: str
    key: str


def table_of(
    title: str,
    about: About,
    rows: Rows,
    *columns: Label | Column,
    sort: str,
) -> table.Panel:
    """A table, sorted by the column of this title, the highest first."""
    panel = (
        table.Panel()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .unit("short")
        .no_value(NO_DATA)
        .show_header(True)
        .cell_height(options.TableCellHeight.SM)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
        .with_target(_query(rows.ref, rows.expr))
    )
    for column in columns:
        if isinstance(column, Column) and column.ref != rows.ref:
            panel.with_target(_query(column.ref, column.expr))
        panel.override_by_name(column.title, _properties(column))
    for transformation in _transformations(rows, columns):
        panel.with_transformation(transformation)
    return panel


def _query(ref: str, expr: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expr).instant().format(PromQueryFormat.TABLE)
    return query.ref_id(ref).datasource(DATASOURCE)


def _transformations(
    rows: Rows, columns: Sequence[Label | Column]
) -> list[models.DataTransformerConfig]:
    shown = [column.field for column in columns]
    hidden = {rows.key, f"Value #{rows.ref}"} - set(shown)
    return [
        models.DataTransformerConfig(
            id_val="filterFieldsByName", options={"exclude": {"pattern": "^Time.*"}}
        ),
        models.DataTransformerConfig(
            id_val="joinByField", options={"byField": rows.key, "mode": "outer"}
        ),
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(sorted(hidden), True),
                "indexByName": {name: index for index, name in enumerate(shown)},
                "renameByName": {column.field: column.title for column in columns},
            },
        ),
    ]


def _properties(column: Label | Column) -> list[models.DynamicConfigValue]:
    made: dict[str, object] = {}
    if column.width:
        made["custom.width"] = column.width
    if isinstance(column, Label):
        if column.link:
            link = {"title": "Open the integration's own dashboard", "url": column.link}
            made["links"] = [link]
        return _values(made)
    made["unit"] = column.unit
    if column.decimals is not None:
        made["decimals"] = column.decimals
    made["mappings"] = [*([column.mapping] if column.mapping else []), missing(column.absent, None)]
    if column.colours:
        made["thresholds"] = steps(column.colours).build()
    if column.colours or column.mapping:
        made["custom.cellOptions"] = {"mode": "basic", "type": "color-background"}
        made["mappings"] = [
            *([column.mapping] if column.mapping else []),
            missing(column.absent),
        ]
    return _values(made)


def _values(made: dict[str, object]) -> list[models.DynamicConfigValue]:
    return [models.DynamicConfigValue(name, value) for name, value in made.items()]
