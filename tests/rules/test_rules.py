"""The rule files: clean, up to date, of the exporter's own metrics, each with its page."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from cdi_exporter.catalog import CATALOG
from cdi_exporter.errors import REASONS
from tests.rules.scenarios import ROOT, RULE_FILE, program
from tools.prometheus_rules import facts
from tools.prometheus_rules.pages import FILES, PROMETHEUS_RULE, rule_file
from tools.prometheus_rules.thresholds import Thresholds

RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load(RULE_FILE.read_text("utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}

METRICS = {metric.name: set(metric.labels) for metric in CATALOG} | {"up": {"job", "instance"}}
TARGET = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""

SECTIONS = (
    "## What it means",
    "## Confirm",
    "## Likely causes",
    "## In Braze",
    "## In the warehouse",
    "## Silence",
)

_SELECTOR = re.compile(r"(?<![\w:])((?:braze_cdi|cdi_exporter)_\w+|up)\b(?:\{([^}]*)\})?")
_RECORDED = re.compile(r"integration:\w+:\w+")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_LABEL = re.compile(r"\$labels\.(\w+)")


def _texts(rule: dict[str, Any]) -> list[str]:
    return [rule["expr"], *rule.get("annotations", {}).values()]


def _named(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_what_the_tool_writes(path: Any) -> None:
    """Rule file, PrometheusRule and page are up to date: else run `make generated`."""
    assert path.read_text("utf-8") == FILES[path]()


def test_promtool_has_no_complaint() -> None:
    """The oldest Prometheus that we know of reads the rules, and finds nothing to lint."""
    command = [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(RULE_FILE)]
    checked = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_the_example_configuration_loads_the_rules() -> None:
    """promtool finds the rules by the example of Prometheus, and nothing wrong in either."""
    command = [program("promtool"), "check", "config", str(ROOT / "prometheus" / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_the_prometheus_rule_is_the_same() -> None:
    """The object for the Prometheus operator holds the same groups."""
    made = yaml.safe_load(PROMETHEUS_RULE.read_text("utf-8"))
    assert (made["apiVersion"], made["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert made["spec"] == {"groups": GROUPS}


@pytest.mark.parametrize("rule", RULES, ids=_named)
def test_each_metric_and_label_exists(rule: dict[str, Any]) -> None:
    """Expressions and queries in annotations name what the exporter has."""
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
def test_no_vector_is_matched_as_it_was_scraped(rule: dict[str, Any]) -> None:
    """Each selector stands within an aggregation: two exporters make no many-to-many error."""
    aggregated = re.sub(
        r"\b(?:max|sum)(?: by \([^)]*\))? \((?:[^()]|\([^()]*\))*\)", "", rule["expr"]
    )
    aggregated = re.sub(r"absent_over_time\([^()]*\)", "", aggregated)
    assert not _SELECTOR.findall(aggregated)


@pytest.mark.parametrize("rule", ALERTS, ids=_named)
def test_each_alert_follows_the_conventions(rule: dict[str, Any]) -> None:
    """Name, severity, all annotations; one summary for what is grouped; addresses set once."""
    limits = Thresholds()
    assert rule["alert"].startswith("BrazeCDI")
    assert list(rule["labels"]) == ["severity"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "action", "runbook_url", "dashboard_url"}
    assert set(_LABEL.findall(notes["summary"])) <= {"workspace"}
    assert "$value" not in notes["summary"] + notes["action"]
    assert "$labels" not in notes["action"]
    assert notes["runbook_url"] == f"{limits.runbook_url}/{rule['alert']}.md"
    assert notes["dashboard_url"].startswith(f"{limits.grafana_url}/d/braze-cdi-")
    assert rule["labels"]["severity"] == "info" or rule.get("for") or "increase" in rule["expr"]


def test_addresses_and_limits_are_set_once() -> None:
    """Other addresses and limits replace the placeholders everywhere."""
    limits = Thresholds(
        grafana_url="https://graphs.invalid",
        runbook_url="https://books.invalid",
        job="cdi",
        failed_rows=123,
    )
    text = rule_file(limits)
    assert "example.com" not in text
    assert (
        text.count("https://graphs.invalid") == text.count("https://books.invalid/") == len(ALERTS)
    )
    assert 'job="cdi"' in text
    assert 'job="braze-cdi"' not in text
    assert ">= 123" in text


def test_every_reason_has_words() -> None:
    """Why a workspace cannot be read is said in words, for each reason of the exporter."""
    assert tuple(facts.REASONS) == REASONS


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """No page is missing, and none is left over."""
    pages = {page.stem for page in RUNBOOKS.glob("BrazeCDI*.md")}
    assert pages == {rule["alert"] for rule in ALERTS}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == pages


@pytest.mark.parametrize("rule", ALERTS, ids=_named)
def test_each_runbook_answers_the_questions(rule: dict[str, Any]) -> None:
    """Meaning, confirmation, causes, what to do in Braze and the warehouse, when to silence."""
    text = (RUNBOOKS / f"{rule['alert']}.md").read_text("utf-8")
    assert text.startswith(f"# {rule['alert']}\n")
    assert f"**{rule['labels']['severity']}**" in text
    sections = re.findall(r"^## .*$", text, re.MULTILINE)
    assert tuple(sections) == SECTIONS
    for body in re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]:
        assert len(body.split()) >= 5
    for name, _ in _SELECTOR.findall(" ".join(re.findall(r"```promql\n(.*?)```", text, re.DOTALL))):
        assert name in METRICS, name
    other = set(re.findall(r"BrazeCDI\w+", text))
    assert other <= {each["alert"] for each in ALERTS}


def test_the_page_lists_every_alert() -> None:
    """docs/alerts.md links each alert's runbook."""
    text = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    for rule in ALERTS:
        assert f"(runbooks/{rule['alert']}.md)" in text
