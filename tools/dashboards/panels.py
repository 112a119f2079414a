"""Panels, each with what every panel must have: title, description, unit, a look without data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models

from tools.dashboards.statuses import BLUE, GREY, NO_DATA, VERMILION

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING = "No data. Is the exporter scraped? Look at the first row."
"""What a graph says that has nothing to show."""

Step = tuple[float | None, str]
"""From this value on, this colour."""

GOOD_OR_BAD: tuple[Step, ...] = ((None, BLUE), (1, VERMILION))


@dataclass(frozen=True)
class About:
    """What stands behind a panel's (i)."""

    what: str
    unit: str
    bad: str
    first: str
    """The first thing to do."""

    def __str__(self) -> str:
        return (
            f"{self.what}\n\n**Unit:** {self.unit}\n\n**Bad:** {self.bad}\n\n"
            f"**First:** {self.first}"
        )


@dataclass(frozen=True)
class Query:
    """One query of a graph, and how its series are called."""

    expr: str
    legend: str
    dashed: bool = False
    """For what a series is compared with."""


Panel = (
    stat.Panel
    | timeseries.Panel
    | statetimeline.Panel
    | table.Panel
    | bargauge.Panel
    | heatmap.Panel
    | text.Panel
)


def reference(number: int) -> str:
    """The name of a graph's query: A for the first one."""
    return chr(ord("A") + number)


def range_query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    """A query over the dashboard's time range."""
    query = prometheus.Dataquery().expr(expr).range().legend_format(legend)
    return query.ref_id(ref).datasource(DATASOURCE)


def instant_query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    """A query at the end of the dashboard's time range."""
    query = prometheus.Dataquery().expr(expr).instant().legend_format(legend)
    return query.ref_id(ref).datasource(DATASOURCE)


def steps(colours: Sequence[Step]) -> builders.ThresholdsConfig:
    """Colours by value."""
    made = [models.Threshold(value=value, color=colour) for value, colour in colours]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def coded(looks: dict[int, tuple[str, str]]) -> models.ValueMap:
    """Codes as a text and a colour."""
    return models.ValueMap(
        options={
            str(code): models.ValueMappingResult(text=text_, color=colour, index=index)
            for index, (code, (text_, colour)) in enumerate(looks.items())
        }
    )


NONE = coded({0: ("✔ none", BLUE)})
"""For a number of things that should not be."""


def missing(text_: str = NO_DATA, colour: str | None = GREY) -> models.SpecialValueMap:
    """What stands where there is no value."""
    return models.SpecialValueMap(
        options=models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.NULL_AND_NAN,
            result=models.ValueMappingResult(text=text_, color=colour, index=99),
        )
    )


def tile(
    title: str,
    about: About,
    expr: str,
    *,
    unit: str = "short",
    colours: Sequence[Step] = GOOD_OR_BAD,
    mappings: Sequence[models.ValueMapping] = (),
) -> stat.Panel:
    """One number on a background that says how it is; grey where it is not known."""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    return (
        stat.Panel()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .with_target(instant_query(expr, "", "A"))
        .unit(unit)
        .decimals(0 if unit == "short" else 1)
        .no_value(NO_DATA)
        .thresholds(steps(colours))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .mappings([*mappings, missing()])
        .color_mode(options.BigValueColorMode.BACKGROUND)
        .graph_mode(options.BigValueGraphMode.NONE)
        .text_mode(options.BigValueTextMode.AUTO)
        .reduce_options(reduce)
    )


def _legend(*, right: bool) -> common.VizLegendOptions:
    placement = options.LegendPlacement.RIGHT if right else options.LegendPlacement.BOTTOM
    mode = options.LegendDisplayMode.TABLE if right else options.LegendDisplayMode.LIST
    legend = common.VizLegendOptions().show_legend(True).placement(placement).display_mode(mode)
    return legend.calcs(["lastNotNull"] if right else [])


def _tooltip() -> common.VizTooltipOptions:
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)
    return tooltip.sort(options.SortOrder.DESCENDING)


_DASHED = models.DynamicConfigValue("custom.lineStyle", {"dash": [6, 6], "fill": "dash"})
_UNFILLED = models.DynamicConfigValue("custom.fillOpacity", 0)


