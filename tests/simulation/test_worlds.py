"""Whole days of simulated worlds: what the three promises say must hold in each."""

import pytest

from tests.simulation.world import draw, simulate

WORLDS = [(100, 1000), *((seed, None) for seed in range(24))]
"""Seeds, and how many integrations; where it is not said, the seed draws that too."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "size"), WORLDS)
def test_the_promises_hold(seed: int, size: int | None) -> None:
    """Each run counts once, each scrape is in time, and the budget is never exceeded."""
    outcome = simulate(draw(seed, size))
    replay = f"replay with: python -m tests.simulation.soak --first {seed} --seeds 1"
    replay += f" --size {size}" if size else ""
    assert not outcome.violations, "\n".join([*outcome.violations, replay])
    assert outcome.scrapes > 0
