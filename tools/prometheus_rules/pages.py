"""The files that are made of the rules: rule file, PrometheusRule, the page of all alerts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from tools.prometheus_rules.data import data_alerts, knowledge_alerts
from tools.prometheus_rules.exporter import exporter_alerts
from tools.prometheus_rules.recording import recordings, service_levels
from tools.prometheus_rules.rule import Alert, Group, Recording
from tools.prometheus_rules.syncs import sync_alerts
from tools.prometheus_rules.thresholds import Thresholds
from tools.prometheus_rules.workspaces import workspace_alerts

ROOT = Path(__file__).resolve().parents[2]
RULE_FILE = ROOT / "prometheus" / "rules" / "braze-cdi.yml"
PROMETHEUS_RULE = ROOT / "prometheus" / "kubernetes" / "prometheusrule.yml"
ALERTS_PAGE = ROOT / "docs" / "alerts.md"

_WRITTEN_BY = "Written by `make generated` from tools/prometheus_rules/; do not edit."

_INTRODUCTION = f"""\
# Alerts

<!-- {_WRITTEN_BY} -->

Paged once, with the reason. Each name begins with `BrazeCDI`; each alert has a page that says
what it means for the campaign team, how to confirm it, the likely causes and what to do.

- **critical**: act now. **warning**: a ticket. **info**: shown in Grafana, sent to nobody, except
  `ScheduleLost`: one mail. Who receives what is set in Alertmanager; this describes the example.
- *late*: the last delivery is older than `braze_cdi_stale_after_seconds`. A delivery is a run with
  status success or partial: its rows are in Braze. Without any delivery, the age is counted from
  the start of the known history. The limit is each integration's own, configured or derived from
  its schedule and durations: one rule serves 5-minute and monthly syncs alike.
- Ages are measured to when an integration's data was last confirmed. While Braze cannot be
  read, nothing becomes late and nothing seems mended: `ApiUnreachable` is the one alert.
- Integrations without a schedule (event-driven) are never late or missed; they do alert on
  errors, lost rows and runs that hang.
- Several exporters that read the same workspace, for availability, give each alert once.
- One broken integration is one notification. A page mutes its tickets, also those that come up to
  a quarter of an hour before it: a ticket waits that long. What fails slowly (daily, monthly
  syncs) is a ticket first, and becomes a page when its data is late.
"""

_SETUP = """\
## Set up

1. Copy [`prometheus/rules/braze-cdi.yml`](../prometheus/rules/braze-cdi.yml) to where Prometheus,
   Mimir or Thanos reads rules. For the Prometheus operator there is the same as one object,
   [`prometheus/kubernetes/prometheusrule.yml`](../prometheus/kubernetes/prometheusrule.yml).
2. Set your addresses of Grafana and of the runbooks in `tools/prometheus_rules/thresholds.py` and
   run `make generated`; or replace the two placeholders in the rule file:
   `sed -i 's#https://grafana.example.com#…#; s#https://runbooks.example.com/cdi-exporter#…#'`.
3. Take what you need of [`prometheus/alertmanager.yml`](../prometheus/alertmanager.yml): its
   inhibitions are what makes one notification of one broken thing. Its mail and chat templates
   are in [`prometheus/templates/`](../prometheus/templates/braze-cdi.tmpl).

The rules expect the exporter under one `job_name`, `braze-cdi`. They bridge scrapes that fail and
restarts up to 5 minutes; scrape at least every two minutes.
"""


def groups(limits: Thresholds | None = None) -> tuple[Group, ...]:
    """All rules, recordings before the alerts that use them."""
    limits = limits or Thresholds()
    return (
        recordings(limits),
        exporter_alerts(limits),
        workspace_alerts(limits),
        _run_alerts(limits),
        knowledge_alerts(limits),
        service_levels(limits),
    )


def _run_alerts(limits: Thresholds) -> Group:
    """One group: what mutes another alert in Alertmanager must not end after it."""
    rules = (*sync_alerts(limits), *data_alerts(limits))
    return Group("braze-cdi-runs", "Sync runs and what they carry", rules)


def alerts(made: Sequence[Group]) -> Iterator[Alert]:
    """The alerts of all groups."""
    for group in made:
        yield from (rule for rule in group.rules if isinstance(rule, Alert))


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines, and long ones, as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Readable.add_representer(str, _text)


def _yaml(content: Mapping[str, Any]) -> str:
    written: str = yaml.dump(
        content, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=10_000
    )
    return written


def rule_file(limits: Thresholds | None = None) -> str:
    """The rules as Prometheus, Mimir and Thanos read them."""
    limits = limits or Thresholds()
    made = [group.rendered(limits) for group in groups(limits)]
    return f"# {_WRITTEN_BY}\n# What the alerts mean: docs/alerts.md.\n{_yaml({'groups': made})}"


def prometheus_rule(limits: Thresholds | None = None) -> str:
    """The same rules as an object of the Prometheus operator."""
    limits = limits or Thresholds()
    made = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "braze-cdi", "labels": {"app.kubernetes.io/name": "cdi-exporter"}},
        "spec": {"groups": [group.rendered(limits) for group in groups(limits)]},
    }
    return (
        f"# {_WRITTEN_BY}\n# Add the labels by which your operator selects rules, such as "
        f"`release: prometheus`.\n{_yaml(made)}"
    )


def _alert_rows(group: Group) -> list[str]:
    rows = [
        f"| [`{alert.full_name}`](runbooks/{alert.full_name}.md) | {alert.severity} "
        f"| {alert.held or 'at once'} | {alert.means} |"
        for alert in alerts([group])
    ]
    if not rows:
        return []
    return [
        f"## {group.title}",
        "",
        "| alert | severity | for | fires when |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _threshold_rows(limits: Thresholds) -> list[str]:
    rows = [
        f"| `{each.name}` | `{getattr(limits, each.name)}` | {each.metadata['means']} |"
        for each in fields(limits)
    ]
    return [
        "## Thresholds",
        "",
        "They stand in `tools/prometheus_rules/thresholds.py`; times are seconds. `make generated`",
        "writes the rules anew. When a single integration is late is said in the exporter's",
        "configuration, `stale_after`, not here.",
        "",
        "| name | value | |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _recording_rows(made: Sequence[Group]) -> list[str]:
    rows = [
        f"| `{rule.name}` | {rule.means} |"
        for group in made
        for rule in group.rules
        if isinstance(rule, Recording)
    ]
    return [
        "## Recording rules",
        "",
        "Per workspace and integration.",
        "",
        "| name | |",
        "|---|---|",
        *rows,
        "",
    ]


def alerts_page(limits: Thresholds | None = None) -> str:
    """The page of all alerts."""
    limits = limits or Thresholds()
    made = groups(limits)
    lines = [line for group in made for line in _alert_rows(group)]
    lines += [*_recording_rows(made), *_threshold_rows(limits)]
    return "\n".join([_INTRODUCTION, *lines, _SETUP])


FILES = {RULE_FILE: rule_file, PROMETHEUS_RULE: prometheus_rule, ALERTS_PAGE: alerts_page}
"""What is written, and by what."""


def write() -> None:
    """Write all files."""
    for path, content in FILES.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content(), "utf-8")
