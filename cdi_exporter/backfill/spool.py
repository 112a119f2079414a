"""What was read and made so far, for resuming.

The plan, its integrations, the parts of the day files and the files' names belong to one job;
the runs are kept for later jobs. No key, no endpoint and no contact data is in the spool.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from cdi_exporter.backfill.database import open_database, unusable
from cdi_exporter.backfill.plan import Grid
from cdi_exporter.backfill.run_store import RunStore


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
    name: str
    """As the exporter names it."""
    scheduled: bool | None = None
    """Whether it has a schedule; None if it is not in the list, or the list cannot be read."""
    skipped: str | None = None
    """Why its history cannot be read."""


class DayPart(NamedTuple):
    """The lines of one integration in one family of one day's file."""

    day: str
    family: int
    samples: int
    text: bytes
    """Compressed."""


class Spool:
    """The spool of an output folder. Raises StartError if it cannot be used.

    Leaving the context closes the file, and makes one line of an error of SQLite.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._db = open_database(output)
        self.histories = RunStore(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object = None, error: object = None, __: object = None) -> None:
        self._db.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(self.output, error) from error

    # The job

    def plan(self) -> Plan | None:
        """The job that was started last."""
        row = self._db.execute("SELECT * FROM plan").fetchone()
        if row is None:
            return None
        _, fingerprint, now, since, until, step, done = row
        return Plan(fingerprint, now, Grid(since, until, step), done=bool(done))

    def begin(self, plan: Plan, chosen: Iterable[Chosen]) -> None:
        """Start a job; the runs stay."""
        grid = plan.grid
        values = (plan.fingerprint, plan.now, grid.since, grid.until, grid.step)
        with self._db:
            for table in ("plan", "chosen", "parts", "files"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- the names are ours
            self._db.execute("INSERT INTO plan VALUES (1, ?, ?, ?, ?, ?, 0)", values)
            self._db.executemany(
                "INSERT INTO chosen VALUES (?, ?, ?, ?, ?, ?, NULL, 0)",
                (
                    (each.number, each.source, each.workspace, each.id, each.name, each.scheduled)
                    for each in chosen
                ),
            )

    def finish(self) -> None:
        """The job is done."""
        with self._db:
            self._db.execute("UPDATE plan SET done = 1")

    def chosen(self) -> list[Chosen]:
        """The integrations of the job, in their order."""
        return self._chosen("TRUE")

    def unsampled(self) -> list[Chosen]:
        """Those whose parts are not made yet."""
        return self._chosen("NOT sampled AND skipped IS NULL")

    def _chosen(self, where: str) -> list[Chosen]:
        sql = f"SELECT * FROM chosen WHERE {where} ORDER BY number"  # noqa: S608 -- no text from outside
        found = []
        for number, source, workspace, identifier, name, scheduled, skipped, _ in self._db.execute(
            sql
        ):
            planned = None if scheduled is None else bool(scheduled)
            found.append(Chosen(number, source, workspace, identifier, name, planned, skipped))
        return found

    def skip(self, chosen: Chosen, reason: str) -> None:
        """Leave an integration out, and remember why."""
        with self._db:
            sql = "UPDATE chosen SET skipped = ? WHERE number = ?"
            self._db.execute(sql, (reason, chosen.number))

    def unplaced(self) -> int:
        """Rows of the job's histories that could not be read, or have no time."""
        sql = "SELECT sum(unplaced) FROM sources WHERE source IN (SELECT source FROM chosen)"
        return int(self._db.execute(sql).fetchone()[0] or 0)

    # The files

    def keep_parts(self, chosen: Chosen, parts: Iterable[DayPart]) -> None:
        """Keep the parts of one integration, all or none."""
        with self._db:
            self._db.executemany(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?)",
                ((day, family, chosen.number, *rest) for day, family, *rest in parts),
            )
            self._db.execute("UPDATE chosen SET sampled = 1 WHERE number = ?", (chosen.number,))

    def unwritten(self) -> list[str]:
        """The days with parts and without a file."""
        return [day for (day,) in self._db.execute("SELECT DISTINCT day FROM parts ORDER BY day")]

    def parts(self, day: str) -> Iterator[DayPart]:
        """The parts of a day, family by family."""
        sql = "SELECT day, family, samples, text FROM parts WHERE day = ? ORDER BY family, number"
        return map(DayPart._make, self._db.execute(sql, (day,)))

    def keep_file(self, day: str, samples: int, size: int) -> None:
        """A day's file of `size` bytes is written; its parts are no longer needed."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (day, samples, size))
            self._db.execute("DELETE FROM parts WHERE day = ?", (day,))

    def files(self) -> dict[str, tuple[int, int]]:
        """The files of the job by day: samples, bytes."""
        rows = self._db.execute("SELECT day, samples, bytes FROM files ORDER BY day")
        return {day: (samples, size) for day, samples, size in rows}
