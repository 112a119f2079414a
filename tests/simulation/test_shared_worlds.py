"""The promises for several exporters that share one database, over simulated hours."""

from dataclasses import replace

import pytest

from tests.simulation.shared_world import (
    CALM,
    SETTLED,
    Kind,
    Scraping,
    Trouble,
    draw,
    simulate,
)
from tests.simulation.world import HOUR
from tests.virtual import EPOCH


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(12))
def test_the_promises_hold_for_several_exporters(seed: int) -> None:
    """Each run counts once, one exporter leads, all agree, and the budget is never exceeded."""
    outcome = simulate(draw(seed))
    replay = f"replay with: python -m tests.simulation.soak --first {seed} --seeds 1 --shared"
    assert not outcome.violations, "\n".join([*outcome.violations, replay])
    assert outcome.scrapes > 0
    assert outcome.leads > 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [Kind.KILL, Kind.STOP, Kind.FREEZE, Kind.CUT_OFF])
def test_successive_leaders_stay_within_the_rate_limit(kind: Kind) -> None:
    """All leaders need the whole budget, and Braze does not report the remaining limit."""
    troubles = [
        Trouble(
            kind, EPOCH + CALM + 100 * number, 40.0, number % 2, during_a_commit=number % 3 == 0
        )
        for number in range(12)
    ]
    world = replace(
        draw(16),
        hours=(CALM + 1500 + SETTLED) / HOUR,
        exporters=2,
        ahead=(0.0, 120.0),
        troubles=troubles,
        scraping=Scraping.EACH,
        interval=15.0,
        latency=0.5,
        database=0.05,
        limits_shown=False,
    )
    assert len(world.integrations) == 150
    outcome = simulate(world)
    assert not outcome.violations, "\n".join(outcome.violations)
    assert outcome.leads > 3
