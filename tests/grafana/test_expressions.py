"""The PromQL of the dashboards: metrics, labels, variables and two instances."""

import math
import re

import pytest
from promql_parser import AggregateExpr, BinaryExpr, Call, NumberLiteral, ParenExpr

from cdi_exporter import catalog
from cdi_exporter.catalog import CATALOG, OWN
from cdi_exporter.exposition.families import own_families, write_families
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.grafana.expressions import PARTS, matchers, parsed, selectors, shown, unmerged, walk
from tests.grafana.grafana import DASHBOARDS, expressions
from tests.grafana.world import World
from tests.harness import KEY, rig
from tests.library_families import workspace_families
from tests.virtual import EPOCH, run, virtual_clock

EXPRESSIONS = {
    f"{name}-{place}": expr
    for name, dashboard in DASHBOARDS.items()
    for place, expr in expressions(dashboard).items()
}
EACH_EXPRESSION = pytest.mark.parametrize("expr", EXPRESSIONS.values(), ids=EXPRESSIONS)
OF_PANELS = pytest.mark.parametrize(
    "expr",
    [expr for place, expr in EXPRESSIONS.items() if "-variable " not in place],
    ids=[place for place in EXPRESSIONS if "-variable " not in place],
)

OF_ALERTS = "has an alert, which names the instance"
OF_PROCESS = "for developers, or shown by the dashboards of the platform"
UNUSED = {
    "braze_cdi_api_budget_wait_seconds_total": "the duration of refreshes contains it",
    "braze_cdi_sync_duration_seconds": "the last run's duration is shown over time",
    "braze_cdi_last_sync_finish_timestamp_seconds": "the last delivery says more",
    "cdi_exporter_config_last_reload_successful": OF_ALERTS,
    "cdi_exporter_config_last_reload_success_timestamp_seconds": "that it succeeded is enough",
    "cdi_exporter_web_config_last_reload_successful": OF_ALERTS,
    "cdi_exporter_web_config_last_reload_success_timestamp_seconds": "that it succeeded is enough",
    "cdi_exporter_file_reload_successful": OF_ALERTS,
    "cdi_exporter_state_writes_failed_total": OF_ALERTS,
    "cdi_exporter_log_lines_dropped_total": OF_ALERTS,
    "cdi_exporter_database_up": OF_ALERTS,
    "cdi_exporter_leader": "has an alert, which names the workspace",
    "process_cpu_seconds_total": OF_PROCESS,
    "process_max_fds": OF_PROCESS,
    "process_open_fds": OF_PROCESS,
    "process_resident_memory_bytes": OF_PROCESS,
    "process_virtual_memory_bytes": OF_PROCESS,
    "python_gc_collections_total": OF_PROCESS,
    "python_gc_objects_collected_total": OF_PROCESS,
    "python_gc_objects_uncollectable_total": OF_PROCESS,
    "python_info": OF_PROCESS,
}
"""Metrics that no dashboard shows, with the reason."""

FOREIGN = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity", "workspace", "integration_name"},
}
"""Series that Prometheus itself creates, and their labels."""

TARGET = {"job", "instance"}
COUNTERS = {each.name for each in CATALOG if each.type == "counter"} | {
    f"{each.name}_{part}" for each in CATALOG for part in PARTS.get(each.type, ())
}
RUNNING_START = "braze_cdi_running_sync_start_timestamp_seconds"

SUMMED = {
    "braze_cdi_api_requests_total",
    "braze_cdi_api_request_duration_seconds_bucket",
}
"""Metrics to sum over instances: each instance sends its own requests to Braze."""


