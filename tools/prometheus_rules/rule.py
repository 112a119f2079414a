"""What a rule is: an alert or a recording, and the groups that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.prometheus_rules.thresholds import Thresholds

PREFIX = "BrazeCDI"


@dataclass(frozen=True)
class Alert:
    """One alert. Texts may hold Prometheus' templates."""

    name: str
    """Without the prefix that all names share."""
    severity: str
    """critical: act now; warning: a ticket; info: not routed."""
    expr: str
    held: str
    """`for`: how long the condition must hold."""
    summary: str
    """One sentence, the same for all alerts that are grouped: no integration in it."""
    description: str
    """This instance's facts, with units."""
    action: str
    """What to do first."""
    dashboard: str
    """Path and query below the address of Grafana."""
    means: str
    """For the documentation: when it fires, in a sentence."""
    keep: str | None = None
    """`keep_firing_for`: bridges what interrupts the condition though nothing was mended.

    What another alert mutes (see alertmanager.yml) is kept as long as that one and stands
    after it in the same group. Alertmanager forgets an alert that ends while it is muted, but
    not that it was told: the next such alert would be silent until it is time to repeat it.
    """

    @property
    def full_name(self) -> str:
        """The name as Prometheus knows it."""
        return PREFIX + self.name

    def rendered(self, limits: Thresholds) -> dict[str, Any]:
        """The rule as it stands in a rule file."""
        rule: dict[str, Any] = {"alert": self.full_name, "expr": self.expr}
        if self.held:
            rule["for"] = self.held
        if self.keep:
            rule["keep_firing_for"] = self.keep
        rule["labels"] = {"severity": self.severity}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "action": self.action,
            "runbook_url": f"{limits.runbook_url}/{self.full_name}.md",
            "dashboard_url": f"{limits.grafana_url}{self.dashboard}",
        }
        return rule


@dataclass(frozen=True)
class Recording:
    """One recording rule, named level:metric:operation."""

    name: str
    expr: str
    means: str

    def rendered(self, _: Thresholds) -> dict[str, Any]:
        """The rule as it stands in a rule file."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    title: str
    """For the documentation."""
    rules: Sequence[Alert | Recording]
    interval: str | None = None
    """Where it is not Prometheus' own: rules that look far back are dear."""

    def rendered(self, limits: Thresholds) -> dict[str, Any]:
        """The group as it stands in a rule file."""
        group: dict[str, Any] = {"name": self.name}
        if self.interval:
            group["interval"] = self.interval
        group["rules"] = [rule.rendered(limits) for rule in self.rules]
        return group
