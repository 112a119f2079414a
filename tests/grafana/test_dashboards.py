"""The dashboards as files: up to date, complete, of the exporter's own metrics, laid out well."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from cdi_exporter.catalog import CATALOG
from cdi_exporter.errors import REASONS
from cdi_exporter.model import FINISHED_STATUSES, Status
from tests.grafana.grafana import (
    DASHBOARDS,
    ROOT,
    Chosen,
    Object,
    escaped,
    expressions,
    interpolated,
    panels,
    rows,
)
from tests.harness import rig, scripted, simulator
from tests.virtual import run, virtual_clock
from tools.dashboards import files, promql, statuses
from tools.dashboards.frame import INTEGRATION_UID, OVERVIEW_UID

OVERVIEW = DASHBOARDS["braze-cdi-overview"]
INTEGRATION = DASHBOARDS["braze-cdi-integration"]
BOTH = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
PANELS = [panel for dashboard in DASHBOARDS.values() for panel in panels(dashboard)]
EACH_PANEL = pytest.mark.parametrize(
    "panel",
    PANELS,
    ids=[f"{name}-{panel['title']}" for name, each in DASHBOARDS.items() for panel in panels(each)],
)
EXPRESSIONS = [
    (f"{name}-{place}", expr)
    for name, each in DASHBOARDS.items()
    for place, expr in expressions(each).items()
]
EACH_EXPRESSION = pytest.mark.parametrize(
    "expr", [expr for _, expr in EXPRESSIONS], ids=[place for place, _ in EXPRESSIONS]
)

UNITS = {"none", "short", "s", "dateTimeFromNow", "percentunit", "reqpm", "bytes"}
PANEL_TYPES = {"stat", "table", "bargauge", "state-timeline", "timeseries", "heatmap", "text"}
"""Those that Grafana 9.4 has, too."""

UNUSED = {
    "braze_cdi_api_rate_limit_reset_timestamp_seconds": "a time to the minute, for the alerts",
    "cdi_exporter_web_config_last_reload_success_timestamp_seconds": "the alerts and the log tell",
    "cdi_exporter_web_config_last_reload_successful": "the alerts and the log tell",
    "process_max_fds": "the exporter opens a handful of files",
    "process_open_fds": "the same",
    "process_virtual_memory_bytes": "says nothing beside the resident memory",
    "python_gc_collections_total": "for developers",
    "python_gc_objects_collected_total": "for developers",
    "python_gc_objects_uncollectable_total": "for developers",
    "python_info": "the version stands in cdi_exporter_build_info",
}
"""What the exporter shows and no dashboard does, and why."""

FOREIGN = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity", "workspace", "integration_name"},
}
"""What Prometheus itself makes, and its labels."""

TARGET = {"job", "instance"}
COUNTERS = {each.name for each in CATALOG if each.type == "counter"} | {
    f"{each.name}_{part}"
    for each in CATALOG
    if each.type in ("summary", "histogram")
    for part in ("sum", "count", "bucket")
}


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all within it."""
    yield expr
    match expr:
        case AggregateExpr():
            inner = [expr.expr, *([expr.param] if expr.param else [])]
        case BinaryExpr():
            inner = [expr.lhs, expr.rhs]
        case Call():
            inner = list(expr.args)
        case ParenExpr() | UnaryExpr() | SubqueryExpr():
            inner = [expr.expr]
        case MatrixSelector():
            inner = [expr.vector_selector]
        case _:
            inner = []
    for each in inner:
        yield from walk(each)


def parsed(expr: str) -> Expr:
    """The expression as Prometheus reads it."""
    return promql_parser.parse(Chosen().filled(expr))


def selectors(expr: Expr) -> Iterator[VectorSelector]:
    """The series that are asked for."""
    return (each for each in walk(expr) if isinstance(each, VectorSelector))


