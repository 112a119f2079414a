"""The dashboards as files: up to date, with their variables, links, marks and statuses."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from cdi_exporter.model import FINISHED_STATUSES, Status
from cdi_exporter.problems import REASONS
from cdi_exporter.wording import GLYPHS
from tests.grafana.grafana import (
    DASHBOARDS,
    ROOT,
    Chosen,
    Object,
    escaped,
    interpolated,
    panels,
    rows,
)
from tools.dashboards import __main__ as files
from tools.dashboards import exporter, promql, states
from tools.dashboards.board import ADVICE_ID, INTEGRATION_UID, OVERVIEW_UID

OVERVIEW = DASHBOARDS["braze-cdi-overview"]
INTEGRATION = DASHBOARDS["braze-cdi-integration"]
BOTH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


@pytest.mark.parametrize("path", files.FILES, ids=lambda path: path.name)
def test_the_dashboard_file_equals_the_tools_output(path: Path) -> None:
    """The committed JSON is up to date: else run `make dashboards`."""
    assert path.read_text("utf-8") == files.text(files.FILES[path]())


def test_no_other_dashboard_is_there() -> None:
    """Each committed file is made from code."""
    assert set(DASHBOARDS) == {path.stem for path in files.FILES}


@BOTH
def test_the_dashboard_behaves(dashboard: Object) -> None:
    """Found by its ID and tag, not edited by accident, a day and a minute, one crosshair."""
    assert dashboard["uid"] in (OVERVIEW_UID, INTEGRATION_UID)
    assert len(dashboard["uid"]) <= 40
    assert "id" not in dashboard
    assert dashboard["description"]
    assert dashboard["tags"] == ["braze-cdi"]
    assert dashboard["editable"] is False
    assert dashboard["graphTooltip"] == 1
    assert dashboard["timezone"] == "browser"
    assert dashboard["time"] == {"from": "now-24h", "to": "now"}
    assert dashboard["refresh"] == "1m"
    assert dashboard["schemaVersion"] == 36


@BOTH
def test_the_variables_are_those_of_the_convention(dashboard: Object) -> None:
    """Data source, then workspace, then its integrations; *Integration* opens with one."""
    source, *queried = dashboard["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert source["label"] == "Data source"
    assert [variable["name"] for variable in queried] == ["workspace", "integration"]
    for variable in queried:
        assert variable["type"] == "query"
        assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert variable["multi"] is variable["includeAll"] is (dashboard is OVERVIEW)
        assert variable["allValue"] == ".+"
        assert variable["refresh"] == 2, "on time range change"
        assert variable["sort"] > 0
        assert variable["label"]
        assert variable["query"]["refId"]
    assert "$workspace" in queried[1]["query"]["query"]


@BOTH
def test_the_other_dashboard_is_linked(dashboard: Object) -> None:
    """With the time range and what is chosen."""
    (link,) = dashboard["links"]
    assert (link["type"], link["tags"]) == ("dashboards", dashboard["tags"])
    assert link["keepTime"] is link["includeVars"] is True


def test_a_row_links_to_its_integration() -> None:
    """With the time range, the data source, the workspace and the name."""
    urls = [
        link["url"]
        for panel in panels(OVERVIEW)
        for override in panel.get("fieldConfig", {}).get("overrides", ())
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    assert len(urls) == 1
    for url in urls:
        assert url.startswith(f"/d/{INTEGRATION_UID}?")
        for part in (
            "${__url_time_range}",
            "${datasource:queryparam}",
            "var-workspace=${__data.fields.workspace:percentencode}",
            "var-integration=${__data.fields.integration:percentencode}",
        ):
            assert part in url


def test_the_alerts_link_to_the_dashboard() -> None:
    """The addresses in the rules are those of the dashboards and their variables."""
    addresses = [
        rule["annotations"]["dashboard_url"]
        for path in (ROOT / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "dashboard_url" in rule.get("annotations", {})
    ]
    known = {each["uid"] for each in DASHBOARDS.values()}
    names = {variable["name"] for variable in OVERVIEW["templating"]["list"]}
    for address in addresses:
        assert re.search(r"/d/([\w-]+)", address)[1] in known  # type: ignore[index]
        assert set(re.findall(r"var-(\w+)=", address)) <= names


@BOTH
def test_annotations_are_off_by_default(dashboard: Object) -> None:
    """Critical alerts of what is chosen and of the exporter itself; starts of the exporter."""
    alerts, restarts = dashboard["annotations"]["list"]
    assert 'alertname=~"BrazeCDI.+",alertstate="firing",severity="critical"' in alerts["expr"]
    assert 'workspace=~"$workspace|"' in alerts["expr"]
    assert "process_start_time_seconds" in restarts["expr"]
    assert restarts["useValueForTime"] is True
    for annotation in (alerts, restarts):
        assert annotation["enable"] is False
        assert annotation["titleFormat"]


def test_the_first_screen_says_what_is_broken_since_when_and_what_to_do() -> None:
    """One line of trust, six tiles in one row, the table, the timeline: 22 lines of 38 pixels."""
    first = [panel for panel in OVERVIEW["panels"] if panel["gridPos"]["y"] < 22]
    assert [panel["title"] for panel in first] == [
        "Can this page be trusted?",
        *("Late", "Failing", "Config errors", "Partial", "Stuck", "Missed"),
        "Integrations, the most urgent first",
        "State over time, the 12 in most trouble",
    ]
    tiles = [panel for panel in first if panel["gridPos"]["w"] == 4]
    assert len(tiles) == 6
    assert len({panel["gridPos"]["y"] for panel in tiles}) == 1
    columns = [each["matcher"]["options"] for each in first[-2]["fieldConfig"]["overrides"]]
    assert {"state", "since", "what to do", "running"} <= set(columns)


def test_the_questions_are_answered_in_their_order() -> None:
    """Of the on-call engineer, the most urgent first."""
    assert [row["title"] for row in rows(OVERVIEW)] == [
        "How many rows did not reach Braze?",
        "Are volume and duration normal?",
        "Is Braze's API limit near? Is anything unread?",
        "What do I do?",
    ]
    assert [row["title"] for row in rows(INTEGRATION)] == [
        "Is it a pattern? Is the volume normal?",
        "Is the watermark moving? Is it getting slower?",
        "What do I do?",
    ]


def test_each_tile_links_to_its_runbook() -> None:
    """By default to the advice on the same dashboard; `sed` replaces its address, as documented."""
    links = [
        link["url"]
        for panel in panels(OVERVIEW)
        for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", ())
    ]
    assert len(links) == 6
    replaced = f"/d/{OVERVIEW_UID}?viewPanel={ADVICE_ID}#"
    for link in links:
        assert link.startswith(replaced)
        assert (ROOT / "docs" / "runbooks" / link.removeprefix(replaced)).is_file()
    assert ADVICE_ID in {panel["id"] for panel in panels(OVERVIEW)}
    assert f"sed -i 's|{replaced}|" in (ROOT / "grafana" / "README.md").read_text("utf-8")


def test_the_states_are_the_exporters() -> None:
    """One list: each has a text and a number, the worst the highest, and a line of advice."""
    known = {*FINISHED_STATUSES, "late", "stuck", "missed"}
    assert {state.name for state in states.STATES} == known
    reserved = {states.NO_DATA_CODE, states.UNKNOWN_CODE, states.RUNNING_CODE, states.IDLE_CODE}
    assert len(reserved | set(states.CODES.values())) == len(reserved) + len(known)
    assert max(states.CODES, key=lambda name: states.CODES[name]) == Status.CONFIG_ERROR
    assert tuple(exporter.REASONS) == tuple(promql.REASON_CODES) == REASONS
    for status in FINISHED_STATUSES:
        assert states.BY_NAME[status].glyph == GLYPHS[Status(status)], "as on the status page"
    for dashboard in DASHBOARDS.values():
        (advice,) = (panel for panel in panels(dashboard) if panel["type"] == "text")
        for state in states.STATES:
            assert f"| {state.text} | " in advice["options"]["content"]


def test_the_colours_are_distinguishable_with_colour_blindness() -> None:
    """Neither red nor green is used, and no palette that Grafana assigns by order."""
    text = json.dumps(list(DASHBOARDS.values()))
    assert not re.search(r'"(?:dark-|light-|semi-dark-|super-light-)?(?:red|green)"', text)
    assert "palette-classic" not in text
    used = set(re.findall(r"#[0-9A-Fa-f]{6}\b", text))
    assert used == {state.colour for state in states.STATES} | {states.LIGHT_BLUE}


def test_no_data_and_an_unknown_status_look_different() -> None:
    """One is faint, the other solid."""
    text, colour = states.LANES[states.NO_DATA_CODE]
    assert colour.startswith("rgba")
    unknown = states.BY_NAME["unknown"]
    assert (text, colour) != (unknown.text, unknown.colour)
    assert unknown.colour.startswith("#")


def test_the_provisioning_finds_the_dashboards() -> None:
    """Files that a Grafana which mounts them reads: a data source, and the dashboards' folder."""
    folder = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text("utf-8"))[
        "datasources"
    ]
    assert (source["type"], source["access"]) == ("prometheus", "proxy")
    scraped = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "braze-cdi.yml").read_text("utf-8"))[
        "providers"
    ]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    readme = (ROOT / "grafana" / "README.md").read_text("utf-8")
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in readme


def test_values_are_filled_in_as_grafana_does() -> None:
    """What our own copy of Grafana's rule does, for names with special characters."""
    assert escaped("orders (EU) v1.2") == r"orders \\(EU\\) v1\\.2"
    assert interpolated(["a", "b.c"]) == r"(a|b\\.c)"
    assert interpolated(["b.c"]) == r"b\\.c"
    assert interpolated(".+") == ".+"
    filled = Chosen(range=60, variables={"workspace": ["a.b"]}).filled(
        'x{workspace=~"$workspace|",other="$1"}[$__range]'
    )
    assert filled == 'x{workspace=~"a\\\\.b|",other="$1"}[60s]'
    assert promql_parser.parse(filled)
