"""The limits in `docs/limits.md`, compared with the constants in the code."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import cdi_exporter

ROOT = Path(cdi_exporter.__file__).parent
PAGE = ROOT.parent / "docs" / "limits.md"
COLUMNS = 6

UNITS = {
    "KiB": 2**10,
    "MiB": 2**20,
    "s": 1,
    "min": 60,
    "h": 3_600,
    "days": 86_400,
}
"""The factor of each unit after a number. Other words name the counted things."""

LIMIT = re.compile(r"(?!_)((MOST|LONGEST|DEEPEST)(_\w+)?|[A-Z_]*(SECONDS|PATIENCE))")
"""The names of constants that are limits."""

SIMULATED = ("simulator", "demo")


def rows() -> list[list[str]]:
    """The cells of each row of the tables."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells for cells in found if cells[0] != "what"]


NAMED = [(cells[1], name.strip("`")) for cells in rows() if (name := cells[COLUMNS - 1])]


def constants() -> Iterator[str]:
    """The limits in the code, as module and name."""
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module.startswith(SIMULATED):
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name) and LIMIT.fullmatch(target.id):
                    yield f"{module}.{target.id}"


def test_each_row_is_complete() -> None:
    """Each row has a cell for each column, and names the limited thing and its limit."""
    assert len(rows()) > 80
    for cells in rows():
        assert len(cells) == COLUMNS, cells
        assert cells[0], cells
        assert cells[1], cells


@pytest.mark.parametrize(("written", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_documented_limit_equals_the_constant(written: str, name: str) -> None:
    """Units are converted to seconds or bytes."""
    module, _, constant = name.rpartition(".")
    found = re.search(r"([0-9][0-9,]*(?:\.[0-9]+)?) ?(\w*)", written)
    assert found, written
    number = float(found[1].replace(",", "")) * UNITS.get(found[2], 1)
    assert getattr(import_module(f"cdi_exporter.{module}"), constant) == number


def test_each_limit_of_the_code_is_on_the_page() -> None:
    """To add a limit, describe what happens when it is reached and how that is visible."""
    other_things = {
        "config.values.LONGEST_DURATION"
    }  # 100 years, described in the text of the page
    assert {*constants()} - other_things - {name for _, name in NAMED} == set()
