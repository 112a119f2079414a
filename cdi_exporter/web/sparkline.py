"""A small chart of an integration's last runs, with a text alternative.

A bar above the base line shows the rows synced, relative to the greatest of the runs shown. A mark
below it shows trouble, so that nothing depends only on colour: a dot for an unknown status, a short
mark if some rows failed, a long one if the run failed.
"""

from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from cdi_exporter import wording
from cdi_exporter.model import FINISHED_STATUSES, Run, Status

MOST_RUNS = 24
STEP = 5
WIDTH = MOST_RUNS * STEP
TALLEST = 18
BASE = 19
HEIGHT = 27
_MARKS = {Status.UNKNOWN: 2, Status.PARTIAL: 4, Status.ERROR: 7, Status.CONFIG_ERROR: 7}


def sparkline(runs: Sequence[Run]) -> Markup:
    """Inline SVG without style or script; empty if no run is known."""
    shown = runs[-MOST_RUNS:]
    if not shown:
        return Markup()
    bars = tuple((run.status, run.rows_synced) for run in shown)
    return Markup(_drawn(bars))  # noqa: S704 - numbers, and words of this module


@lru_cache(maxsize=4096)
def _drawn(bars: tuple[tuple[Status, int | None], ...]) -> str:
    most = max((rows or 0 for _, rows in bars), default=0) or 1
    left = WIDTH - STEP * len(bars) + STEP / 2
    paths: dict[Status, list[str]] = {}
    for place, (status, rows) in enumerate(bars):
        tall = max(1.0, round(TALLEST * (rows or 0) / most, 1))
        across = f"{left + STEP * place:g}"
        path = paths.setdefault(status, [])
        path.append(f"M{across} {BASE}v-{tall:g}")
        if mark := _MARKS.get(status):
            path.append(f"M{across} {BASE + 1}v{mark}")
    drawn = "".join(
        f'<path class="{status.value}" d="{"".join(path)}"/>' for status, path in paths.items()
    )
    return (
        f'<svg class="spark" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}"><title>{escape(in_words(bars))}</title>'
        f'<path class="base" d="M0 {BASE + 0.5}h{WIDTH}"/>{drawn}</svg>'
    )


def in_words(bars: Sequence[tuple[Status, int | None]]) -> str:
    """The text alternative of the chart."""
    statuses = [status for status, _ in bars]
    parts = [
        f"{wording.count(statuses.count(status))} {status.value.replace('_', ' ')}"
        for status in FINISHED_STATUSES
        if status in statuses
    ]
    text = f"Last {wording.things(len(bars), 'run')}: {', '.join(parts)}."
    rows = [number for _, number in bars if number is not None]
    if not rows:
        return text
    span = f"{wording.count(min(rows))} to {wording.count(max(rows))}"
    return f"{text} Rows synced: {span}, newest {wording.count(rows[-1])}."
