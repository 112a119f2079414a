"""`python -m tools.dashboards` writes the JSON of the Grafana dashboards."""

import json
from collections.abc import Callable
from pathlib import Path

from tools.dashboards.integration import integration
from tools.dashboards.overview import overview
from tools.dashboards.panels import Json

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
FILES: dict[Path, Callable[[], Json]] = {
    FOLDER / "braze-cdi-overview.json": overview,
    FOLDER / "braze-cdi-integration.json": integration,
}


def text(dashboard: Json) -> str:
    """The dashboard as Grafana imports it."""
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, dashboard in FILES.items():
        file.write_text(text(dashboard()), "utf-8")