class Lines(timeseries.Panel):
    """Values over time."""

    def stepped(self) -> Self:
        """For what holds from one run to the next."""
        return self.line_interpolation(options.LineInterpolation.STEP_AFTER)

    def stacked_bars(self) -> Self:
        """For amounts of several kinds, one on top of the other."""
        stacking = common.StackingConfig().mode(options.StackingMode.NORMAL).group("A")
        bars = self.draw_style(options.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
        return bars.stacking(stacking)

    def coloured(self, colours: dict[str, str]) -> Self:
        """Series of these names in these colours."""
        for name, colour in colours.items():
            fixed = models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
            self.override_by_name(name, [fixed])
        return self


def lines(
    title: str, about: About, unit: str, *queries: Query, right: bool = False, low: float = 0
) -> Lines:
    """A graph; gaps stay gaps."""
    panel = (
        Lines()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .interval("1m")
        .unit(unit)
        .axis_soft_min(low)
        .no_value(NOTHING)
        .line_width(1)
        .fill_opacity(5)
        .span_nulls(False)
        .show_points(options.VisibilityMode.NEVER)
        .legend(_legend(right=right))
        .tooltip(_tooltip())
    )
    for number, query in enumerate(queries):
        panel.with_target(range_query(query.expr, query.legend, reference(number)))
        if query.dashed:
            panel.override_by_query(reference(number), [_DASHED, _UNFILLED])
    return panel


def timeline(
    title: str, about: About, looks: dict[int, tuple[str, str]], *queries: Query
) -> statetimeline.Panel:
    """States over time. The queries have a state at every step: `or_no_data`.

    `insertNulls` is for a Prometheus that lost even that; it must exceed the widest step, or
    each state would be cut short.
    """
    hour = models.DynamicConfigValue("custom.insertNulls", 3_600_000)
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .interval("1m")
        .max_data_points(2000)
        .unit("none")
        .no_value(NOTHING)
        .mappings([coded(looks), missing()])
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(GREY))
        .override_by_regexp(".*", [hour])
        .merge_values(True)
        .show_value(options.VisibilityMode.NEVER)
        .row_height(0.85)
        .line_width(0)
        .fill_opacity(90)
        .legend(_legend(right=False))
        .tooltip(_tooltip())
    )
    for number, query in enumerate(queries):
        panel.with_target(range_query(query.expr, query.legend, reference(number)))
    return panel


def bars(
    title: str, about: About, unit: str, expr: str, legend: str, *colours: Step
) -> bargauge.Panel:
    """A few numbers, as horizontal bars."""
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    return (
        bargauge.Panel()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .with_target(instant_query(expr, legend, "A"))
        .unit(unit)
        .decimals(0 if unit == "short" else 1)
        .min(0)
        .no_value(NO_DATA)
        .mappings([missing()])
        .thresholds(steps(colours or GOOD_OR_BAD))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .display_mode(options.BarGaugeDisplayMode.BASIC)
        .orientation(options.VizOrientation.HORIZONTAL)
        .show_unfilled(False)
        .min_viz_height(16)
        .reduce_options(reduce)
    )


def heat(title: str, about: About, unit: str, query: Query) -> heatmap.Panel:
    """How many series have which value, over time."""
    log = common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(2)
    rows = common.HeatmapCalculationBucketConfig().scale(log)
    colour = heatmap.HeatmapColorOptions().scheme("Blues").steps(32)
    return (
        heatmap.Panel()
        .title(title)
        .description(str(about))
        .datasource(DATASOURCE)
        .interval("1m")
        .max_data_points(200)
        .with_target(range_query(query.expr, query.legend, "A"))
        .unit(unit)
        .no_value(NOTHING)
        .calculate(True)
        .calculation(common.HeatmapCalculationOptions().y_buckets(rows))
        .y_axis(heatmap.YAxisConfig().unit(unit).min(0))
        .color(colour)
        .show_legend()
        .show_tooltip()
    )


def words(title: str, about: About, content: str) -> text.Panel:
    """A text in Markdown."""
    return text.Panel().title(title).description(str(about)).content(content)
