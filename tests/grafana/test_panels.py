"""The panels: their layout, title, description, unit and appearance without data."""

import itertools
import json
import re
from collections.abc import Iterator

import pytest

from tests.grafana.expressions import labels_of, parsed
from tests.grafana.grafana import DASHBOARDS, Object, panels, rows
from tools.dashboards import states

BOTH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
PANELS = {
    f"{name}-{panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
}
EACH_PANEL = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
TABLES = {name: panel for name, panel in PANELS.items() if panel["type"] == "table"}

UNITS = {"none", "short", "s", "percentunit", "reqpm"} | {
    "dateTimeFromNow",
    "dateTimeAsIsoNoDateIfToday",
}
OPTIONS = {
    "stat": {
        *("colorMode", "graphMode", "justifyMode", "orientation", "reduceOptions", "text"),
        *("textMode",),
    },
    "table": {"cellHeight", "showHeader", "sortBy"},
    "bargauge": {
        *("displayMode", "minVizHeight", "orientation", "reduceOptions", "showUnfilled", "text"),
        *("valueMode",),
    },
    "state-timeline": {
        *("alignValue", "legend", "mergeValues", "rowHeight", "showValue", "tooltip"),
    },
    "timeseries": {"legend", "tooltip"},
    "text": {"content", "mode"},
}
"""The panel types and options that Grafana 10 to 13 know. Other options have no effect."""
CUSTOM = {
    "table": {"align", "cellOptions", "width"},
    "state-timeline": {"fillOpacity", "insertNulls", "lineWidth"},
    "timeseries": {
        *("axisSoftMin", "drawStyle", "fillOpacity", "lineInterpolation", "lineStyle", "lineWidth"),
        *("showPoints", "spanNulls", "stacking"),
    },
}
"""The field options that Grafana 10 to 13 know."""


def cells(*shown: Object) -> list[tuple[int, int]]:
    """The grid cells that the panels occupy: column and line."""
    return [
        cell
        for place in (panel["gridPos"] for panel in shown)
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]


@BOTH
def test_panels_do_not_overlap_or_leave_gaps(dashboard: Object) -> None:
    """Each cell of the 24 grid columns belongs to exactly one panel."""
    taken = cells(*dashboard["panels"])
    bottom = max(line for _, line in taken)
    assert sorted(taken) == list(itertools.product(range(24), range(bottom + 1)))


def test_a_collapsed_row_is_laid_out_too() -> None:
    """Its panels fill 24 columns below it. Other rows contain none, as Grafana requires."""
    every = [row for dashboard in DASHBOARDS.values() for row in rows(dashboard)]
    (row,) = (each for each in every if each["collapsed"])
    taken, top = cells(*row["panels"]), row["gridPos"]["y"] + 1
    bottom = max(line for _, line in taken)
    assert sorted(taken) == list(itertools.product(range(24), range(top, bottom + 1)))
    assert all(not each["panels"] for each in every if not each["collapsed"])


@BOTH
def test_panels_have_unique_ids(dashboard: Object) -> None:
    """Rows and panels in collapsed rows have unique IDs too."""
    identities = [panel["id"] for panel in (*rows(dashboard), *panels(dashboard))]
    assert len(set(identities)) == len(identities)
    assert all(identity > 0 for identity in identities)


@EACH_PANEL
def test_each_panel_has_a_description(panel: Object) -> None:
    """It gives the meaning, the unit, which values are bad and what to do first."""
    assert 3 < len(panel["title"]) <= 50
    if panel["type"] == "text":
        assert panel["description"].startswith("What each state means")
        return
    parts = re.split(r"\n\n\*\*(?:Unit|Bad|Do first):\*\* ", panel["description"])
    assert len(parts) == 4
    assert all(part.endswith(".") for part in parts)


@EACH_PANEL
def test_each_panel_has_a_unit_and_a_look_without_data(panel: Object) -> None:
    """No number lacks a unit, and no empty panel looks as if all were well."""
    if panel["type"] == "text":
        assert panel["options"]["content"]
        return
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert defaults["noValue"]
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "unit":
                assert each["value"] in UNITS
    if panel["type"] in ("stat", "bargauge", "state-timeline"):
        special = [each for each in defaults["mappings"] if each["type"] == "special"]
        assert [each["options"]["match"] for each in special] == ["null+nan"]
        assert special[0]["options"]["result"]["color"] == states.FAINT


@EACH_PANEL
def test_each_panel_has_only_options_that_grafana_knows(panel: Object) -> None:
    """For example, current versions do not have the table's footer."""
    assert set(panel["options"]) <= OPTIONS[panel["type"]]
    config = panel.get("fieldConfig", {"defaults": {}, "overrides": []})
    custom = set(config["defaults"].get("custom", ())) | {
        each["id"].removeprefix("custom.")
        for override in config["overrides"]
        for each in override["properties"]
        if each["id"].startswith("custom.")
    }
    assert custom <= CUSTOM.get(panel["type"], set())