def matchers(selector: VectorSelector) -> dict[str, str]:
    """Label → what it must be."""
    return {each.name: each.value for each in selector.matchers.matchers}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Each metric that a real page of the exporter has, and its labels."""

    async def scrape() -> str:
        clock = virtual_clock()
        async with rig(simulator(clock, scripted(runs=4)), clock=clock) as exporter:
            exporter.simulator.faults.clear()
            return (await exporter.scrape()).text

    page = run(scrape())
    found: dict[str, set[str]] = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, labels = line.rpartition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def metrics(exported: dict[str, set[str]]) -> dict[str, set[str]]:
    """What can be asked for: the catalog too, since what Braze did not give has no sample."""
    known = {each.name: set(each.labels) for each in CATALOG}
    for each in CATALOG:
        if each.type in ("summary", "histogram"):
            for part in ("sum", "count", "bucket"):
                known[f"{each.name}_{part}"] = set(each.labels) | {"le"}
    return known | exported | FOREIGN


@pytest.mark.parametrize("path", files.FILES, ids=lambda path: path.name)
def test_the_file_is_what_the_code_builds(path: Any) -> None:
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
    rules = yaml.safe_load((ROOT / "prometheus" / "rules" / "braze-cdi.yml").read_text("utf-8"))
    addresses = [
        rule["annotations"]["dashboard_url"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
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


@BOTH
def test_nothing_overlaps_or_sticks_out(dashboard: Object) -> None:
    """Within 24 columns; each cell of the grid has one panel; no hole beside a panel; own IDs."""
    taken: dict[tuple[int, int], str] = {}
    everything = [*rows(dashboard), *panels(dashboard)]
    for panel in everything:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            if not any(panel in row["panels"] for row in rows(dashboard)):
                assert cell not in taken, (panel["title"], taken[cell])
                taken[cell] = panel["title"]
    lines = {y for _, y in taken}
    assert lines == set(range(max(lines) + 1))
    assert len(taken) == 24 * len(lines)
    identities = [panel["id"] for panel in everything]
    assert sorted(identities) == list(range(1, len(identities) + 1))


@BOTH
def test_a_collapsed_row_is_laid_out_too(dashboard: Object) -> None:
    """Its panels are within it, side by side, below it."""
    (row,) = (each for each in rows(dashboard) if each["collapsed"])
    cells = [
        (x, y)
        for panel in row["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert min(y for _, y in cells) == row["gridPos"]["y"] + 1
    assert {x for x, _ in cells} == set(range(24))
    assert all(not each["panels"] for each in rows(dashboard) if not each["collapsed"])


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


@pytest.mark.parametrize(
    "panel", [each for each in PANELS if each["type"] == "table"], ids=lambda each: each["title"]
)
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
    labels = _labels_of(parsed(first["expr"]))
    assert key in labels
    for target in others:
        assert _labels_of(parsed(target["expr"])) == {key}
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


def _labels_of(expr: Expr) -> set[str]:
    """The labels that the result of the expression has."""
    match expr:
        case AggregateExpr():
            return set(expr.modifier.labels) if expr.modifier else set()
        case BinaryExpr():
            sides = [_labels_of(each) for each in (expr.lhs, expr.rhs)]
            known = [labels for labels in sides if labels is not None]
            return set().union(*known)
        case ParenExpr():
            return _labels_of(expr.expr)
    return set()


@EACH_EXPRESSION
def test_each_metric_and_label_exists(expr: str, exported: dict[str, set[str]]) -> None:
    """What is asked for is in the exporter's real output, or may be."""
    known = metrics(exported)
    tree = parsed(expr)
    assert "$" not in Chosen().filled(expr)
    used = list(selectors(tree))
    assert used
    for selector in used:
        assert set(matchers(selector)) - {"__name__"} <= known[str(selector.name)] | TARGET
    every = set().union(*(known[str(each.name)] for each in used)) | TARGET
    for node in walk(tree):
        if isinstance(node, AggregateExpr) and node.modifier:
            assert set(node.modifier.labels) <= every
        if isinstance(node, BinaryExpr) and node.modifier and node.modifier.matching:
            assert set(node.modifier.matching.labels) <= every


@EACH_EXPRESSION
def test_each_selector_is_of_what_is_chosen(expr: str, exported: dict[str, set[str]]) -> None:
    """The workspace's matcher wherever there is such a label; the integration's likewise."""
    known = metrics(exported)
    variable = 'workspace=~"$workspace' not in expr
    for selector in selectors(parsed(expr)):
        labels, asked = known[str(selector.name)], matchers(selector)
        if "workspace" in labels and not (variable and expr.startswith("group by (workspace)")):
            assert "workspace" in asked
        if "integration_name" in labels and not expr.startswith("group by"):
            assert "integration_name" in asked


