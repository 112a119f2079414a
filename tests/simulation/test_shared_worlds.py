"""Hours of several exporters that share one database: what must hold whatever happens to them."""

import pytest

from tests.simulation.shared_world import draw, simulate


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(16))
def test_the_promises_hold_for_several_exporters(seed: int) -> None:
    """Each run counts once, somebody leads, all agree, and the budget is never exceeded."""
    outcome = simulate(draw(seed))
    replay = f"replay with: python -m tests.simulation.soak --first {seed} --seeds 1 --shared"
    assert not outcome.violations, "\n".join([*outcome.violations, replay])
    assert outcome.scrapes > 0
    assert outcome.leads > 0
