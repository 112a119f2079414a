"""The API requests of seeded worlds, to compare two versions of the code.

    python -m tests.simulation.trace --write traces.gz
    python -m tests.simulation.trace --compare traces.gz

A refactoring leaves each request as it was: its time, endpoint, integration and cursor. A
change that is intended shows as the first request of each world that differs.
"""

import argparse
import gzip
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import zip_longest
from pathlib import Path

from tests.simulation.world import Simulation, draw
from tests.virtual import run

SIZES = {90: 200, 91: 200, 92: 200, 93: 300, 94: 300, 95: 300, 96: 400, 97: 400, 98: 400, 99: 400}
"""Integrations in the larger worlds, by seed; the others draw a number up to 120."""

Trace = list[list[object]]
"""Requests: seconds since the world started, path, query."""


def traced(seed: int) -> Trace:
    """The requests of one world."""
    simulation = Simulation(draw(seed, SIZES.get(seed)))
    run(simulation.run())
    return [[round(at, 6), path, query] for at, path, query in simulation.recorder.requests]


def main() -> None:
    """Write the traces of the worlds, or compare them with those of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path)
    action.add_argument("--compare", type=Path)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.write:
        with gzip.open(options.write, "wt", encoding="utf-8") as file:
            for seed, trace in _traces(seeds):
                file.write(json.dumps({"seed": seed, "requests": trace}) + "\n")
                print(f"seed {seed}: {len(trace)} requests", flush=True)
        return
    with gzip.open(options.compare, "rt", encoding="utf-8") as file:
        before = {world["seed"]: world["requests"] for world in map(json.loads, file)}
    different = sum(_differs(seed, before[seed], trace) for seed, trace in _traces(seeds))
    print(f"{different} of {len(seeds)} worlds differ")
    sys.exit(1 if different else 0)


def _traces(seeds: range) -> Iterator[tuple[int, Trace]]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from zip(seeds, pool.map(traced, seeds), strict=True)


def _differs(seed: int, before: Trace, after: Trace) -> bool:
    """Whether two traces differ; prints the first difference."""
    for number, (old, new) in enumerate(zip_longest(before, after)):
        if old != new:
            print(f"seed {seed}: request {number} was {old} and is {new}", flush=True)
            return True
    return False


if __name__ == "__main__":
    main()