@EACH_EXPRESSION
def test_counters_and_only_counters_are_counted(expr: str) -> None:
    """`rate` and `increase` of counters; never a bare total."""
    counted: set[int] = set()
    for node in walk(parsed(expr)):
        if isinstance(node, Call) and node.func.name in ("rate", "increase"):
            for selector in selectors(node):
                assert str(selector.name) in COUNTERS | {"process_cpu_seconds_total"}
                counted.add(id(selector))
    total = sum(str(each.name) in COUNTERS for each in selectors(parsed(expr)))
    cpu = "process_cpu_seconds_total" in expr
    assert len(counted) == total + cpu


@EACH_EXPRESSION
def test_two_instances_count_nothing_twice(expr: str) -> None:
    """The exporter's instances become one before anything is summed, counted or matched."""
    if expr.startswith("group by"):
        return
    for node in walk(parsed(expr)):
        if isinstance(node, AggregateExpr) and str(node.op) in ("sum", "count"):
            inner = _without_brackets(node.expr)
            names = {str(each.name) for each in selectors(inner)}
            of_requests = all("_api_re" in name or "_api_budget" in name for name in names)
            own = all(name.startswith(("cdi_exporter_", "process_")) for name in names)
            by_instance = "sum without (status)" in node.prettify()
            assert _merged(inner) or of_requests or own or by_instance, node.prettify()


def _without_brackets(expr: Expr) -> Expr:
    return _without_brackets(expr.expr) if isinstance(expr, ParenExpr) else expr


def _merged(expr: Expr) -> bool:
    """Whether each series within is the maximum or minimum over the instances."""
    match _without_brackets(expr):
        case AggregateExpr() as aggregation:
            return str(aggregation.op) in ("max", "min", "sum")
        case BinaryExpr() as operation:
            sides = (operation.lhs, operation.rhs)
            return all(_merged(each) or not list(selectors(each)) for each in sides)
        case Call() as call:
            return all(_merged(each) or not list(selectors(each)) for each in call.args)
    return False


def test_every_metric_is_used_or_knowingly_not(exported: dict[str, set[str]]) -> None:
    """By a dashboard, or listed with the reason; what is listed is not used."""
    known = {each.name for each in CATALOG} | {
        name for name in exported if name.startswith(("process_", "python_"))
    }
    asked = " ".join(expr for _, expr in EXPRESSIONS)
    used = {name for name in known if re.search(rf"\b{name}(_sum|_count|_bucket)?\b", asked)}
    assert known - used == set(UNUSED) & known
    assert not used & set(UNUSED)


def test_the_statuses_are_the_exporters() -> None:
    """One list: each status has a look and a number, the worst the highest."""
    assert set(statuses.LOOKS) == set(Status)
    assert set(statuses.FINISHED) == set(FINISHED_STATUSES)
    assert statuses.NO_DATA_CODE not in statuses.CODES.values()
    assert max(statuses.CODES, key=lambda status: statuses.CODES[status]) is Status.CONFIG_ERROR
    assert tuple(promql.REASON_CODES) == REASONS
    advice = json.dumps(OVERVIEW, ensure_ascii=False)
    for status, look in statuses.LOOKS.items():
        assert f"| {look.text} |" in advice
        assert look.text.endswith(status.replace("_", " "))


def test_the_colours_are_those_that_everybody_can_tell_apart() -> None:
    """Neither red nor green is used alone, by name or by accident."""
    text = json.dumps(list(DASHBOARDS.values()))
    assert not re.search(r'"(?:dark-|light-|semi-dark-|super-light-)?(?:red|green)"', text)
    used = set(re.findall(r"#[0-9A-Fa-f]{6}\b", text))
    assert used == {look.colour for look in statuses.LOOKS.values()} | {statuses.GREY}


def test_a_timeline_shows_an_outage() -> None:
    """Each state ends where the samples do: the query itself says that there is no data."""
    timelines = [panel for panel in PANELS if panel["type"] == "state-timeline"]
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
