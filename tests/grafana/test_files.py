"""The dashboards as files: up to date, with their variables, links, marks and statuses."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from cdi_exporter.errors import REASONS
from cdi_exporter.model import FINISHED_STATUSES, Status
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
from tools.dashboards import files, promql, statuses, trust
from tools.dashboards.frame import INTEGRATION_UID, OVERVIEW_UID

OVERVIEW = DASHBOARDS["braze-cdi-overview"]
INTEGRATION = DASHBOARDS["braze-cdi-integration"]
BOTH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


@pytest.mark.parametrize("path", files.FILES, ids=lambda path: path.name)
def test_the_file_is_what_the_code_builds(path: Path) -> None:
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
    """Data source, then workspace, then the integrations of that workspace; several, or all."""
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
        assert variable["multi"] is variable["includeAll"] is True
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


def test_a_row_leads_to_its_integration() -> None:
    """With the time range, the data source, the workspace and the name."""
    urls = [
        link["url"]
        for panel in panels(OVERVIEW)
        for override in panel.get("fieldConfig", {}).get("overrides", ())
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    assert len(urls) == 2
    for url in urls:
        assert url.startswith(f"/d/{INTEGRATION_UID}?")
        for part in (
            "${__url_time_range}",
            "${datasource:queryparam}",
            "var-workspace=${__data.fields.workspace:percentencode}",
            "var-integration=${__data.fields.integration:percentencode}",
        ):
            assert part in url


def test_the_alerts_lead_here() -> None:
    """The addresses in the rules are those of the dashboards and their variables."""
    rules = (ROOT / "prometheus" / "rules" / "braze-cdi.yml").read_text("utf-8")
    addresses = re.findall(r"# dashboard_url: (.+)", rules)
    assert addresses
    known = {each["uid"] for each in DASHBOARDS.values()}
    names = {variable["name"] for variable in OVERVIEW["templating"]["list"]}
    for address in addresses:
        assert re.search(r"/d/([\w-]+)", address)[1] in known  # type: ignore[index]
        assert set(re.findall(r"var-(\w+)=", address)) <= names


@BOTH
def test_alerts_and_restarts_are_marked(dashboard: Object) -> None:
    """Firing alerts of the chosen and of the exporter itself; each start of the exporter."""
    alerts, restarts = dashboard["annotations"]["list"]
    assert 'alertname=~"BrazeCDI.+",alertstate="firing"' in alerts["expr"]
    assert 'workspace=~"$workspace|"' in alerts["expr"]
    assert "process_start_time_seconds" in restarts["expr"]
    assert restarts["useValueForTime"] is True
    for annotation in (alerts, restarts):
        assert annotation["enable"] is True
        assert annotation["titleFormat"]


def test_the_questions_are_answered_in_their_order() -> None:
    """Of the on-call engineer, the most urgent first."""
    assert [row["title"] for row in rows(OVERVIEW)] == [
        "Can I believe this page?",
        "Is any audience data stale? What failed, and is it mine to fix?",
        "How many rows did not reach Braze?",
        "Does a run hang, or did one never start?",
        "When did it start, is it a pattern?",
        "Is the volume normal?",
        "Are we near Braze's API limit? Is the exporter well?",
        "What do I do?",
    ]
    assert [row["title"] for row in rows(INTEGRATION)] == [
        "Which integration, and how is it now?",
        "When did it start, is it a pattern?",
        "Is the volume normal?",
        "Is the watermark moving?",
        "Is it getting slower?",
        "Are we near Braze's API limit? Is the exporter well?",
        "What do I do?",
    ]


def test_the_statuses_are_the_exporters() -> None:
    """One list: each status has a look and a number, the worst the highest."""
    assert set(statuses.LOOKS) == set(Status)
    assert set(statuses.FINISHED) == set(FINISHED_STATUSES)
    assert statuses.NO_DATA_CODE not in statuses.CODES.values()
    assert max(statuses.CODES, key=lambda status: statuses.CODES[status]) is Status.CONFIG_ERROR
    assert tuple(promql.REASON_CODES) == tuple(trust.WORDS) == REASONS
    advice = json.dumps(OVERVIEW, ensure_ascii=False)
    for words in statuses.WORDS.values():
        assert f"| {words} |" in advice


def test_the_colours_are_those_that_everybody_can_tell_apart() -> None:
    """Neither red nor green is used alone, by name or by accident."""
    text = json.dumps(list(DASHBOARDS.values()))
    assert not re.search(r'"(?:dark-|light-|semi-dark-|super-light-)?(?:red|green)"', text)
    used = set(re.findall(r"#[0-9A-Fa-f]{6}\b", text))
    assert used == {look.colour for look in statuses.LOOKS.values()} | {statuses.GREY}


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
