"""Whole days of simulated worlds: what the three promises say must hold in each."""

import pytest

from tests.simulation.world import draw, simulate

SEEDS = range(20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_hold(seed: int) -> None:
    """Each run counts once, each scrape is in time, and the budget is never exceeded."""
    outcome = simulate(draw(seed))
    replay = f"replay with: python -m tests.simulation.soak --first {seed} --seeds 1"
    assert not outcome.violations, "\n".join([*outcome.violations, replay])
    assert outcome.scrapes > 0
