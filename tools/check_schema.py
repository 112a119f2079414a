"""Writes `docs/check.schema.json` from the values of `check/report.py`.

To be run as `python -m tools.check_schema`.
"""

import json
from pathlib import Path

from cdi_exporter.check.report import REPORT

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "check.schema.json"


def schema() -> str:
    """The schema as it is written to its file."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **REPORT.json_schema(mode="serialization"),
        "title": "cdi-exporter check",
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write the schema."""
    SCHEMA.write_text(schema(), "utf-8")


if __name__ == "__main__":
    write()
