"""Panels as Grafana stores them: title, description, unit and appearance without data."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from tools.dashboards.states import FAINT, NO_DATA, UNKNOWN_CODE, Looks

Json = dict[str, Any]
Step = tuple[float | None, str]
"""The colour from this value on."""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NOTHING = "No data. Is the exporter scraped? See the first line of the overview."
"""The text of an empty graph."""

UNITS = {
    "none": "a state.",
    "short": "a number.",
    "s": "time.",
    "dateTimeFromNow": "time, relative to now.",
    "percentunit": "share.",
    "reqpm": "requests per minute.",
    "": "as each column shows.",
}
"""Grafana's units, as descriptions write them."""

NEWEST_VALUE = {"calcs": ["lastNotNull"], "fields": "", "values": False}
LEGEND = {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True}
TOOLTIP = {"mode": "multi", "sort": "desc"}


class Query(NamedTuple):
    """One query of a panel, with the name and the colour of its series."""

    expr: str
    legend: str = ""
    colour: str = ""
    dashed: bool = False
    """The name of series that are only there for comparison."""


def panel(
    kind: str,
    title: str,
    about: str,
    unit: str,
    *,
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
    **further: Any,
) -> Json:
    """The properties of every panel. `about` says what it shows, then `Bad:`, then `First:`."""
    what, bad, first = (" ".join(part.split()) for part in re.split(r"\s+(?:Bad|First): ", about))
    return {
        "type": kind,
        "title": title,
        "description": (
            f"{what.strip()}\n\n**Unit:** {UNITS[unit]}\n\n**Bad:** {bad}\n\n**Do first:** {first}"
        ),
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": [*overrides]},
        "options": options,
        **further,
    }


def targets(queries: Sequence[Query], *, over_time: bool) -> list[Json]:
    """Queries over the dashboard's time range, or at its end."""
    return [
        {
            "datasource": DATASOURCE,
            "expr": query.expr,
            "instant": not over_time,
            "legendFormat": query.legend,
            "range": over_time,
            "refId": ref,
        }
        for ref, query in zip(ascii_uppercase, queries, strict=False)
    ]


def fixed(colour: str) -> Json:
    """One colour for a whole series."""
    return {"mode": "fixed", "fixedColor": colour}


def thresholds(steps: Sequence[Step]) -> Json:
    """Colours by value."""
    return {"mode": "absolute", "steps": [{"value": value, "color": is_} for value, is_ in steps]}


def mappings(looks: Looks, absent: str, colour: str = FAINT) -> list[Json]:
    """The text and colour of each code. Unknown values get theirs for null, too."""
    looks = looks | {UNKNOWN_CODE: (absent, colour)}
    results = {
        str(code): {"text": text, "index": index} | ({"color": is_} if is_ else {})
        for index, (code, (text, is_)) in enumerate(looks.items())
    }
    null = {"match": "null+nan", "result": {**results[str(UNKNOWN_CODE)], "index": len(looks)}}
    return [{"type": "value", "options": results}, {"type": "special", "options": null}]


def override(matcher: str, value: str, look: Mapping[str, object]) -> Json:
    """A different appearance for a column or series."""
    properties = [{"id": name, "value": each} for name, each in look.items()]
    return {"matcher": {"id": matcher, "options": value}, "properties": properties}


def tile(
    title: str,
    about: str,
    *queries: Query,
    unit: str = "short",
    steps: Sequence[Step] = ((None, FAINT),),
    looks: Looks | None = None,
    absent: str = NO_DATA,
    link: str = "",
) -> Json:
    """One or a few numbers on a background that shows how good they are."""
    names = any(query.legend for query in queries)
    defaults = {
        "unit": unit,
        "decimals": 0 if unit == "short" else 1,
        "noValue": absent,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": mappings(looks or {}, absent),
        "links": [{"title": "Runbook", "url": link}] if link else [],
    }
    options = {
        "colorMode": "background_solid",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "auto",
        "reduceOptions": NEWEST_VALUE,
        "textMode": "value_and_name" if names else "value",
    } | ({"text": {"titleSize": 12, "valueSize": 16}} if names else {})
    shown = targets(queries, over_time=False)
    return panel("stat", title, about, unit, defaults=defaults, options=options, targets=shown)


