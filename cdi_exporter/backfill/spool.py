"""What was read and made so far, for resuming.

The plan, its integrations, the parts of the day files and the files' names belong to one job;
the runs are kept for later jobs. No key, no endpoint and no contact data is in the spool.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from cdi_exporter.backfill.database import Database
from cdi_exporter.backfill.plan import Grid
from cdi_exporter.backfill.run_store import RunStore
from cdi_exporter.model import Integration


@dataclass(frozen=True, slots=True)
class Plan:
    """The job that the spool is for."""

    fingerprint: str
    now: float
    """When it was started, in Unix seconds: "ago" is relative to it."""
    grid: Grid
    done: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """One integration of the job."""

    number: int
    """Its place in the files."""
    source: int
    """Where its history is kept."""
    workspace: str
    id: str
    configured_name: str | None = None
    item: Integration | None = None
    """Its item in the list; None if the list cannot be read."""
    skipped: str | None = None
    """Why its history cannot be read."""

    @property
    def name(self) -> str:
        """As the exporter names it."""
        return self.configured_name or (self.item.name if self.item else None) or self.id


class DayPart(NamedTuple):
    """The lines of one integration in one family of one day's file."""

    day: str
    family: int
    samples: int
    text: bytes
    """Compressed."""


class Spool:
    """The spool of an output folder. Raises StartError if it cannot be used."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self._db = Database(output)
        self.histories = RunStore(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # The job

    def plan(self) -> Plan | None:
        """The job that was started last."""
        sql = "SELECT fingerprint, now, since, until, step, done FROM plan"
        row = self._db.rows(sql).fetchone()
        return row and Plan(row[0], row[1], Grid(*row[2:5]), done=bool(row[5]))

    def begin(self, plan: Plan, chosen: Iterable[Chosen]) -> None:
        """Start a job; the runs stay."""
        grid = plan.grid
        values = (plan.fingerprint, plan.now, grid.since, grid.until, grid.step)
        with self._db.transaction():
            for table in ("plan", "chosen", "pieces", "files"):
                self._db.write(f"DELETE FROM {table}")  # noqa: S608 -- the names are ours
            self._db.write("INSERT INTO plan VALUES (1, ?, ?, ?, ?, ?, 0)", values)
            self._db.write_all(
                "INSERT INTO chosen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, 0)",
                map(_columns, chosen),
            )

    def finish(self) -> None:
        """The job is done."""
        with self._db.transaction():
            self._db.write("UPDATE plan SET done = 1")

    def chosen(self) -> list[Chosen]:
        """The integrations of the job, in their order."""
        sql = "SELECT * FROM chosen ORDER BY number"
        return [_chosen(row) for row in self._db.rows(sql)]

    def unsampled(self) -> list[Chosen]:
        """Those whose parts are not made yet."""
        sql = "SELECT * FROM chosen WHERE NOT sampled AND skipped IS NULL ORDER BY number"
        return [_chosen(row) for row in self._db.rows(sql)]

    def skip(self, chosen: Chosen, reason: str) -> None:
        """Leave an integration out, and remember why."""
        with self._db.transaction():
            sql = "UPDATE chosen SET skipped = ? WHERE number = ?"
            self._db.write(sql, (reason, chosen.number))

    def unplaced(self) -> int:
        """Rows of the job's histories that could not be read, or have no time."""
        sql = "SELECT sum(unplaced) FROM sources WHERE source IN (SELECT source FROM chosen)"
        return int(str(self._db.one(sql)[0] or 0))

    # The files

    def keep_pieces(self, chosen: Chosen, pieces: Iterable[DayPart]) -> None:
        """Keep the parts of one integration, all or none."""
        with self._db.transaction():
            self._db.write_all(
                "INSERT INTO pieces VALUES (?, ?, ?, ?, ?)",
                (
                    (piece.day, piece.family, chosen.number, piece.samples, piece.text)
                    for piece in pieces
                ),
            )
            self._db.write("UPDATE chosen SET sampled = 1 WHERE number = ?", (chosen.number,))

    def unwritten(self) -> list[str]:
        """The days with parts and without a file."""
        return [day for (day,) in self._db.rows("SELECT DISTINCT day FROM pieces ORDER BY day")]

    def pieces(self, day: str) -> Iterator[DayPart]:
        """The parts of a day, family by family."""
        sql = "SELECT day, family, samples, text FROM pieces WHERE day = ? ORDER BY family, number"
        return map(DayPart._make, self._db.rows(sql, (day,)))

    def keep_file(self, day: str, samples: int, size: int) -> None:
        """A day's file of `size` bytes is written; its parts are no longer needed."""
        with self._db.transaction():
            self._db.write("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (day, samples, size))
            self._db.write("DELETE FROM pieces WHERE day = ?", (day,))

    def files(self) -> dict[str, tuple[int, int]]:
        """The files of the job by day: samples, bytes."""
        rows = self._db.rows("SELECT day, samples, bytes FROM files ORDER BY day")
        return {day: (samples, size) for day, samples, size in rows}


def _columns(chosen: Chosen) -> tuple[object, ...]:
    item = chosen.item
    # Only whether there is a schedule is kept, in the column that held its next run before.
    next_run = 1.0 if item and item.scheduled else None
    said = item and (item.name, item.type, item.status, item.warehouse, next_run)
    who = (chosen.number, chosen.source, chosen.workspace, chosen.id, chosen.configured_name)
    return (*who, item is not None, *(said or (None,) * 5))


def _chosen(row: tuple[Any, ...]) -> Chosen:
    number, source, workspace, identifier, configured, listed, *said, skipped, _ = row
    *words, next_run = said
    item = replace(Integration(identifier, *words), schedule_unreadable=next_run is not None)
    return Chosen(
        number, source, workspace, identifier, configured, item if listed else None, skipped
    )
