"""The rule files, the files generated from them, and the runbooks."""

import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from cdi_exporter.catalog import CATALOG
from cdi_exporter.problems import REASONS
from tests.e2e.processes import program
from tools.rules import FILES, PROMETHEUS_RULE, ROOT, RULE_FILES, meanings, read_rules

RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = read_rules()
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}

METRICS = {metric.name: set(metric.labels) for metric in CATALOG} | {"up": {"job", "instance"}}
TARGET = {"job", "instance"}
"""The labels that Prometheus adds to scraped series."""

SECTIONS = (
    "## Impact",
    "## First three steps",
    "## Likely causes",
    "## Verify the fix",
    "## When to silence",
)
COMMANDS = (
    "kubectl",
    "journalctl",
    "systemctl",
    "docker",
    "cdi-exporter check",
    "curl",
    "promtool",
)

_SELECTOR = re.compile(r"(?<![\w:])((?:braze_cdi|cdi_exporter)_\w+|up)\b(?:\{([^}]*)\})?")
_RECORDED = re.compile(r"integration(?:_status)?:\w+:\w+")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_LABEL = re.compile(r"\$labels\.(\w+)")


def _texts(rule: dict[str, Any]) -> list[str]:
    return [rule["expr"], *rule.get("annotations", {}).values()]