def bars(title: str, about: str, query: Query, *steps: Step, unit: str = "percentunit") -> Json:
    """A few numbers as horizontal bars. The numbers have the colour of text, to be legible."""
    defaults = {
        "unit": unit,
        "decimals": 0,
        "min": 0,
        "noValue": NO_DATA,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": mappings({}, NO_DATA),
    }
    options = {
        "displayMode": "basic",
        "minVizHeight": 16,
        "orientation": "horizontal",
        "reduceOptions": NEWEST_VALUE,
        "showUnfilled": False,
        "text": {"titleSize": 11, "valueSize": 14},
        "valueMode": "text",
    }
    shown = targets([query], over_time=False)
    return panel("bargauge", title, about, unit, defaults=defaults, options=options, targets=shown)


def lines(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    interval: str = "1m",
    custom: Mapping[str, object] | None = None,
    overrides: Sequence[Json] = (),
    **defaults: object,
) -> Json:
    """Values over time, each series in its own colour. Gaps are not connected."""
    dashed = {"custom.lineStyle": {"dash": [6, 6], "fill": "dash"}, "custom.fillOpacity": 0}
    by_query = [
        override(
            "byFrameRefID",
            ref,
            {"color": fixed(query.colour)} | (dashed if query.dashed else {}),
        )
        for ref, query in zip(ascii_uppercase, queries, strict=False)
        if query.colour
    ]
    look = {
        "axisSoftMin": 0,
        "fillOpacity": 8,
        "lineWidth": 2,
        "showPoints": "never",
        "spanNulls": False,
    }
    return panel(
        *("timeseries", title, about, unit),
        defaults={"unit": unit, "noValue": NOTHING, "custom": look | dict(custom or {})} | defaults,
        overrides=[*by_query, *overrides],
        options={"legend": LEGEND, "tooltip": TOOLTIP},
        interval=interval,
        targets=targets(queries, over_time=True),
    )


STEPPED = {"lineInterpolation": "stepAfter"}
"""For values that stay the same from one run to the next."""
STACKED = {
    "drawStyle": "bars",
    "fillOpacity": 85,
    "lineWidth": 0,
    "stacking": {"mode": "normal", "group": "A"},
}
"""For amounts of several kinds that add up."""


def coloured(colours: Mapping[str, str]) -> list[Json]:
    """Colours of series, by a regular expression that matches the whole name."""
    return [
        override("byRegexp", f"/^(?:{name})$/", {"color": fixed(colour)})
        for name, colour in colours.items()
    ]


def timeline(title: str, about: str, looks: Looks, *queries: Query, points: int) -> Json:
    """States over time. At every step, the queries return a state or the code for no data.

    `insertNulls` is for a Prometheus that has lost even that code. It must exceed the widest step,
    or each state would be cut short: 8 hours in milliseconds are enough for a range of 90 days.
    """
    defaults = {
        "unit": "none",
        "noValue": NOTHING,
        "color": fixed(FAINT),
        "custom": {"fillOpacity": 100, "lineWidth": 0, "insertNulls": 28_800_000},
        "mappings": mappings(looks, NO_DATA),
    }
    options = {
        "alignValue": "left",
        "legend": LEGEND,
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": TOOLTIP,
    }
    return panel(
        *("state-timeline", title, about, "none"),
        defaults=defaults,
        options=options,
        interval="1m",
        maxDataPoints=points,
        targets=targets(queries, over_time=True),
    )


def words(title: str, content: str) -> Json:
    """A text in Markdown."""
    options = {"mode": "markdown", "content": content}
    return {"type": "text", "title": title, "description": title + ".", "options": options}
