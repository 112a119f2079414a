"""What both dashboards have: variables, annotations, links, and how they behave."""

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import dashboard as models

from cdi_exporter import catalog
from tools.dashboards.panels import DATASOURCE
from tools.dashboards.promql import WORKSPACE
from tools.dashboards.statuses import LIGHT_BLUE, VERMILION

TAG = "braze-cdi"
OVERVIEW_UID = "braze-cdi-overview"
INTEGRATION_UID = "braze-cdi-integration"
"""The alerts link to these."""

INTEGRATION_PAGE = (
    f"/d/{INTEGRATION_UID}?${{datasource:queryparam}}&${{__url_time_range}}"
    "&var-workspace=${__data.fields.workspace:percentencode}"
    "&var-integration=${__data.fields.integration:percentencode}"
)
"""From a row with the columns `workspace` and `integration`."""


class Annotation(models.AnnotationQuery):
    """A query of Prometheus as an annotation, with what the SDK does not know of it."""

    def __init__(self, *, title: str, text: str, value_is_time: bool = False, **known: Any) -> None:
        super().__init__(datasource=DATASOURCE, enable=True, **known)
        self._further = {
            "titleFormat": title,
            "textFormat": text,
            "useValueForTime": value_is_time,
            "step": "60s",
        }

    def to_json(self) -> dict[str, object]:
        """The annotation as Grafana stores it."""
        return super().to_json() | self._further


class _Built(cog.Builder[models.AnnotationQuery]):
    def __init__(self, annotation: Annotation) -> None:
        self._annotation = annotation

    def build(self) -> models.AnnotationQuery:
        """The annotation, which is built already."""
        return self._annotation


def board(uid: str, title: str, description: str) -> builders.Dashboard:
    """A dashboard without panels."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .timezone("browser")
        .time("now-24h", "now")
        .refresh("1m")
        .link(_other_dashboards())
    )
    for variable in (_datasource(), _workspaces(), _integrations()):
        made.with_variable(variable)
    for annotation in (_alerts(), _restarts()):
        made.annotation(_Built(annotation))
    return made


def _other_dashboards() -> builders.DashboardLink:
    link = builders.DashboardLink("Braze CDI").type(models.DashboardLinkType.DASHBOARDS)
    link.tags([TAG]).as_dropdown(False).icon("external link").tooltip("The same, seen otherwise")
    return link.include_vars(True).keep_time(True)


def _datasource() -> builders.DatasourceVariable:
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _query(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
    )


def _workspaces() -> builders.QueryVariable:
    return _query("workspace", "Workspace", f"label_values({catalog.UP.name}, workspace)")


def _integrations() -> builders.QueryVariable:
    series = f"{catalog.INTEGRATION_INFO.name}{{{WORKSPACE}}}"
    return _query("integration", "Integration", f"label_values({series}, integration_name)")


def _alerts() -> Annotation:
    """Alerts of the chosen, and those that belong to no workspace or integration."""
    matchers = (
        'alertname=~"BrazeCDI.+",alertstate="firing",workspace=~"$workspace|",'
        'integration_name=~"$integration|"'
    )
    return Annotation(
        name="Alerts",
        title="{{alertname}}",
        text="{{severity}}: {{workspace}} {{integration_name}}",
        icon_color=VERMILION,
        expr=f"max by (alertname, severity, workspace, integration_name) (ALERTS{{{matchers}}})",
    )


def _restarts() -> Annotation:
    """The value is the time: a restart shows wherever in the range it was."""
    own = f"process_start_time_seconds and on (job, instance) {catalog.BUILD_INFO.name}"
    return Annotation(
        name="Exporter restarts",
        title="Exporter started",
        text="{{instance}}",
        icon_color=LIGHT_BLUE,
        expr=f"max by (job, instance) ({own}) * 1000",
        value_is_time=True,
    )
