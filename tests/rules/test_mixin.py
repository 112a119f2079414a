"""mixin.libsonnet, which gives jsonnet users the same rules and dashboards."""

import importlib
import json
from typing import Any

import pytest
import yaml

from tools.rules import ROOT, RULE_FILES, read_rules

jsonnet = importlib.import_module("_jsonnet")


def _rendered(**config: Any) -> dict[str, Any]:
    snippet = f"(import 'mixin.libsonnet') + {{ _config+:: {json.dumps(config)} }}"
    fields = ("prometheusAlerts", "prometheusRules", "grafanaDashboards")
    shown = ", ".join(f"{name}: mixin.{name}" for name in fields)
    text = f"local mixin = {snippet}; {{ {shown} }}"
    rendered: dict[str, Any] = json.loads(
        jsonnet.evaluate_snippet("test", text, jpathdir=[str(ROOT)])
    )
    return rendered


def _groups(rendered: dict[str, Any]) -> dict[str, Any]:
    found = rendered["prometheusAlerts"]["groups"] + rendered["prometheusRules"]["groups"]
    return {group["name"]: group for group in found}


def test_the_mixin_has_the_rules_and_dashboards_of_the_files() -> None:
    """It contains all groups, unchanged, and both dashboards."""
    rendered = _rendered()
    assert _groups(rendered) == {group["name"]: group for group in read_rules()}
    recorded = rendered["prometheusRules"]["groups"]
    assert all("record" in rule for group in recorded for rule in group["rules"])
    assert rendered["grafanaDashboards"] == {
        path.name: json.loads(path.read_text("utf-8"))
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    }


@pytest.mark.parametrize("slash", ["", "/"])
def test_links_are_set_by_the_configuration(slash: str) -> None:
    """An address can end with a slash or not."""
    links = {
        "runbookUrl": f"https://wiki.test/books{slash}",
        "grafanaUrl": f"https://grafana.test{slash}",
    }
    groups = _groups(_rendered(**links))
    alerts = [rule for group in groups.values() for rule in group["rules"] if "alert" in rule]
    assert len(alerts) == sum(
        file.read_text("utf-8").count("# runbook_url: ") for file in RULE_FILES
    )
    for rule in alerts:
        notes = rule["annotations"]
        assert notes["runbook_url"] == f"https://wiki.test/books/{rule['alert']}.md"
        assert notes["dashboard_url"].startswith("https://grafana.test/d/braze-cdi-")


def test_the_alert_on_a_missing_target_can_be_left_out() -> None:
    """It is optional for a Prometheus that does not scrape the exporter."""
    (absent,) = yaml.safe_load(RULE_FILES[1].read_text("utf-8"))["groups"]
    assert absent["name"] not in _groups(_rendered(exporterAbsent=False))
