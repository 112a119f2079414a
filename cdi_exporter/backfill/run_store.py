"""Stores the runs that were read, and how far each history was read, also for later jobs.

The pages of one history that were read form a span without gaps. If a job needs newer runs, a
second span starts at the newest page, and is joined to the first one when both meet. Every run has
the number of the span that contained it last.
"""

import heapq
import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from operator import attrgetter

from cdi_exporter.ledger import ABANDONED_AFTER, KEPT_RUNS
from cdi_exporter.ledger.identity import Identity, by_identity, match, newer_version
from cdi_exporter.model import Run, Status

FIELDS = "status, start, finish, watermark, rows_synced, rows_failed"
_fields_of = attrgetter(*FIELDS.split(", "))
OF_IDENTITY = "FROM runs WHERE source = ? AND kind = ? AND time = ?"

STARTS, ENDS, GIVEN_UP = range(3)
"""The kinds of events, in the order in which events of the same time are applied."""

Event = tuple[float, int, float | None, Run]
"""The time, the kind, the start of the run if it was ever in progress, and the run."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive pages of one history that were read."""

    number: int
    """Newer spans have higher numbers."""
    requested: float
    """When its newest page was requested, in Unix seconds."""
    cursor: str | None = None
    """The cursor of the next older page; None before the newest page was read."""
    oldest_end: float = math.inf
    """The latest finish of the runs on the oldest page; infinity if one is still in progress."""
    ended: bool = False
    """Whether it reaches the end of the history."""

    @property
    def has_pages(self) -> bool:
        """Whether a page was read since the span was started or restarted."""
        return self.cursor is not None or self.ended


def shown(run: Run) -> tuple[float | None, float | None]:
    """Since when a run counts as in progress and as finished; None: never.

    A run that ended before its start counts from its start.
    """
    times = [each for each in (run.start, run.finish) if each is not None]
    if not run.finished:
        return times[0], None
    ends = max(times)
    return run.start if run.start is not None and run.start < ends else None, ends