def _in_special_cases() -> str:
    """The metrics of special cases: a lost list, a lost schedule, a key in a file, a database."""
    facts = Facts("id", "name", last_delivery=EPOCH, schedule_lost=EPOCH)
    workspace = WorkspaceSnapshot("w", (IntegrationSnapshot(facts),), list_readable=False)
    own = own_families({each: {("w",) * len(each.labels): 1.0} for each in catalog.OWN})
    families = [*workspace_families([workspace]), *own]
    return write_families(families, openmetrics=False).decode()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each series name in real output of the exporter."""
    web_config = tmp_path_factory.mktemp("web") / "web.yml"
    web_config.write_text("{}", "utf-8")

    async def scrape() -> str:
        clock = virtual_clock()
        async with rig(World(EPOCH).simulator(clock.wall, KEY), clock=clock) as made:
            made.exporter.secure(str(web_config))
            return (await made.scrape()).text

    found: dict[str, set[str]] = {}
    for line in (run(scrape()) + _in_special_cases()).splitlines():
        if not line.startswith("#"):
            name, _, labels = line.rpartition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@EACH_EXPRESSION
def test_each_metric_and_label_exists(expr: str, exported: dict[str, set[str]]) -> None:
    """Each metric and label is in the exporter's real output."""
    known, tree = exported | FOREIGN, parsed(expr)
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


@OF_PANELS
def test_each_selector_uses_the_dashboard_variables(
    expr: str, exported: dict[str, set[str]]
) -> None:
    """A selector has the matchers of all variables whose labels its metric has."""
    known = exported | FOREIGN
    for selector in shown(parsed(expr)):
        wanted = {"workspace", "integration_name"} & known[str(selector.name)]
        assert wanted <= set(matchers(selector))


@EACH_EXPRESSION
def test_rate_and_increase_are_used_for_all_counters_and_nothing_else(expr: str) -> None:
    """Counters are used in `rate` or `increase` and never plain.

    Other metrics are never in these.
    """
    tree = parsed(expr)
    counted = [
        str(selector.name)
        for node in walk(tree)
        if isinstance(node, Call) and node.func.name in ("rate", "increase")
        for selector in selectors(node)
    ]
    assert counted == [name for each in selectors(tree) if (name := str(each.name)) in COUNTERS]


@OF_PANELS
def test_two_instances_are_not_counted_twice(expr: str) -> None:
    """Instances are merged before anything is summed, counted or matched."""
    own = {each.name for each in OWN} | set(FOREIGN)
    for selector in unmerged(parsed(expr)):
        name = str(selector.name)
        assert name in SUMMED | own or name.startswith("process_")


def test_every_metric_is_in_a_dashboard_or_listed_as_unused(exported: dict[str, set[str]]) -> None:
    """Each metric is either in a dashboard or listed with the reason why it is not."""
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in exported}
    queried = {
        re.sub(r"_(sum|count|bucket)$", "", str(selector.name))
        for expr in EXPRESSIONS.values()
        for selector in selectors(parsed(expr))
    }
    assert {each.name for each in CATALOG} <= families, "the page shows the whole catalog"
    assert families - queried == set(UNUSED) & families
    assert not queried & set(UNUSED)


def test_no_division_by_zero_gives_nan() -> None:
    """A column with NaN cannot be sorted, so each divisor must be above zero."""
    found = 0
    for place, expr in EXPRESSIONS.items():
        for node in walk(parsed(expr)):
            assert not (isinstance(node, NumberLiteral) and math.isnan(node.val)), place
            if isinstance(node, BinaryExpr) and str(node.op) == "/":
                divisor = node.rhs.expr if isinstance(node.rhs, ParenExpr) else node.rhs
                assert isinstance(divisor, BinaryExpr), place
                assert str(divisor.op) == ">", place
                found += 1
    assert found > 3


@OF_PANELS
def test_a_run_that_ended_is_not_shown_as_running(expr: str) -> None:
    """The start of a finished run stays in the lookback, so a run must also be in progress."""
    tree = parsed(expr)
    guarded = [
        [str(each.name) for each in selectors(node.lhs)]
        for node in walk(tree)
        if isinstance(node, BinaryExpr) and str(node.op) == "and"
        if [str(each.name) for each in selectors(node.rhs)] == ["braze_cdi_syncs_running"]
    ]
    starts = [name for each in selectors(tree) if (name := str(each.name)) == RUNNING_START]
    assert guarded == [[start] for start in starts]
