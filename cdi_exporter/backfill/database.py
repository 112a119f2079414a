"""The spool's file: SQLite in the output folder, for one process at a time."""

import sqlite3
from pathlib import Path

from cdi_exporter.errors import StartError
from cdi_exporter.files import FOR_ITS_OWNER

NAME = "backfill.spool"
VERSION = 2
APPLICATION = 0x43444942
"""SQLite's mark of whose file it is: `CDIB`."""

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


def open_database(output: Path) -> sqlite3.Connection:
    """The file, locked until it is closed. `with` it, a change is made entirely or not at all.

    Raises StartError if it is not a spool, is in use, or cannot be written.
    """
    path = output / NAME
    try:
        output.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(FOR_ITS_OWNER)
    except OSError as error:
        msg = f"{output} cannot be used: {error.strerror}"
        raise StartError(msg) from error
    database = None
    try:
        database = sqlite3.connect(path, timeout=0.2, isolation_level="IMMEDIATE")
        _prepare(database, path)
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.Error):
            raise unusable(output, error) from error
        raise
    return database


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


def unusable(output: Path, error: sqlite3.Error) -> StartError:
    """An error of SQLite as one line."""
    path = output / NAME
    if "locked" in str(error):
        return StartError(f"{output} is in use by another backfill")
    if "not a database" in str(error) or "malformed" in str(error):
        return StartError(f"{path} is damaged: delete it; everything is then read again")
    return StartError(f"{path} cannot be used: {error}")