def _named(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_equals_the_tools_output(path: Path) -> None:
    """The PrometheusRule and the tables in the docs are up to date.

    If not, run `make generated`.
    """
    assert path.read_text("utf-8") == FILES[path]()


def _checked(*arguments: str | Path) -> str:
    done = subprocess.run(
        [program("promtool"), "check", *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_errors() -> None:
    """Prometheus can read the rules, and its linter finds nothing."""
    found = _checked("rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert sum(int(count) for count in re.findall(r"(\d+) rules found", found)) == len(RULES)


def test_the_example_configuration_loads_the_rules() -> None:
    """promtool finds both rule files through the example configuration, without errors."""
    found = _checked("config", ROOT / "prometheus" / "prometheus.yml")
    assert sum(int(count) for count in re.findall(r"(\d+) rules found", found)) == len(RULES)


def test_the_prometheus_rule_has_the_same_groups() -> None:
    """The object for the Prometheus operator contains the same groups."""
    made = yaml.safe_load(PROMETHEUS_RULE.read_text("utf-8"))
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"] == {"groups": GROUPS}


def _meaning(expr: Any) -> Any:
    """The expression without redundant parentheses."""
    if isinstance(expr, promql_parser.ParenExpr):
        return _meaning(expr.expr)
    if isinstance(expr, promql_parser.BinaryExpr):
        return str(expr.op), str(expr.modifier), _meaning(expr.lhs), _meaning(expr.rhs)
    return str(expr)


def _same(one: str, other: str) -> bool:
    return bool(_meaning(promql_parser.parse(one)) == _meaning(promql_parser.parse(other)))


def test_both_failure_alerts_agree_on_rare_syncs() -> None:
    """SyncFailed reports exactly the integrations that SyncFailing excludes."""
    failed, failing = (
        next(rule["expr"] for rule in ALERTS if rule["alert"] == f"BrazeCDI{name}")
        for name in ("SyncFailed", "SyncFailing")
    )
    limit = r"next_attempt_wait:seconds\s+#.*\s+> (\d+)"
    assert re.findall(limit, failed) == re.findall(limit, failing) != []


@pytest.mark.parametrize("rule", RULES, ids=_named)
def test_each_metric_and_label_exists(rule: dict[str, Any]) -> None:
    """Expressions and queries in annotations use existing metrics and labels."""
    for text in _texts(rule):
        used = _SELECTOR.findall(text)
        for name, matchers in used:
            assert name in METRICS, name
            assert set(_MATCHER.findall(matchers)) <= METRICS[name] | TARGET
        recorded = set(_RECORDED.findall(text))
        assert recorded <= RECORDED
        labels = set().union(*(METRICS[name] for name, _ in used), TARGET if used else set())
        if recorded:
            labels |= {"workspace", "integration_id", "integration_name"}
        for grouping in _GROUPING.findall(text):
            assert set(re.findall(r"\w+", grouping)) <= labels


@pytest.mark.parametrize("rule", RULES, ids=_named)
def test_no_vector_is_matched_without_aggregation(rule: dict[str, Any]) -> None:
    """Each selector is inside an aggregation, so that two exporters cause no many-to-many error."""
    aggregated, found = rule["expr"], 1
    while found:
        aggregated, found = re.subn(
            r"\b(?:max|min|sum)(?: by \([^)]*\))? \((?:[^()]|\([^()]*\))*\)", "", aggregated
        )
    aggregated = re.sub(r"absent_over_time\([^()]*\)", "", aggregated)
    assert not _SELECTOR.findall(aggregated)


@pytest.mark.parametrize("rule", ALERTS, ids=_named)
def test_each_alert_follows_the_conventions(rule: dict[str, Any]) -> None:
    """It has a name, severity, annotations and a comment, and it ends with its condition.

    With `keep_firing_for`, a delayed mail would report a problem that is over.
    """
    assert rule["alert"].startswith("BrazeCDI")
    assert list(rule["labels"]) == ["severity"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "action"}
    assert "$labels" not in notes["action"] + "".join(rule["labels"].values())
    assert "$value" not in notes["action"]
    assert "keep_firing_for" not in rule
    assert rule["labels"]["severity"] == "info" or rule.get("for") or "history_gaps" in rule["expr"]
    assert meanings()[rule["alert"]].endswith((".", "`."))


@pytest.mark.parametrize("rule", ALERTS, ids=_named)
def test_each_summary_names_the_affected_integration_or_workspace(rule: dict[str, Any]) -> None:
    """The default template of any receiver shows the integration, workspace or instance."""
    summary = rule["annotations"]["summary"]
    if "integration_id" in rule["expr"]:
        assert "{{ $labels.integration_name }} → Braze {{ $labels.workspace }}: " in summary
    elif "workspace" in rule["expr"]:
        assert "Braze {{ $labels.workspace }}" in summary
    elif rule["alert"] != "BrazeCDIExporterAbsent":
        assert "{{ $labels.instance }}" in summary


def _linked(folder: Path) -> list[dict[str, Any]]:
    """The alerts after the command in docs/alerts.md has set the addresses."""
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    (command,) = re.findall(r"```sh\n(sed .*?)```", page, re.DOTALL)
    for file in RULE_FILES:
        (folder / file.name).write_text(file.read_text("utf-8"), "utf-8")
    subprocess.run(["sh", "-c", command], cwd=folder, check=True, timeout=60)
    _checked("rules", *(folder / file.name for file in RULE_FILES))
    groups = [
        group
        for file in RULE_FILES
        for group in yaml.safe_load((folder / file.name).read_text("utf-8"))["groups"]
    ]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_links_are_set_by_one_command(tmp_path: Path) -> None:
    """Each alert then has a runbook and a dashboard link with the variables filled in."""
    found = _linked(tmp_path)
    assert [rule["alert"] for rule in found] == [rule["alert"] for rule in ALERTS]
    variables = {
        "workspace": "?var-workspace={{ $labels.workspace | urlquery }}",
        "integration_name": "&var-integration={{ $labels.integration_name | urlquery }}",
    }
    for rule in found:
        notes = rule["annotations"]
        assert notes["runbook_url"] == f"https://wiki.example.com/runbooks/{rule['alert']}.md"
        address, _, filled = notes["dashboard_url"].partition("?")
        assert address in (
            "https://grafana.example.com/d/braze-cdi-overview",
            "https://grafana.example.com/d/braze-cdi-integration",
        )
        wanted = [variables[label] for label in ("workspace", "integration_name")]
        assert filled in ("", wanted[0][1:], "".join(wanted)[1:])
        assert ("var-integration=" in filled) == address.endswith("braze-cdi-integration")


@pytest.mark.parametrize("name", ["rules", "kubernetes", "alertmanager.yml", "templates"])
def test_no_file_that_is_loaded_has_an_example_address(name: str) -> None:
    """Links are left out until an address is set."""
    path = ROOT / "prometheus" / name
    for file in [path] if path.is_file() else path.iterdir():
        assert "example.com" not in file.read_text("utf-8"), file


def test_every_reason_has_a_text() -> None:
    """Each reason why a workspace cannot be read has a text."""
    text = "".join(file.read_text("utf-8") for file in RULE_FILES)
    for reason in set(REASONS) - {"unauthorized"}:
        assert f'"{reason}"' in text, reason
    assert "does not accept the key (401)" in text


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """No runbook is missing, and none is obsolete."""
    pages = {page.stem for page in RUNBOOKS.glob("BrazeCDI*.md")}
    assert pages == {rule["alert"] for rule in ALERTS}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == pages


@pytest.mark.parametrize("rule", ALERTS, ids=_named)
def test_each_runbook_has_all_sections(rule: dict[str, Any]) -> None:
    """It has impact, three steps with commands, causes, how to verify, when to silence."""
    text = (RUNBOOKS / f"{rule['alert']}.md").read_text("utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    assert f"**{rule['labels']['severity']}**" in text
    sections = re.findall(r"^## .*$", text, re.MULTILINE)
    assert tuple(sections) == SECTIONS
    bodies = dict(zip(sections, re.split(r"^## .*$", text, flags=re.MULTILINE)[1:], strict=True))
    assert all(len(body.split()) >= 5 for body in bodies.values())
    assert "Nothing to do" not in text
    steps = re.findall(r"^(\d)\. ", bodies["## First three steps"], re.MULTILINE)
    assert steps == ["1", "2", "3"]
    assert any(command in bodies["## First three steps"] for command in COMMANDS)
    assert re.search(r"^1\. .*\n(?:.*\n)*2\. ", bodies["## Likely causes"], re.MULTILINE)
    assert "](../" in text, "no link to the other pages"
    for name, _ in _SELECTOR.findall(" ".join(re.findall(r"```promql\n(.*?)```", text, re.DOTALL))):
        assert name in METRICS, name
    other = set(re.findall(r"BrazeCDI\w+", text))
    assert other <= {each["alert"] for each in ALERTS}


def test_the_page_lists_every_alert() -> None:
    """docs/alerts.md links each alert's runbook."""
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    for rule in ALERTS:
        assert f"(runbooks/{rule['alert']}.md)" in text
