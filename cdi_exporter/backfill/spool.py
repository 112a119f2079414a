"""The spool: a SQLite file in the output folder with everything needed to resume.

The plan, its integrations, the parts of the day files and the names of the files belong to one job.
The runs are kept for later jobs. The spool contains no key, no workspace URL and no contact data.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from cdi_exporter.backfill.plan import Grid
from cdi_exporter.backfill.run_store import RunStore
from cdi_exporter.errors import StartError
from cdi_exporter.files import FOR_ITS_OWNER

NAME = "backfill.spool"
VERSION = 2
APPLICATION = 0x43444942
"""`CDIB`, in the header of the file: SQLite's mark of the application that owns it."""

SCHEMA = """
CREATE TABLE plan (
    one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint TEXT, now REAL, since REAL, until REAL,
    step INTEGER, done INTEGER DEFAULT 0);
CREATE TABLE sources (
    source INTEGER PRIMARY KEY, workspace TEXT, url TEXT, id TEXT, unplaced INTEGER DEFAULT 0,
    UNIQUE (workspace, url, id));
CREATE TABLE chosen (
    number INTEGER PRIMARY KEY, source INTEGER, workspace TEXT, id TEXT, name TEXT,
    scheduled INTEGER, skipped TEXT, sampled INTEGER DEFAULT 0);
CREATE TABLE spans (
    source INTEGER, number INTEGER, began REAL, cursor TEXT, oldest_end REAL, ended INTEGER,
    PRIMARY KEY (source, number)) WITHOUT ROWID;
CREATE TABLE runs (
    source INTEGER, kind TEXT, time REAL, number INTEGER, span INTEGER,
    begins REAL, ends REAL, status TEXT, start REAL, finish REAL, watermark REAL,
    rows_synced INTEGER, rows_failed INTEGER,
    PRIMARY KEY (source, kind, time, number)) WITHOUT ROWID;
CREATE INDEX runs_begin ON runs (source, begins) WHERE begins IS NOT NULL;
CREATE INDEX runs_end ON runs (source, ends) WHERE ends IS NOT NULL;
CREATE TABLE parts (
    day TEXT, family INTEGER, number INTEGER, samples INTEGER, text BLOB,
    PRIMARY KEY (day, family, number)) WITHOUT ROWID;
CREATE TABLE files (day TEXT PRIMARY KEY, samples INTEGER, bytes INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The current job."""

    fingerprint: str
    now: float
    """When it was started, in Unix seconds: "ago" is relative to it."""
    grid: Grid
    done: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """One integration of the job."""

    number: int
    """Its position in the day files."""
    source: int
    """The number of its history in the `RunStore`."""
    workspace: str
    id: str
    name: str
    """The configured name, else the API's, else the ID."""
    scheduled: bool | None = None
    """Whether it has a schedule; None if it is not in the list, or the list cannot be read."""
    skipped: str | None = None
    """Why its history cannot be read; None if it can."""
    sampled: bool = False
    """Whether its parts of the day files are stored."""


class DayPart(NamedTuple):
    """The lines of one integration in one metric family of one day's file."""

    day: str
    family: int
    samples: int
    text: bytes
    """The lines, compressed with zlib."""


