"""The promises of the exporter, over whole simulated days."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest

from tests.simulation.world import HOUR, draw, simulate
from tests.simulator import Fault, FaultKind, RetryHeader
from tests.virtual import EPOCH

WORLDS = [(100, 1000), *((seed, None) for seed in range(24))]
"""Seeds and numbers of integrations; for None the seed draws the number."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "size"), WORLDS)
def test_the_promises_hold(seed: int, size: int | None) -> None:
    """Each run counts once, each scrape is in time, and the budget is never exceeded."""
    outcome = simulate(draw(seed, size))
    replay = f"replay with: python -m tests.simulation.soak --first {seed} --seeds 1"
    replay += f" --size {size}" if size else ""
    assert not outcome.violations, "\n".join([*outcome.violations, replay])
    assert outcome.scrapes > 0


REPLAY = """
from tests.simulation.world import draw, simulate
outcome = simulate(draw(406, 6))
print(outcome.requests, outcome.scrapes, outcome.counted)
"""


def test_a_seed_gives_the_same_world_in_each_process() -> None:
    """The world of a seed does not depend on the hash seed of the process."""
    environments = ({**os.environ, "PYTHONHASHSEED": seed} for seed in "123")
    runs = [
        subprocess.run([sys.executable, "-c", REPLAY], check=True, capture_output=True, env=env)
        for env in environments
    ]
    assert len({each.stdout for each in runs}) == 1, runs


@pytest.mark.timeout(600)
@pytest.mark.parametrize("retry_header", get_args(RetryHeader))
def test_after_each_429_requests_wait_as_long_as_it_says(retry_header: RetryHeader) -> None:
    """For an hour another tool uses the whole limit, and no request is sent before its time."""
    begin = EPOCH + 0.5 * HOUR
    other = Fault(begin, begin + HOUR, FaultKind.OTHER_TOOL, per_minute=110)
    world = replace(
        draw(7, 60),
        hours=4.0,
        faults=[other],
        crashes=None,
        silences=(),
        retry_header=retry_header,
        latency=0.2,
    )
    outcome = simulate(world)
    assert not outcome.violations, "\n".join(outcome.violations)
    assert outcome.refusals > 10
