"""The guide `docs/check.md` lists all codes of findings."""

import re
from pathlib import Path

from cdi_exporter import check, problems
from cdi_exporter.problems import Problem

ROOM = Path(check.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "check.md"
CODE = re.compile(r'Level\.[A-Z]+,\s*"([a-z_]+)"')


def test_the_guide_lists_each_code_of_a_finding() -> None:
    """This includes the codes in the table of problems."""
    found = {code for path in ROOM.glob("*.py") for code in CODE.findall(path.read_text("utf-8"))}
    assert len(found) > 8
    found |= {each.kind for each in vars(problems).values() if isinstance(each, Problem)}
    reported = PAGE.read_text("utf-8")
    assert {code for code in found if f"`{code}`" not in reported} == set()
