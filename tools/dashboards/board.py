"""The parts that both dashboards share: variables, annotations, links, advice, positions."""

from collections.abc import Sequence
from typing import NamedTuple

from tools.dashboards.panels import DATASOURCE, Json, words
from tools.dashboards.promql import WORKSPACE
from tools.dashboards.states import LIGHT_BLUE, NO_DATA, STATES, VERMILION

TAG = "braze-cdi"
OVERVIEW_UID = "braze-cdi-overview"
INTEGRATION_UID = "braze-cdi-integration"
"""The alerts link to these IDs."""

ADVICE_ID = 100
"""The ID of the panel with the advice for each state.

Runbook links open it, see grafana/README.md.
"""
RUNBOOK = f"/d/{OVERVIEW_UID}?viewPanel={ADVICE_ID}#"

INTEGRATION_PAGE = (
    f"/d/{INTEGRATION_UID}?${{datasource:queryparam}}&${{__url_time_range}}"
    "&var-workspace=${__data.fields.workspace:percentencode}"
    "&var-integration=${__data.fields.integration:percentencode}"
)
"""The link of a row with the columns `workspace` and `integration`."""

COLUMNS = 24


class Line(NamedTuple):
    """Panels side by side with the same height."""

    height: int
    panels: Sequence[Json]
    widths: Sequence[int]


def line(height: int, *panels: Json, widths: Sequence[int] = ()) -> Line:
    """Panels side by side, with equal widths by default."""
    return Line(height, panels, widths or [COLUMNS // len(panels)] * len(panels))


class Section(NamedTuple):
    """A heading and the panels below it. The first section of a dashboard needs no heading."""

    heading: str
    lines: Sequence[Line]
    collapsed: bool = False


def dashboard(
    uid: str, title: str, description: str, sections: Sequence[Section], *, several: bool
) -> Json:
    """A dashboard of several integrations, with all selected by default, or of one."""
    names = f"braze_cdi_integration_info{{{WORKSPACE}}}, integration_name"
    return {
        "annotations": {"list": [_critical_alerts(), _restarts()]},
        "description": description,
        "editable": False,
        "graphTooltip": 1,
        "links": [
            {
                "includeVars": True,
                "keepTime": True,
                "tags": [TAG],
                "title": "Braze CDI",
                "type": "dashboards",
            }
        ],
        "panels": _placed(sections),
        "refresh": "1m",
        "schemaVersion": 36,
        "tags": [TAG],
        "templating": {
            "list": [
                {
                    "label": "Data source",
                    "name": "datasource",
                    "query": "prometheus",
                    "type": "datasource",
                },
                _variable("workspace", "braze_cdi_up, workspace", several=several),
                _variable("integration", names, several=several),
            ]
        },
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "title": title,
        "uid": uid,
    }


def _variable(name: str, values: str, *, several: bool) -> Json:
    """Its values are read when the time range changes and sorted without regard to case."""
    return {
        "allValue": ".+",
        "datasource": DATASOURCE,
        "includeAll": several,
        "label": name.title(),
        "multi": several,
        "name": name,
        "query": {"query": f"label_values({values})", "refId": name},
        "refresh": 2,
        "sort": 5,
        "type": "query",
    }


def _annotation(name: str, colour: str, expr: str, **further: object) -> Json:
    """Marks in all graphs, which are off by default."""
    return {
        "datasource": DATASOURCE,
        "enable": False,
        "expr": expr,
        "iconColor": colour,
        "name": name,
        "step": "60s",
        **further,
    }


def _critical_alerts() -> Json:
    """Alerts of the selected integrations, and alerts without a workspace or integration."""
    matchers = (
        'alertname=~"BrazeCDI.+",alertstate="firing",severity="critical",'
        'workspace=~"$workspace|",integration_name=~"$integration|"'
    )
    return _annotation(
        "Critical alerts",
        VERMILION,
        f"max by (alertname, workspace, integration_name) (ALERTS{{{matchers}}})",
        titleFormat="{{alertname}}",
        textFormat="{{workspace}} {{integration_name}}",
    )


def _restarts() -> Json:
    """The value is the time of the restart, so that each one in the time range is marked."""
    own = "process_start_time_seconds and on (job, instance) cdi_exporter_build_info"
    return _annotation(
        "Exporter restarts",
        LIGHT_BLUE,
        f"max by (job, instance) ({own}) * 1000",
        titleFormat="Exporter started",
        textFormat="{{instance}}",
        useValueForTime=True,
    )


def _placed(sections: Sequence[Section]) -> list[Json]:
    """The sections from top to bottom. IDs count from 1, except that of the advice."""
    placed: list[Json] = []
    top, number = 0, 0
    for section in sections:
        within = placed
        if section.heading:
            number += 1
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
            row: Json = {"id": number, "type": "row", "title": section.heading, "gridPos": place}
            placed.append(row | {"collapsed": section.collapsed, "panels": []})
            within = placed[-1]["panels"] if section.collapsed else placed
            top += 1
        below = top
        for height, panels, widths in section.lines:
            left = 0
            for panel, width in zip(panels, widths, strict=True):
                number += 1
                identity = ADVICE_ID if panel["type"] == "text" else number
                place = {"h": height, "w": width, "x": left, "y": below}
                within.append(panel | {"id": identity, "gridPos": place})
                left += width
            below += height
        top = top if section.collapsed else below
    return placed


_MEANINGS = {
    "config_error": "credentials, permissions or names are wrong; no later run can succeed",
    "late": "no rows were delivered for longer than this integration's limit",
    "stuck": "a run takes more than 3 times as long as usual, and at least an hour",
    "missed": "a scheduled run has not started for 20 minutes or more",
    "error": "the last run failed; the next one tries again",
    "unknown": "Braze reported a status that the exporter does not know",
    "partial": "the last run delivered, but some rows failed",
    "success": "all rows of the last run are in Braze",
}
_MORE = f"""\
| {NO_DATA} | nothing is known of this moment | check the exporter | |

The runbooks are in the project's folder `docs/runbooks/`, one file per alert.

**In Braze:** *Data Settings → Cloud Data Ingestion*, then the integration by its name. Its *sync \
log* has the error of each run. The integration's ID is the last part of its address in Braze.

**No data** means that nothing is known, not that all is well. Is the exporter scraped? Can it \
read the workspace? Did it run in this time range?
"""


def advice() -> Section:
    """What each state means, what to do, and where to find more."""
    text = "| state | what it means | what to do | runbook |\n|---|---|---|---|\n"
    for state in reversed(STATES):
        runbook = state.alert and f"BrazeCDI{state.alert}"
        text += f"| {state.text} | {_MEANINGS[state.name]} | {state.act} | {runbook} |\n"
    panel = words("What each state means, and what to do", text + _MORE)
    return Section("What do I do?", [line(13, panel)])
