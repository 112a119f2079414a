"""The form of a state file record, which belongs to a format version."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from cdi_exporter.state.schema import STEPS
from cdi_exporter.workspace.record import Record

FORMS = Path(__file__).parents[1] / "state"


def form(kind: type, met: set[type]) -> Iterator[str]:
    """A line for each field of a dataclass, and of the dataclasses in its fields."""
    if kind in met:
        return
    met.add(kind)
    hints = get_type_hints(kind)
    for field in fields(kind):
        default = "required" if field.default is MISSING else repr(field.default)
        yield f"{kind.__name__}.{field.name}: {_named(hints[field.name])} = {default}"
    for hint in hints.values():
        for part in _dataclasses(hint):
            yield from form(part, met)


def _named(hint: Any) -> str:
    """A type as written in the source, without its module."""
    written = re.sub(r"\w+\.", "", str(hint.__name__ if isinstance(hint, type) else hint))
    return re.sub(r"Optional\[(\w+)\]", r"\1 | None", written)


def _dataclasses(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)


def test_the_record_fields_match_the_format_version() -> None:
    """A changed field or default needs a step in `state/schema.py` and a new file here."""
    expected = (FORMS / f"record-{len(STEPS)}.txt").read_text("utf-8").splitlines()
    assert [*form(Record, set())] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON: Expecting value"),
        ("[]", "expected an object"),
        ('{"knowledge":{"ledger":{"seen":true}}}', "knowledge.ledger.counters: missing"),
    ],
)
def test_an_invalid_record_is_reported_in_one_line(text: str, problem: str) -> None:
    """The line names the first error and its position, but not the found value."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as error:
        Record.from_json(text)
    assert str(error.value) == problem
