"""Dashboard queries over given series, evaluated by promtool."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.e2e.processes import program
from tests.grafana.grafana import Chosen


def binary(name: str) -> str:
    """The path of a Prometheus program. PROMETHEUS and PROMTOOL override Debian's."""
    return os.environ.get(name.upper()) or program(name)


def check(
    folder: Path, series: Mapping[str, str], at: str, expected: Mapping[str, Mapping[str, float]]
) -> None:
    """Compare each expression at a time with the values by labels.

    Series have a sample a minute.
    """
    story = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": Chosen(interval=60, scrape_interval=60).filled(expr),
                "eval_time": at,
                "exp_samples": [
                    {"labels": labels, "value": value} for labels, value in samples.items()
                ],
            }
            for expr, samples in expected.items()
        ],
    }
    (folder / "story.yml").write_text(yaml.safe_dump({"tests": [story]}), "utf-8")
    command = [binary("promtool"), "test", "rules", "story.yml"]
    judged = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
