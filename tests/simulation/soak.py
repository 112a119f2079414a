"""Many worlds: python -m tests.simulation.soak --seeds 1000 [--first N] [--size N]."""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.world import Outcome, draw, simulate


def one(job: tuple[int, int | None]) -> tuple[int, Outcome]:
    """The outcome of one seed."""
    seed, size = job
    return seed, simulate(draw(seed, size))


def main() -> None:
    """Run the seeds on all cores; exit status 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, help="integrations in each world")
    options = parser.parse_args()
    broken = 0
    jobs = [(options.first + number, options.size) for number in range(options.seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seed, outcome in pool.map(one, jobs):
            broken += bool(outcome.violations)
            verdict = "BROKEN" if outcome.violations else "ok"
            print(f"seed {seed}: {verdict}, {outcome.counted} runs, {outcome.requests}", flush=True)
            for violation in outcome.violations:
                print(f"  {violation}", flush=True)
            if outcome.violations:
                size = f" --size {options.size}" if options.size else ""
                print(f"  replay: python -m tests.simulation.soak --first {seed} --seeds 1{size}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
