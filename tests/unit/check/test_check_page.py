"""The guide `docs/check.md` names everything that programs can compare."""

import re
from pathlib import Path

from cdi_exporter import check

ROOM = Path(check.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "check.md"
CODE = re.compile(r'(?:Level\.[A-Z]+,|_error\()\s*"([a-z_]+)"')


def test_the_page_names_each_code() -> None:
    """Each code of a finding stands on the page, and those of the error tree's reasons."""
    found = {code for path in ROOM.glob("*.py") for code in CODE.findall(path.read_text("utf-8"))}
    assert len(found) > 15
    told = PAGE.read_text("utf-8")
    reasons = {"rate_limited", "server_error", "invalid_response", "other"}
    assert {code for code in found | reasons if f"`{code}`" not in told} == set()
