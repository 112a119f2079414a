"""Runs all benchmarks, or the selected ones.

python -m benchmarks [--only latency,footprint] [--quick] [--json FILE]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from benchmarks.figures import Figures, machine, machine_line, sizes, write_json

Measure = Callable[[bool, Sequence[int] | None], Figures]
Show = Callable[[Figures], None]

NAMES = ("detection", "exposition", "status_page", "latency", "footprint", "sharing")


def names(text: str) -> list[str]:
    """The names of the selected benchmarks."""
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        msg = f"{unknown[0]!r} is none of {', '.join(NAMES)}"
        raise argparse.ArgumentTypeError(msg)
    return chosen


def main() -> None:
    """Run the benchmarks and print their results.

    Results so far are written even if the next fails.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="All benchmarks in one run."
    )
    parser.add_argument("--only", type=names, default=[*NAMES], help=f"some of {','.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions")
    parser.add_argument("--sizes", type=sizes, help="numbers of integrations, such as 10,100")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    wanted = parser.parse_args()
    figures: dict[str, object] = {"machine": machine(), "quick": wanted.quick, "seconds": {}}
    print(machine_line(cast("Figures", figures["machine"])), end="\n\n")
    for name in wanted.only:
        benchmark = import_module(f"benchmarks.{name}")
        measure, show = cast("Measure", benchmark.measure), cast("Show", benchmark.show)
        started_at = time.monotonic()
        found = measure(wanted.quick, wanted.sizes)
        cast("dict[str, float]", figures["seconds"])[name] = time.monotonic() - started_at
        print(f"## {name}\n")
        show(found)
        figures |= found
        if wanted.json:
            write_json(wanted.json, figures)


if __name__ == "__main__":
    main()