class RunStore:
    """The histories of integrations in the spool, by the number of their source."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def source(self, workspace: str, url: str, identifier: str) -> int:
        """The number under which an integration's history is stored."""
        history = (workspace, url, identifier)
        with self._db:
            sql = "INSERT OR IGNORE INTO sources (workspace, url, id) VALUES (?, ?, ?)"
            self._db.execute(sql, history)
        sql = "SELECT source FROM sources WHERE workspace = ? AND url = ? AND id = ?"
        return self._number(sql, *history)

    def _number(self, sql: str, *values: object) -> int:
        return int(self._db.execute(sql, values).fetchone()[0])

    # Reading

    def spans(self, source: int) -> list[Span]:
        """The spans of a history, the newest one last."""
        sql = "SELECT * FROM spans WHERE source = ? ORDER BY number"
        return [Span(*row) for _, *row in self._db.execute(sql, (source,))]

    def take(self, source: int, span: Span, runs: Sequence[Run], unplaced: int) -> int:
        """Store a page and its span; return how many of its runs are new.

        `unplaced` is the number of its rows that could not be parsed or have no time.
        """
        with self._db:
            known = self._count(source)
            met = [self._keep(source, span, *each) for each in by_identity(runs).items()]
            sql = "UPDATE sources SET unplaced = unplaced + ? WHERE source = ?"
            self._db.execute(sql, (unplaced, source))
            self._set(source, span)
            if span.ended or (any(met) and not self._older_run_in_progress(source, span)):
                self._drop_older(source, span)
            return self._count(source) - known

    def _count(self, source: int) -> int:
        return self._number("SELECT count(*) FROM runs WHERE source = ?", source)

    def _keep(self, source: int, span: Span, identity: Identity, rows: Sequence[Run]) -> bool:
        """Store the rows of one identity; return whether an older span had a finished run of it."""
        key = (source, *identity)
        sql = f"SELECT span, {FIELDS} {OF_IDENTITY} ORDER BY number"
        before = [(number, _run(fields)) for number, *fields in self._db.execute(sql, key)]
        known = [run for _, run in before]
        pairs = match(known, rows)
        replaced = {id(old) for old, _ in pairs if old is not None}
        kept = [newer_version(old, new) for old, new in pairs]
        kept += [run for run in known if id(run) not in replaced]
        self._db.execute(f"DELETE {OF_IDENTITY}", key)
        self._db.executemany(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (*key, number, span.number, *shown(run), *_fields_of(run))
                for number, run in enumerate(sorted(kept, key=lambda run: run.order))
            ],
        )
        return any(run.finished and number < span.number for number, run in before)

    def _set(self, source: int, span: Span) -> None:
        values = (source, *astuple(span))
        self._db.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?)", values)

    def _drop_older(self, source: int, span: Span) -> None:
        """Join the older spans to this one: it continues where the newest of them ends."""
        older = [each for each in self.spans(source) if each.number < span.number]
        if older and not span.ended:
            self._set(source, replace(older[-1], number=span.number, requested=span.requested))
        sql = "DELETE FROM spans WHERE source = ? AND number < ?"
        self._db.execute(sql, (source, span.number))

    def _older_run_in_progress(self, source: int, span: Span) -> bool:
        """Whether an older span has runs in progress that this span has not reached yet."""
        sql = (
            "SELECT count(*) FROM runs"
            " WHERE source = ? AND span < ? AND ends IS NULL AND begins > ?"
        )
        return self._number(sql, source, span.number, span.requested - ABANDONED_AFTER) > 0

    def restart(self, source: int, span: Span) -> None:
        """Restart a span at the newest page, because Braze no longer accepts its cursor."""
        with self._db:
            self._set(source, Span(span.number, span.requested))

    def finished_before(self, source: int, moment: float) -> int:
        """The number of known runs that had finished at the moment."""
        sql = "SELECT count(*) FROM runs WHERE source = ? AND ends <= ?"
        return self._number(sql, source, moment)

    def extent(self, source: int) -> tuple[int, float, float] | None:
        """The number of known runs, and when the oldest and the newest started; None if none."""
        sql = (
            "SELECT count(*), min(coalesce(begins, ends)), max(coalesce(begins, ends))"
            " FROM runs WHERE source = ?"
        )
        found: tuple[int, float, float] = self._db.execute(sql, (source,)).fetchone()
        return found if found[0] else None

    # Replaying

    def newest_before(self, source: int, moment: float) -> list[Run]:
        """The finished runs that the ledger would keep at the moment, newest first."""
        where = "source = ? AND ends <= ? ORDER BY ends DESC, kind, time, number LIMIT ?"
        sql = f"SELECT {FIELDS} FROM runs WHERE {where}"  # noqa: S608 -- no text from outside
        return [_run(row) for row in self._db.execute(sql, (source, moment, KEPT_RUNS))]

    def in_progress(self, source: int, moment: float) -> list[float]:
        """The starts of the runs in progress at the moment, without those given up."""
        sql = (
            "SELECT begins FROM runs WHERE source = ? AND begins >= ? AND begins <= ?"
            " AND (ends IS NULL OR ends > ?) ORDER BY begins"
        )
        values = (source, moment - ABANDONED_AFTER, moment, moment)
        return [begins for (begins,) in self._db.execute(sql, values)]

    def events(self, source: int, after: float, until: float) -> Iterator[Event]:
        """The events in (after, until], in order; only a few are in memory at a time."""

        def when(column: str, what: int, later: float = 0.0) -> sqlite3.Cursor:
            where = f"source = ? AND {column} > ? AND {column} <= ?"
            order = f"{column}, kind, time, number"
            fields = f"{column} + ?, ?, kind, time, number, begins, {FIELDS}"
            sql = f"SELECT {fields} FROM runs WHERE {where} ORDER BY {order}"  # noqa: S608 -- no text from outside
            return self._db.execute(sql, (later, what, source, after - later, until - later))

        given_up = when("begins", GIVEN_UP, ABANDONED_AFTER)
        rows = heapq.merge(when("begins", STARTS), when("ends", ENDS), given_up)
        for moment, what, _, _, _, begins, *fields in rows:
            yield moment, what, begins, _run(fields)


def _run(fields: Sequence[object]) -> Run:
    status, *rest = fields
    return Run(Status(status), *rest)  # type: ignore[arg-type]  # as they were stored
