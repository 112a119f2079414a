"""Writes `docs/check.schema.json` from the classes in `check/report.py`.

Usage: `python -m tools.check_schema`.
"""

import json
from dataclasses import is_dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from cdi_exporter.check import report

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "check.schema.json"

DESCRIBED = ConfigDict(
    use_attribute_docstrings=True,
    extra="forbid",
    json_schema_serialization_defaults_required=True,
)


def schema() -> str:
    """The schema as it is written to its file."""
    for part in vars(report).values():
        if is_dataclass(part):
            part.__pydantic_config__ = DESCRIBED  # type: ignore[union-attr]  # read by pydantic
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(report.Report).json_schema(mode="serialization"),
        "title": "cdi-exporter check",
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), "utf-8")