@EACH_PANEL
def test_numbers_are_legible_in_both_themes(panel: Object) -> None:
    """The colour is behind a number or in a bar, because yellow text on white is illegible."""
    if panel["type"] == "stat":
        assert panel["options"]["colorMode"] == "background_solid"
    if panel["type"] == "bargauge":
        assert panel["options"]["valueMode"] == "text"
    assert "color-text" not in json.dumps(panel)


@EACH_PANEL
def test_each_panel_queries_the_selected_data_source(panel: Object) -> None:
    """No panel has a fixed data source ID, and each query has a unique ID of one word or letter."""
    if panel["type"] == "text":
        assert "targets" not in panel
        return
    assert panel["targets"]
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))
    assert all(re.fullmatch(r"[A-Z]|[a-z_]+", ref) for ref in refs)
    over_time = panel["type"] in ("timeseries", "state-timeline", "heatmap")
    for target in panel["targets"]:
        assert (target["range"], target["instant"]) == (over_time, not over_time)


@pytest.mark.parametrize("panel", TABLES.values(), ids=TABLES)
def test_a_table_is_joined_and_not_merged(panel: Object) -> None:
    """Times are dropped, queries are joined on a label, and columns have names.

    Only the first query has other labels.
    """
    drop, join, organize = panel["transformations"]
    assert drop == {
        "id": "filterFieldsByName",
        "options": {"exclude": {"pattern": "^Time.*"}},
    }
    assert (join["id"], join["options"]["mode"]) == ("joinByField", "outer")
    key = join["options"]["byField"]
    first, *others = panel["targets"]
    labels = labels_of(parsed(first["expr"]))
    assert key in labels
    for target in others:
        assert labels_of(parsed(target["expr"])) == {key}
    assert all(target["format"] == "table" for target in panel["targets"])
    given = labels | {f"Value #{target['refId']}" for target in panel["targets"]}
    shown = set(organize["options"]["renameByName"])
    hidden = set(organize["options"]["excludeByName"])
    assert shown | hidden == given
    assert not shown & hidden
    titles = set(organize["options"]["renameByName"].values())
    assert {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]} == titles
    assert {each["displayName"] for each in panel["options"]["sortBy"]} <= titles


@pytest.mark.parametrize("panel", TABLES.values(), ids=TABLES)
def test_a_column_of_values_is_complete_and_sortable(panel: Object) -> None:
    """Unknown values have the same text as null, and sort below all known ones."""
    values = {target["refId"] for target in panel["targets"]} - {"rows"}
    renamed = panel["transformations"][2]["options"]["renameByName"]
    known = {renamed[f"Value #{ref}"] for ref in values}
    for target in panel["targets"][1:]:
        assert "or 0 * " in target["expr"], target["refId"]
        assert f" + {states.UNKNOWN_CODE}" in target["expr"], target["refId"]
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] in known:
            looks = {each["id"]: each["value"] for each in override["properties"]}
            texts, null = looks["mappings"]
            unknown = texts["options"][str(states.UNKNOWN_CODE)]["text"]
            assert unknown == null["options"]["result"]["text"]


@pytest.mark.parametrize("panel", TABLES.values(), ids=TABLES)
def test_no_text_in_a_table_is_cut_off(panel: Object) -> None:
    """At 1280 pixels, titles, mapped texts, 36-character IDs and 27-character names fit."""
    space = 1280 * panel["gridPos"]["w"] / 24 - 50
    (free,) = (
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if "custom.width" not in {each["id"] for each in override["properties"]}
    )
    for override in panel["fieldConfig"]["overrides"]:
        looks = {each["id"]: each["value"] for each in override["properties"]}
        title, width = override["matcher"]["options"], looks.get("custom.width")
        if title == free:
            continue
        assert isinstance(width, int)
        space -= width
        texts = [result["text"] for result in _results(looks)]
        assert width >= 12 + max(6.4 * len(text) for text in [title, *texts]), title
        assert title != "ID" or width >= 12 + 8.2 * 36
    assert space >= 12 + 7.0 * {"integration": 27, "workspace": 14}[str(free)]


def _results(looks: Object) -> Iterator[Object]:
    for mapping in looks.get("mappings", ()):
        if mapping["type"] == "value":
            yield from mapping["options"].values()


def test_a_timeline_shows_an_outage() -> None:
    """Each state ends with its samples, because the query itself returns the state "no data"."""
    timelines = [panel for panel in PANELS.values() if panel["type"] == "state-timeline"]
    assert len(timelines) == 2
    for panel in timelines:
        for target in panel["targets"]:
            assert "or 0 * max by" in target["expr"]
        assert panel["fieldConfig"]["defaults"]["custom"]["insertNulls"]
        texts = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        assert texts["0"]["text"] == states.NO_DATA
