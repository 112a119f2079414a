"""Files that are generated from the rules in prometheus/rules/: python -m tools.rules.

The PrometheusRule for Kubernetes is the text of the rule files, indented, with its comments. The
tables of docs/alerts.md come from the rules and the comments above them.
"""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULE_FILES = tuple(
    ROOT / "prometheus" / "rules" / name for name in ("braze-cdi.yml", "braze-cdi-absent.yml")
)
PROMETHEUS_RULE = ROOT / "prometheus" / "kubernetes" / "prometheusrule.yml"
ALERTS_PAGE = ROOT / "docs" / "alerts.md"

TITLES = {
    "braze-cdi-exporter": "The exporter itself",
    "braze-cdi-absent": "The scrape job (in the separate file `braze-cdi-absent.yml`)",
    "braze-cdi-workspaces": "Workspaces and the Braze API",
    "braze-cdi-runs": "Sync runs",
    "braze-cdi-knowledge": "Integrations and counters",
}
"""The headings of the groups that have alerts, in the order of the page."""

_HEADER = """\
# Made by `make generated` from prometheus/rules/: do not edit.
# Add the labels by which your Prometheus operator selects rules, such as `release: prometheus`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: braze-cdi
  labels:
    app.kubernetes.io/name: cdi-exporter
spec:
  groups:
"""


def read_rules() -> list[dict[str, Any]]:
    """The groups of all rule files."""
    return [
        group for file in RULE_FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    ]


def prometheus_rule() -> str:
    """The rules as one object for the Prometheus operator."""
    texts = [file.read_text("utf-8").partition("\ngroups:\n")[2].rstrip() for file in RULE_FILES]
    lines = "\n\n".join(texts).splitlines()
    return _HEADER + "".join(f"  {line}".rstrip() + "\n" for line in lines)


def meanings() -> dict[str, str]:
    """The first paragraph of the comment above each rule, by the name of the rule."""
    text = "\n".join(file.read_text("utf-8") for file in RULE_FILES)
    found = re.findall(r"((?:^  #.*\n)+)  - (?:alert|record): (\S+)$", text, re.MULTILINE)
    return {name: _first_paragraph(comment) for comment, name in found}


def _first_paragraph(comment: str) -> str:
    lines = [line.strip().removeprefix("#").strip() for line in comment.splitlines()]
    return " ".join(takewhile(bool, lines))


def tables() -> str:
    """A table of the alerts of each group, then one of the recording rules."""
    groups, means = {group["name"]: group["rules"] for group in read_rules()}, meanings()
    lines: list[str] = []
    for name, title in TITLES.items():
        lines += [f"### {title}", ""]
        lines += ["| alert | severity | for | fires when |", "|---|---|---|---|"]
        lines += [
            f"| [`{rule['alert']}`](runbooks/{rule['alert']}.md) | {rule['labels']['severity']} "
            f"| {rule.get('for', 'at once')} | {means[rule['alert']]} |"
            for rule in groups[name]
            if "alert" in rule
        ]
        lines.append("")
    lines += ["### Recording rules", "", "| name | value |", "|---|---|"]
    recorded = [rule["record"] for rules in groups.values() for rule in rules if "record" in rule]
    lines += [f"| `{name}` | {means[name]} |" for name in recorded if name in means]
    return "\n".join([*lines, ""])


def alerts_page() -> str:
    """docs/alerts.md with new tables."""
    begin, end = "<!-- made by `make generated` from prometheus/rules/ -->\n", "<!-- end -->\n"
    before, rest = ALERTS_PAGE.read_text("utf-8").split(begin)
    return f"{before}{begin}\n{tables()}\n{end}{rest.split(end)[1]}"


FILES = {PROMETHEUS_RULE: prometheus_rule, ALERTS_PAGE: alerts_page}
"""The generated files, each with the function that returns its text."""


if __name__ == "__main__":
    for file, content in FILES.items():
        file.write_text(content(), "utf-8")
