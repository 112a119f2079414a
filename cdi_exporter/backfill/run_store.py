"""The runs that were read, and how far; they are kept for other ranges and labels.

Of one integration, what was read is a stretch of its history without holes (`Reach`). When
newer runs are wanted than it holds, a second stretch starts at the newest row, and is joined
to the first when the two meet. Every row has the stretch that showed it last.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cdi_exporter.backfill.database import Database
from cdi_exporter.ledger import ABANDONED_AFTER, KEPT_RUNS
from cdi_exporter.ledger.identity import by_identity, match, newer_version
from cdi_exporter.model import Run, Status

_FIELDS = "status, start, finish, watermark, rows_synced, rows_failed"
_OF_RUN = "FROM runs WHERE source = ? AND kind = ? AND time = ?"


@dataclass(frozen=True, slots=True)
class Reach:
    """A stretch of one integration's history that was read."""

    stretch: int
    began: float
    """When its newest page was asked for, in Unix seconds."""
    cursor: str | None = None
    """Where its next page begins; None for the newest one."""
    bottom: float = math.inf
    """When the last run of its oldest page had ended."""
    ended: bool = False
    """Whether it goes to the end of what Braze lists."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How many runs are known, and from when to when."""

    runs: int
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A run and when it is shown: as under way from `begins`, as finished from `ends` on."""

    key: tuple[str, float, int]
    run: Run
    begins: float | None
    ends: float | None


def placed(run: Run, number: int = 0) -> Placed:
    """A run with its times; one that ended before its start is shown from its start on.

    `number` tells runs of one identity apart.
    """
    times = [each for each in (run.start, run.finish) if each is not None]
    key = (*run.identity, number)
    if not run.finished:
        return Placed(key, run, times[0], None)
    ends = max(times)
    under_way = run.start is not None and run.start < ends
    return Placed(key, run, run.start if under_way else None, ends)


class RunStore:
    """The histories of integrations, each under the number of its source."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def source(self, workspace: str, place: str, identifier: str) -> int:
        """The number under which an integration's history is kept."""
        values = (workspace, place, identifier)
        with self._db.transaction():
            self._db.write(
                "INSERT OR IGNORE INTO sources (workspace, place, id) VALUES (?, ?, ?)", values
            )
        sql = "SELECT source FROM sources WHERE workspace = ? AND place = ? AND id = ?"
        return int(str(self._db.one(sql, values)[0]))

    # Reading

    def reaches(self, source: int) -> list[Reach]:
        """How far the history was read; the newest stretch last."""
        sql = (
            "SELECT stretch, began, cursor, bottom, ended FROM reaches WHERE source = ?"
            " ORDER BY stretch"
        )
        rows = self._db.rows(sql, (source,))
        return [
            Reach(stretch, began, cursor, bottom, bool(ended))
            for stretch, began, cursor, bottom, ended in rows
        ]

    def take(self, source: int, reach: Reach, runs: Sequence[Run], unplaced: int) -> int:
        """Keep a page that brings a stretch to `reach`; how many of its runs are new.

        `unplaced` are its rows that could not be read, or have no time.
        """
        with self._db.transaction():
            known = self._count(source)
            met = [self._keep(source, reach.stretch, key, told) for key, told in _grouped(runs)]
            self._db.write(
                "UPDATE sources SET unplaced = unplaced + ? WHERE source = ?", (unplaced, source)
            )
            self._set(source, reach)
            if reach.ended:
                self._drop_older(source, reach)
            elif any(met) and not self._open_behind(source, reach):
                self._join(source, reach)
            return self._count(source) - known

    def _count(self, source: int) -> int:
        return int(str(self._db.one("SELECT count(*) FROM runs WHERE source = ?", (source,))[0]))

    def _keep(self, source: int, stretch: int, key: tuple[str, float], told: Sequence[Run]) -> bool:
        """Store what a page tells of one identity; whether an older stretch had it finished."""
        where = (source, *key)
        rows = self._db.rows(f"SELECT stretch, {_FIELDS} {_OF_RUN} ORDER BY number", where)
        stretches, known = [], []
        for row in rows.fetchall():
            stretches.append(row[0])
            known.append(_run(row[1:]))
        pairs = match(known, told)
        retold = {id(old) for old, _ in pairs if old is not None}
        kept = [newer_version(old, new) for old, new in pairs]
        kept += [run for run in known if id(run) not in retold]
        self._db.write(f"DELETE {_OF_RUN}", where)
        for number, run in enumerate(sorted(kept, key=lambda run: run.order)):
            self._insert(source, stretch, placed(run, number))
        older = zip(known, stretches, strict=True)
        return any(run.finished and before < stretch for run, before in older)

    def _insert(self, source: int, stretch: int, row: Placed) -> None:
        run = row.run
        values = (
            *(source, *row.key, stretch, row.begins, row.ends),
            *(run.status.value, run.start, run.finish, run.watermark),
            *(run.rows_synced, run.rows_failed),
        )
        self._db.write("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def _set(self, source: int, reach: Reach) -> None:
        values = (source, reach.stretch, reach.began, reach.cursor, reach.bottom, reach.ended)
        self._db.write("INSERT OR REPLACE INTO reaches VALUES (?, ?, ?, ?, ?, ?)", values)

    def _drop_older(self, source: int, reach: Reach) -> None:
        sql = "DELETE FROM reaches WHERE source = ? AND stretch < ?"
        self._db.write(sql, (source, reach.stretch))

    def _open_behind(self, source: int, reach: Reach) -> bool:
        """Whether the older stretch knows runs as under way that were not met again."""
        sql = "SELECT 1 FROM runs WHERE source = ? AND stretch < ? AND ends IS NULL AND begins > ?"
        values = (source, reach.stretch, reach.began - ABANDONED_AFTER)
        return self._db.rows(sql, values).fetchone() is not None

    def _join(self, source: int, reach: Reach) -> None:
        """Let the stretch go on where the older one ends."""
        older = [each for each in self.reaches(source) if each.stretch < reach.stretch]
        for each in older[-1:]:
            self._set(source, replace(each, stretch=reach.stretch, began=reach.began))
        self._drop_older(source, reach)

    def restart(self, source: int, reach: Reach) -> None:
        """Begin a stretch again at the newest page: its cursor is not accepted any more."""
        with self._db.transaction():
            self._set(source, Reach(reach.stretch, reach.began))

    def finished_before(self, source: int, moment: float) -> int:
        """How many finished runs are known up to the moment."""
        sql = "SELECT count(*) FROM runs WHERE source = ? AND ends <= ?"
        return int(str(self._db.one(sql, (source, moment))[0]))

    def extent(self, source: int) -> Extent | None:
        """What is known; None if there is no run."""
        sql = (
            "SELECT count(*), min(coalesce(begins, ends)), max(coalesce(begins, ends))"
            " FROM runs WHERE source = ?"
        )
        count, oldest, newest = self._db.rows(sql, (source,)).fetchone()
        return Extent(count, oldest, newest) if count else None

    # The runs in the order in which they happen

    def newest_before(self, source: int, moment: float) -> list[Run]:
        """The finished runs that the ledger would keep at the moment."""
        where = "source = ? AND ends <= ? ORDER BY ends DESC, kind, time, number LIMIT ?"
        sql = f"SELECT {_FIELDS} FROM runs WHERE {where}"  # noqa: S608 -- no text from outside
        return [_run(row) for row in self._db.rows(sql, (source, moment, KEPT_RUNS))]

    def under_way(self, source: int, moment: float) -> list[Placed]:
        """The runs under way at the moment, less those that the ledger would give up."""
        where = "begins >= ? AND begins <= ? AND (ends IS NULL OR ends > ?)"
        values = (moment - ABANDONED_AFTER, moment, moment)
        return [*self._placed(source, where, values, "begins")]

    def beginning(self, source: int, after: float, until: float) -> Iterator[Placed]:
        """The runs that begin in (after, until], by their begin."""
        return self._placed(source, "begins > ? AND begins <= ?", (after, until), "begins")

    def ending(self, source: int, after: float, until: float) -> Iterator[Placed]:
        """The runs that end in (after, until], by their end."""
        return self._placed(source, "ends > ? AND ends <= ?", (after, until), "ends")

    def _placed(
        self, source: int, where: str, values: tuple[float, ...], order: str
    ) -> Iterator[Placed]:
        where = f"source = ? AND {where} ORDER BY {order}, kind, time, number"
        sql = f"SELECT kind, time, number, begins, ends, {_FIELDS} FROM runs WHERE {where}"  # noqa: S608 -- no text from outside
        for row in self._db.rows(sql, (source, *values)):
            yield Placed(row[:3], _run(row[5:]), row[3], row[4])


def _grouped(runs: Sequence[Run]) -> list[tuple[tuple[str, float], list[Run]]]:
    return [*by_identity(runs).items()]


def _run(row: Sequence[object]) -> Run:
    status, *rest = row
    return Run(Status(str(status)), *rest)  # type: ignore[arg-type]  # as they were written
