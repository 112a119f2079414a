"""The spool's file: SQLite in the output folder, for one process at a time.

`spool` and `run_store` say what is in it. Errors of SQLite become one line.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cdi_exporter.errors import StartError
from cdi_exporter.files import FOR_ITS_OWNER

NAME = "backfill.spool"
VERSION = 1
APPLICATION = 0x43444942
"""SQLite's mark of whose file it is: `CDIB`."""

SCHEMA = """
CREATE TABLE plan (
    one INTEGER PRIMARY KEY CHECK (one = 1), fingerprint TEXT, now REAL, since REAL, until REAL,
    step INTEGER, done INTEGER);
CREATE TABLE sources (
    source INTEGER PRIMARY KEY, workspace TEXT, place TEXT, id TEXT, unplaced INTEGER DEFAULT 0,
    UNIQUE (workspace, place, id));
CREATE TABLE chosen (
    number INTEGER PRIMARY KEY, source INTEGER, workspace TEXT, id TEXT, configured_name TEXT,
    listed INTEGER, name TEXT, type TEXT, status TEXT, warehouse TEXT, next_run REAL,
    skipped TEXT, sampled INTEGER DEFAULT 0);
CREATE TABLE reaches (
    source INTEGER, stretch INTEGER, began REAL, cursor TEXT, bottom REAL, ended INTEGER,
    PRIMARY KEY (source, stretch)) WITHOUT ROWID;
CREATE TABLE runs (
    source INTEGER, kind TEXT, time REAL, number INTEGER, stretch INTEGER,
    begins REAL, ends REAL, status TEXT, start REAL, finish REAL, watermark REAL,
    rows_synced INTEGER, rows_failed INTEGER,
    PRIMARY KEY (source, kind, time, number)) WITHOUT ROWID;
CREATE INDEX runs_begin ON runs (source, begins) WHERE begins IS NOT NULL;
CREATE INDEX runs_end ON runs (source, ends) WHERE ends IS NOT NULL;
CREATE TABLE pieces (
    day TEXT, family INTEGER, number INTEGER, samples INTEGER, text BLOB,
    PRIMARY KEY (day, family, number)) WITHOUT ROWID;
CREATE TABLE files (day TEXT PRIMARY KEY, samples INTEGER, bytes INTEGER) WITHOUT ROWID;
"""


class Database:
    """The file. Raises StartError if it is not a spool, in use, or cannot be written."""

    def __init__(self, output: Path) -> None:
        self._output, self._path = output, output / NAME
        try:
            output.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():
                self._path.touch(FOR_ITS_OWNER)
        except OSError as error:
            msg = f"{output} cannot be used: {error.strerror}"
            raise StartError(msg) from error
        try:
            self._db = sqlite3.connect(self._path, timeout=0.2, isolation_level=None)
        except sqlite3.Error as error:
            raise StartError(self._why(error)) from error
        try:
            self._prepare()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise StartError(self._why(error)) from error
            raise

    def _prepare(self) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
            self._db.execute(f"PRAGMA {pragma}")
        with self.transaction():
            if not self.one("SELECT count(*) FROM sqlite_master")[0]:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
                self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            marks = self.one("PRAGMA user_version") + self.one("PRAGMA application_id")
            if marks != (VERSION, APPLICATION):
                msg = (
                    f"{self._path} was written by another version: delete it, or choose another "
                    "--output"
                )
                raise StartError(msg)

    def _why(self, error: sqlite3.Error) -> str:
        if "locked" in str(error):
            return f"{self._output} is in use by another backfill"
        if "not a database" in str(error) or "malformed" in str(error):
            return f"{self._path} is damaged: delete it; everything is then read again"
        return f"{self._path} cannot be used: {error}"

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written within it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # SQLite itself ends it on a full disk
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StartError(self._why(error)) from error

    def write(self, sql: str, values: Sequence[object] = ()) -> None:
        """Change something, within a transaction."""
        self._db.execute(sql, values)

    def write_all(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Change something for each of the rows, within a transaction."""
        self._db.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """The result, row by row; only rows that are asked for are held in memory."""
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise StartError(self._why(error)) from error

    def one(self, sql: str, values: Sequence[object] = ()) -> tuple[object, ...]:
        """The one row that there is."""
        row: tuple[object, ...] = self.rows(sql, values).fetchone()
        return row
