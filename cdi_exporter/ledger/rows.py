"""Which run a row of the history tells of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cdi_exporter.model import Run

Identity = tuple[str, float]
"""What tells a run from others; see `Run.identity`."""


def by_identity(runs: Iterable[Run]) -> dict[Identity, list[Run]]:
    """The runs that share an identity, in their order."""
    grouped: dict[Identity, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.identity, []).append(run)
    return grouped


def as_known(told: Sequence[Run], known: Sequence[Run]) -> tuple[Run, ...]:
    """The rows of a page, each under the identity by which its run is known.

    A start may come later than its finish, or go: what finishes when a known run does is that
    run, unless the page shows it beside another that does.
    """
    identities = {run.identity for run in known}
    finishes = Counter(run.finish for run in told)

    def named(row: Run) -> Run:
        if row.finish is None or row.identity in identities or finishes[row.finish] > 1:
            return row
        starts = {run.start for run in known if run.finish == row.finish}
        if len(starts) != 1 or (row.start is None) is (None in starts):
            return row
        return replace(row, start=starts.pop())

    return tuple(named(row) for row in told)


def match(known: Sequence[Run], told: Sequence[Run], room: int = 0) -> list[tuple[Run | None, Run]]:
    """Pair rows of one identity with the known runs that they tell of; None: a new run.

    The likeliest pairs are made first: the same finish, both under way, one that ended;
    last any, since a row alone is no second run, unless there is `room` for so many.
    """
    old, new = list(known), list(told)
    pairs: list[tuple[Run | None, Run]] = []
    for alike in (_same_finish, _both_under_way, _ended, _any):
        for row in list(new):
            run = next((run for run in old if alike(run, row)), None)
            if run is not None and not (alike is _any and len(known) + len(new) <= room):
                pairs.append((run, row))
                _drop(old, run)
                _drop(new, row)
    return [*pairs, *((None, row) for row in new)]


def _drop(runs: list[Run], run: Run) -> None:
    del runs[next(i for i, other in enumerate(runs) if other is run)]


def _same_finish(old: Run, new: Run) -> bool:
    return old.finished and new.finished and old.finish == new.finish


def _both_under_way(old: Run, new: Run) -> bool:
    return not old.finished and not new.finished


def _ended(old: Run, new: Run) -> bool:
    return not old.finished and new.finished


def _any(old: Run, new: Run) -> bool:
    return True


def newer_word(old: Run | None, new: Run) -> Run:
    """What holds of a run told twice; one that has finished does not run again."""
    return old if old is not None and old.finished and not new.finished else new


def place(run: Run) -> float:
    """Where the run stands in the history, which is ordered by start."""
    return run.start if run.start is not None else run.order
