"""Attacks by clients and by the API, during which scrapes succeed and memory stays limited."""

from pathlib import Path

import pytest

from tests.hostile.braze import ATTACKS
from tests.hostile.clients import Attacker
from tests.hostile.soak import MOST_GROWTH, MOST_MEMORY, growth, run

SECONDS_EACH = 3.0
"""For one attack. `make soak-hostile` runs longer and also compares latencies."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("attackers", ["clients: ", "Braze: "])
def test_an_attack_delays_no_scrape(attackers: str, tmp_path: Path) -> None:
    """Every scrape succeeds. Memory stays within the chart's limit and falls afterwards."""
    number = len(ATTACKS) if attackers == "Braze: " else len(Attacker(0, "", 0).attacks())
    results = run((number + 2) * SECONDS_EACH, tmp_path, attackers)
    assert len(results) == number + 2
    assert {each.name: each.failed for each in results if each.failed} == {}
    assert {each.name: max(each.memory) for each in results if max(each.memory) > MOST_MEMORY} == {}
    assert growth(results) <= MOST_GROWTH
    assert "Traceback" not in (tmp_path / "log").read_text()
