"""The Prometheus programs that `make test-compat` selects, which must be of version 3."""

from pathlib import Path

import yaml

from tests.rules.scenarios import promtool_errors


def test_a_range_leaves_out_its_start(tmp_path: Path) -> None:
    """A sample exactly at the start of a range does not count. Prometheus 2 would count six."""
    test = {
        "interval": "1m",
        "input_series": [{"series": "x", "values": "0x10"}],
        "promql_expr_test": [
            {
                "expr": "count_over_time(x[5m])",
                "eval_time": "10m",
                "exp_samples": [{"labels": "{}", "value": 5}],
            }
        ],
    }
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}), "utf-8")
    found = promtool_errors(file)
    assert not found, found
