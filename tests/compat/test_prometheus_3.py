"""The programs that `make test-compat` chooses are those of Prometheus 3."""

from pathlib import Path

import yaml

from tests.rules.scenarios import complaint


def test_a_range_leaves_out_its_start(tmp_path: Path) -> None:
    """A sample exactly at the start of a range is not in it; Prometheus 2 counts six."""
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
    found = complaint(file)
    assert not found, found
