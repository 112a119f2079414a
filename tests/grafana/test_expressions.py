"""The PromQL of the dashboards: of metrics that exist, of what is chosen, of two instances."""

import re
from pathlib import Path

import pytest
from promql_parser import AggregateExpr, BinaryExpr, Call

from cdi_exporter.catalog import CATALOG, OWN
from cdi_exporter.exposition.families import own_families, workspace_families, write_families
from cdi_exporter.snapshot import Facts, IntegrationSnapshot, WorkspaceSnapshot
from tests.grafana.expressions import PARTS, matchers, parsed, selectors, shown, unmerged, walk
from tests.grafana.grafana import DASHBOARDS, Chosen, expressions
from tests.grafana.world import World
from tests.harness import KEY, rig
from tests.rules.scenarios import check
from tests.virtual import EPOCH, run, virtual_clock
from tools.dashboards.promql import (
    LIST_UNREADABLE,
    READABLE,
    REASON_CODES,
    UNREADABLE,
    workspace_state,
)

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

UNUSED = {
    "braze_cdi_api_rate_limit_reset_timestamp_seconds": "a time to the minute, for the alerts",
    "cdi_exporter_web_config_last_reload_success_timestamp_seconds": "that it succeeded is enough",
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
    f"{each.name}_{part}" for each in CATALOG for part in PARTS.get(each.type, ())
}
CPU = "process_cpu_seconds_total"

SUMMED = {
    "braze_cdi_api_requests_total",
    "braze_cdi_api_request_duration_seconds_bucket",
    "braze_cdi_api_budget_wait_seconds_total",
}
"""Each instance asks Braze by itself: what is asked is the sum."""


def _in_special_cases() -> str:
    """The page of a workspace that lost its list, of a lost schedule, and of a key in a file."""
    facts = Facts("id", "name", last_delivery=EPOCH, schedule_lost=EPOCH)
    workspace = WorkspaceSnapshot("w", (IntegrationSnapshot(facts),), list_readable=False)
    own = own_families(
        "1",
        reload_successful=True,
        reloaded=None,
        state_writes_failed=0,
        file_reloads={("w", "api_key"): False},
    )
    families = [*workspace_families([workspace]), *own]
    return write_families(families, openmetrics=False).decode()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each series name that real pages of the exporter have, and its labels."""
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
    """What is asked for is in the exporter's real output."""
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
def test_each_selector_is_of_what_is_chosen(expr: str, exported: dict[str, set[str]]) -> None:
    """The matchers of the variables, wherever there are such labels."""
    known = exported | FOREIGN
    for selector in shown(parsed(expr)):
        wanted = {"workspace", "integration_name"} & known[str(selector.name)]
        assert wanted <= set(matchers(selector))


@EACH_EXPRESSION
def test_counters_and_only_counters_are_counted(expr: str) -> None:
    """`rate` and `increase` of counters; never a bare total."""
    tree = parsed(expr)
    counted = [
        str(selector.name)
        for node in walk(tree)
        if isinstance(node, Call) and node.func.name in ("rate", "increase")
        for selector in selectors(node)
    ]
    counters = COUNTERS | {CPU}
    assert counted == [name for each in selectors(tree) if (name := str(each.name)) in counters]


@OF_PANELS
def test_two_instances_count_nothing_twice(expr: str) -> None:
    """The exporter's instances become one before anything is summed, counted or matched."""
    own = {each.name for each in OWN} | set(FOREIGN)
    for selector in unmerged(parsed(expr)):
        name = str(selector.name)
        assert name in SUMMED | own or name.startswith("process_")


def test_every_metric_is_used_or_knowingly_not(exported: dict[str, set[str]]) -> None:
    """By a dashboard, or listed with the reason; what is listed is not used."""
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in exported}
    asked = {
        re.sub(r"_(sum|count|bucket)$", "", str(selector.name))
        for expr in EXPRESSIONS.values()
        for selector in selectors(parsed(expr))
    }
    assert {each.name for each in CATALOG} <= families, "the page shows the whole catalog"
    assert families - asked == set(UNUSED) & families
    assert not asked & set(UNUSED)


def test_the_state_of_a_workspace_tells_an_unreadable_list(tmp_path: Path) -> None:
    """Readable, only the list unreadable, neither; of two instances the one that reads counts."""
    series = {
        'braze_cdi_up{workspace="well"}': 1,
        'braze_cdi_list_readable{workspace="well"}': 1,
        'braze_cdi_up{workspace="by ID"}': 1,
        'braze_cdi_up{workspace="no list"}': 1,
        'braze_cdi_list_readable{workspace="no list"}': 0,
        'braze_cdi_up{workspace="one of two",instance="a"}': 1,
        'braze_cdi_list_readable{workspace="one of two",instance="a"}': 0,
        'braze_cdi_up{workspace="one of two",instance="b"}': 1,
        'braze_cdi_list_readable{workspace="one of two",instance="b"}': 1,
        'braze_cdi_up{workspace="down"}': 0,
        'braze_cdi_list_readable{workspace="down"}': 0,
        'braze_cdi_refresh_error{workspace="down",reason="timeout"}': 1,
        'braze_cdi_up{workspace="silent"}': 0,
        'braze_cdi_refresh_error{workspace="silent",reason="timeout"}': 0,
    }
    states = {
        "well": READABLE,
        "by ID": READABLE,
        "no list": LIST_UNREADABLE,
        "one of two": READABLE,
        "down": REASON_CODES["timeout"],
        "silent": UNREADABLE,
    }
    story = {
        "interval": "1m",
        "input_series": [
            {"series": each, "values": f"{value}x5"} for each, value in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": Chosen().filled(workspace_state()),
                "eval_time": "3m",
                "exp_samples": [
                    {"labels": f'{{workspace="{name}"}}', "value": state}
                    for name, state in states.items()
                ],
            }
        ],
    }
    check([story], tmp_path)