@contextmanager
def open_spool(output: Path) -> Iterator["Spool"]:
    """The spool of an output folder, locked until the context ends.

    Raises StartError, also for any error of SQLite in the context, if it is not a spool, is in
    use, or cannot be written.
    """
    path = output / NAME
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(FOR_ITS_OWNER)
    except OSError as error:
        msg = f"{output} cannot be used: {error.strerror}"
        raise StartError(msg) from error
    try:
        with closing(sqlite3.connect(path, timeout=0.2, isolation_level="IMMEDIATE")) as database:
            _prepare(database, path)
            yield Spool(output, database)
    except sqlite3.Error as error:
        if "locked" in str(error):
            msg = f"{output} is in use by another backfill"
        elif "not a database" in str(error) or "malformed" in str(error):
            msg = f"{path} is damaged: delete it; everything is then read again"
        else:
            msg = f"{path} cannot be used: {error}"
        raise StartError(msg) from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("BEGIN IMMEDIATE")
    if database.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        for statement in SCHEMA.split(";"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute(f"PRAGMA application_id = {APPLICATION}")
    marks = (("user_version", VERSION), ("application_id", APPLICATION))
    if any(database.execute(f"PRAGMA {mark}").fetchone() != (own,) for mark, own in marks):
        msg = f"{path} was written by another version: delete it, or choose another --output"
        raise StartError(msg)
    database.commit()


class Spool:
    """The spool of an output folder. Each method changes it in one transaction."""

    def __init__(self, output: Path, database: sqlite3.Connection) -> None:
        self.output, self._db = output, database
        self.histories = RunStore(database)

    # The job

    def plan(self) -> Plan | None:
        """The job that was started last; None if there was none."""
        row = self._db.execute("SELECT * FROM plan").fetchone()
        if row is None:
            return None
        _, fingerprint, now, since, until, step, done = row
        return Plan(fingerprint, now, Grid(since, until, step), done=bool(done))

    def start(self, plan: Plan, chosen: Iterable[Chosen]) -> None:
        """Start a job; the runs stay."""
        with self._db:
            for table in ("plan", "chosen", "parts", "files"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 -- the names are ours
            self._db.execute(
                "INSERT INTO plan VALUES (1, ?, ?, ?, ?, ?, 0)",
                (plan.fingerprint, plan.now, *astuple(plan.grid)),
            )
            sql = "INSERT INTO chosen VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            self._db.executemany(sql, map(astuple, chosen))

    def finish(self) -> None:
        """Note that the job is done."""
        with self._db:
            self._db.execute("UPDATE plan SET done = 1")

    def chosen(self) -> list[Chosen]:
        """The integrations of the job, in order."""
        return [Chosen(*row) for row in self._db.execute("SELECT * FROM chosen ORDER BY number")]

    def skip(self, chosen: Chosen, reason: str) -> None:
        """Note that an integration is skipped, and why."""
        with self._db:
            sql = "UPDATE chosen SET skipped = ? WHERE number = ?"
            self._db.execute(sql, (reason, chosen.number))

    def unplaced(self) -> int:
        """The number of rows of the job's histories that could not be parsed or have no time."""
        sql = "SELECT sum(unplaced) FROM sources WHERE source IN (SELECT source FROM chosen)"
        return int(self._db.execute(sql).fetchone()[0] or 0)

    # The files

    def keep_parts(self, chosen: Chosen, parts: Iterable[DayPart]) -> None:
        """Store all parts of one integration."""
        with self._db:
            self._db.executemany(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?)",
                ((day, family, chosen.number, *rest) for day, family, *rest in parts),
            )
            self._db.execute("UPDATE chosen SET sampled = 1 WHERE number = ?", (chosen.number,))

    def unwritten(self) -> list[str]:
        """The days whose file is not written yet."""
        return [day for (day,) in self._db.execute("SELECT DISTINCT day FROM parts ORDER BY day")]

    def parts(self, day: str) -> Iterator[DayPart]:
        """The parts of a day, family by family."""
        sql = "SELECT day, family, samples, text FROM parts WHERE day = ? ORDER BY family, number"
        return map(DayPart._make, self._db.execute(sql, (day,)))

    def keep_file(self, day: str, samples: int, size: int) -> None:
        """Note that a day's file of `size` bytes is written, and delete its parts."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (day, samples, size))
            self._db.execute("DELETE FROM parts WHERE day = ?", (day,))

    def files(self) -> dict[str, tuple[int, int]]:
        """The samples and bytes of the written files, by day."""
        rows = self._db.execute("SELECT day, samples, bytes FROM files ORDER BY day")
        return {day: (samples, size) for day, samples, size in rows}
