"""Finds which run a row of the history describes."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from cdi_exporter.model import Run, Time

Identity = tuple[str, Time]
"""What distinguishes a run from others; see `Run.identity`."""


def by_identity(runs: Iterable[Run]) -> dict[Identity, list[Run]]:
    """The runs by identity, each list in their order."""
    grouped: dict[Identity, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.identity, []).append(run)
    return grouped


class Finishes:
    """The starts of runs by their finish, for rows whose start appears later or disappears."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._starts: dict[float, Counter[float | None]] = {}
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Add a run."""
        if run.finish is not None:
            self._starts.setdefault(run.finish, Counter())[run.start] += 1

    def remove(self, run: Run) -> None:
        """Remove a run that was added before."""
        if run.finish is None:
            return
        starts = self._starts[run.finish]
        starts[run.start] -= 1
        if not starts[run.start]:
            del starts[run.start]
        if not starts:
            del self._starts[run.finish]

    def starts(self, finish: float) -> Collection[float | None]:
        """The different starts of the runs with this finish."""
        return self._starts.get(finish, {}).keys()


def as_known(
    rows: Sequence[Run], is_known: Callable[[Identity], bool], finishes: Sequence[Finishes]
) -> tuple[Run, ...]:
    """The rows of a page, each with the identity by which its run is known.

    A start may appear after the finish, or disappear: a row with the finish of a known run is that
    run, unless another row of the page has the same finish.
    """
    on_page = Counter(run.finish for run in rows)

    def named(row: Run) -> Run:
        if row.finish is None or on_page[row.finish] > 1 or is_known(row.identity):
            return row
        starts: set[float | None] = set()
        for each in finishes:
            found = each.starts(row.finish)
            if len(found) > 1:
                return row
            starts.update(found)
        if len(starts) != 1 or (row.start is None) is (None in starts):
            return row
        return replace(row, start=starts.pop())

    return tuple(named(row) for row in rows)


def match(known: Sequence[Run], rows: Sequence[Run], room: int = 0) -> list[tuple[Run | None, Run]]:
    """Pair rows of one identity with the known runs that they describe; None: a new run.

    The most likely pairs come first: the same finish, both in progress, one that ended. Then any,
    since a single row is not a second run, unless there is `room` for that many.
    """
    if not known:
        return [(None, row) for row in rows]
    pairs: list[tuple[Run | None, Run]] = []
    old, new = list(known), list(rows)
    for old_key, new_key in _LIKELY:
        old, new = _pair(old, new, old_key, new_key, pairs)
    any_pair = min(len(old), max(0, len(known) + len(new) - room))
    pairs += zip(old, new[:any_pair], strict=False)
    return [*pairs, *((None, row) for row in new[any_pair:])]


Key = Callable[[Run], object]
"""A value that is equal for a known run and for a row of the same run; `...` matches nothing."""


def _finish(run: Run) -> object:
    return run.finish if run.finished else ...


def _under_way(run: Run) -> object:
    return ... if run.finished else None


def _ended(run: Run) -> object:
    return None if run.finished else ...


_LIKELY: tuple[tuple[Key, Key], ...] = (
    (_finish, _finish),
    (_under_way, _under_way),
    (_under_way, _ended),
)
"""The keys of known runs and of rows for pairs, the most likely first."""


def _pair(
    old: Sequence[Run],
    new: Sequence[Run],
    old_key: Key,
    new_key: Key,
    pairs: list[tuple[Run | None, Run]],
) -> tuple[list[Run], list[Run]]:
    """Append the pairs with equal keys, in order; return the remaining runs and rows.

    Linear in both, because a page may have any number of rows with one start.
    """
    waiting: dict[object, deque[Run]] = {}
    for run in old:
        waiting.setdefault(old_key(run), deque()).append(run)
    waiting.pop(..., None)
    met: Counter[object] = Counter()
    rows = []
    for row in new:
        key = new_key(row)
        same = waiting.get(key)
        if same:
            pairs.append((same.popleft(), row))
            met[key] += 1
        else:
            rows.append(row)
    runs = []
    for run in old:
        key = old_key(run)
        if met[key]:
            met[key] -= 1
        else:
            runs.append(run)
    return runs, rows


def newer_version(old: Run | None, new: Run) -> Run:
    """The version of a run to keep; a finished run does not run again."""
    return old if old is not None and old.finished and not new.finished else new


def position(run: Run) -> float:
    """The position of a run in the history, which is ordered by start."""
    return run.start if run.start is not None else run.order
