"""The panels: laid out well, each with its title, words, unit and look without data."""

import itertools
import re

import pytest

from tests.grafana.expressions import labels_of, parsed
from tests.grafana.grafana import DASHBOARDS, Object, panels, rows
from tools.dashboards import statuses

BOTH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
PANELS = {
    f"{name}-{panel['title']}": panel
    for name, dashboard in DASHBOARDS.items()
    for panel in panels(dashboard)
}
EACH_PANEL = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
TABLES = {name: panel for name, panel in PANELS.items() if panel["type"] == "table"}

UNITS = {"none", "short", "s", "dateTimeFromNow", "percentunit", "reqpm", "bytes"}
PANEL_TYPES = {"stat", "table", "bargauge", "state-timeline", "timeseries", "heatmap", "text"}
"""Those that Grafana 9.4 has, too."""


def cells(*shown: Object) -> list[tuple[int, int]]:
    """The cells of the grid that the panels take: column and line."""
    return [
        cell
        for place in (panel["gridPos"] for panel in shown)
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]


@BOTH
def test_nothing_overlaps_or_sticks_out(dashboard: Object) -> None:
    """The panels fill 24 columns from top to bottom: each cell of the grid has one."""
    taken = cells(*dashboard["panels"])
    bottom = max(line for _, line in taken)
    assert sorted(taken) == list(itertools.product(range(24), range(bottom + 1)))


@BOTH
def test_a_collapsed_row_is_laid_out_too(dashboard: Object) -> None:
    """Its panels fill 24 columns below it; the other rows hold none, as Grafana wants it."""
    (row,) = (each for each in rows(dashboard) if each["collapsed"])
    taken, top = cells(*row["panels"]), row["gridPos"]["y"] + 1
    bottom = max(line for _, line in taken)
    assert sorted(taken) == list(itertools.product(range(24), range(top, bottom + 1)))
    assert all(not each["panels"] for each in rows(dashboard) if not each["collapsed"])


@BOTH
def test_panels_have_ids_of_their_own(dashboard: Object) -> None:
    """Counted from 1, rows and folded panels too."""
    identities = [panel["id"] for panel in (*rows(dashboard), *panels(dashboard))]
    assert sorted(identities) == list(range(1, len(identities) + 1))


@EACH_PANEL
def test_each_panel_says_what_it_is(panel: Object) -> None:
    """Title; what, unit, what is bad, the first thing to do."""
    assert panel["type"] in PANEL_TYPES
    assert 3 < len(panel["title"]) <= 50
    parts = re.split(r"\n\n\*\*(?:Unit|Bad|First):\*\* ", panel["description"])
    assert len(parts) == 4
    assert all(part.endswith(".") for part in parts)


@EACH_PANEL
def test_each_panel_has_a_unit_and_a_look_without_data(panel: Object) -> None:
    """No number without a unit, and no empty panel that looks like all is well."""
    if panel["type"] == "text":
        assert panel["options"]["content"]
        return
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    assert "data" in defaults["noValue"]
    for override in panel["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "unit":
                assert each["value"] in UNITS
    if panel["type"] in ("stat", "bargauge", "state-timeline"):
        special = [each for each in defaults["mappings"] if each["type"] == "special"]
        assert [each["options"]["match"] for each in special] == ["null+nan"]
        assert special[0]["options"]["result"]["color"] == statuses.GREY
    assert panel["options"] is not None


@EACH_PANEL
def test_each_panel_asks_the_chosen_data_source(panel: Object) -> None:
    """No fixed ID of a data source; queries of a word or a letter, each once."""
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
    """Times dropped, joined on a label, named columns; only the first query has other labels."""
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
    assert panel["options"]["sortBy"][0]["displayName"] in titles
    widths = [
        each["value"]
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "custom.width"
    ]
    space = 1280 * panel["gridPos"]["w"] / 24 - 40
    free = len(titles) - len(widths)
    assert sum(widths) + 150 * free <= space, "one column would be too narrow to read"


def test_a_timeline_shows_an_outage() -> None:
    """Each state ends where the samples do: the query itself says that there is no data."""
    timelines = [panel for panel in PANELS.values() if panel["type"] == "state-timeline"]
    assert len(timelines) == 2
    for panel in timelines:
        for target in panel["targets"]:
            assert "or\n  0 * max by" in target["expr"].replace("\n    ", "\n  ")
        nulls = [
            each
            for override in panel["fieldConfig"]["overrides"]
            for each in override["properties"]
            if each["id"] == "custom.insertNulls"
        ]
        assert nulls
        texts = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        assert texts["0"]["text"] == statuses.NO_DATA
