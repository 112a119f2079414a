"""Whatever clients and the API do, scrapes and probes are answered, and memory stays bounded."""

from pathlib import Path

import pytest

from tests.hostile.braze import ATTACKS
from tests.hostile.clients import Attacker
from tests.hostile.soak import MOST_GROWTH, MOST_MEMORY, growth, run

SECONDS_EACH = 3.0
"""For one attack; `make soak-hostile` takes longer, and compares latencies, too."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("who", ["clients: ", "Braze: "])
def test_an_attack_delays_no_scrape(who: str, tmp_path: Path) -> None:
    """Every scrape is answered, memory is the chart's limit at most, and afterwards as before."""
    number = len(ATTACKS) if who == "Braze: " else len(Attacker(0, "", 0).attacks())
    results = run((number + 2) * SECONDS_EACH, tmp_path, who)
    assert len(results) == number + 2
    assert {each.name: each.failed for each in results if each.failed} == {}
    assert {each.name: max(each.memory) for each in results if max(each.memory) > MOST_MEMORY} == {}
    assert growth(results) <= MOST_GROWTH
    assert "Traceback" not in (tmp_path / "log").read_text()
