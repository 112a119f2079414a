"""The files that are made of the dashboards."""

import json
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tools.dashboards.integration import integration
from tools.dashboards.overview import overview

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
FILES: dict[Path, Callable[[], Dashboard]] = {
    FOLDER / "braze-cdi-overview.json": overview,
    FOLDER / "braze-cdi-integration.json": integration,
}


def text(dashboard: Dashboard) -> str:
    """The dashboard as Grafana reads it."""
    made = json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return made + "\n"


def write() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, dashboard in FILES.items():
        path.write_text(text(dashboard()), "utf-8")
