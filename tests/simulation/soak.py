"""Many worlds: python -m tests.simulation.soak --seeds 1000 [--first N] [--size N] [--shared]."""

import argparse
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import shared_world, world

Work = Callable[[tuple[int, int | None]], tuple[int, world.Outcome | shared_world.Outcome]]


def one(job: tuple[int, int | None]) -> tuple[int, world.Outcome]:
    """The outcome of one seed."""
    seed, size = job
    return seed, world.simulate(world.draw(seed, size))


def one_shared(job: tuple[int, int | None]) -> tuple[int, shared_world.Outcome]:
    """The outcome of one seed with several exporters."""
    seed, _ = job
    return seed, shared_world.simulate(shared_world.draw(seed))


def main() -> None:
    """Run the seeds on all cores; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", type=int, help="integrations in each world")
    parser.add_argument("--shared", action="store_true", help="several exporters, one database")
    options = parser.parse_args()
    broken = 0
    jobs = [(options.first + number, options.size) for number in range(options.seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work: Work = one_shared if options.shared else one
        for seed, outcome in pool.map(work, jobs):
            broken += bool(outcome.violations)
            verdict = "BROKEN" if outcome.violations else "ok"
            print(f"seed {seed}: {verdict}, {outcome.counted} runs, {outcome.requests}", flush=True)
            for violation in outcome.violations:
                print(f"  {violation}", flush=True)
            if outcome.violations:
                more = f" --size {options.size}" if options.size else ""
                more += " --shared" if options.shared else ""
                print(f"  replay: python -m tests.simulation.soak --first {seed} --seeds 1{more}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
