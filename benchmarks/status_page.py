"""Cost of the status page and its JSON, by the number of integrations.

    python -m benchmarks --only status_page [--quick] [--sizes 10,100,1000]

CPU milliseconds of this process from the request to the compressed response, and its size. Each
integration has 24 runs of its own. A page shows at most 1,000 integrations.
"""

from collections.abc import Sequence

from benchmarks.exposition import cpu_ms
from benchmarks.figures import Figures, Spread, across, table
from tests.shown import Shown, get, many

SIZES, QUICK_SIZES = (10, 100, 1000), (10, 100)
ROUNDS, QUICK_ROUNDS = 11, 3
PATHS = {"page": "/", "JSON": "/api/v1/status"}


def measure_one(size: int, path: str, rounds: int) -> dict[str, float]:
    source = Shown(many(size))
    answer = get(source, path, headers={"Accept-Encoding": "gzip"})
    taken = [cpu_ms(lambda: get(source, path)) for _ in range(rounds)]
    return {
        "cpu_ms": Spread.of(taken).p50,
        "bytes": len(answer.content),
        "bytes, gzip": int(answer.headers["content-length"]),
    }


def measure(quick: bool, sizes: Sequence[int] | None = None) -> Figures:
    """One entry per response and number of integrations."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    found = {
        str(size): {
            f"{name}, {figure}": value
            for name, path in PATHS.items()
            for figure, value in measure_one(size, path, rounds).items()
        }
        for size in sizes or (QUICK_SIZES if quick else SIZES)
    }
    return {"status_page": found}


def show(figures: Figures) -> None:
    """Print the table."""
    by_size = figures["status_page"]
    head = [f"N={size}" for size in by_size]
    print(table(["status page", *head], across(by_size, dict)), end="\n\n")
