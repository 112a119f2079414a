"""The tables of the state file, as a list of migrations.

A migration is never changed once it was released: a new version of the file is a new migration.
"""

import json
import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x43444958
"""`CDIX`, in the header of the file: SQLite's mark of the application that owns it."""

Step = Callable[[sqlite3.Connection], object]


def _tables(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE exporter (version TEXT NOT NULL, opened REAL NOT NULL)")
    connection.execute(
        """CREATE TABLE workspaces (
            name TEXT PRIMARY KEY,
            complete INTEGER NOT NULL,  -- whether its whole list was ever read
            left_at REAL                -- Unix time since when it is not configured
        )"""
    )
    connection.execute(
        """CREATE TABLE integrations (
            workspace TEXT NOT NULL,
            id TEXT NOT NULL,
            listed INTEGER NOT NULL,    -- whether the list ever told of it
            left_at REAL,               -- Unix time since when it is gone
            record TEXT,                -- JSON; NULL while it is not followed
            PRIMARY KEY (workspace, id)
        )"""
    )


def _deliveries_and_watermarks(connection: sqlite3.Connection) -> None:
    """Convert the summary of runs that are no longer kept to format 2.

    The last delivery is a new field; the last success is the best known value. The watermark was
    the greatest of these runs, and is now that of the newest run: it is dropped if it was in the
    future when the history was read, because it may be of any run.
    """
    rows = connection.execute("SELECT rowid, record FROM integrations WHERE record IS NOT NULL")
    for row, text in rows.fetchall():
        try:
            record = json.loads(text)
            older = record["knowledge"]["ledger"]["older"]
            if "success" in older:
                older["delivery"] = older["success"]
            if older.get("watermark", 0.0) > record.get("read_server", 0.0) + 300:
                del older["watermark"]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue  # Without older runs, or unreadable, which is reported when it is loaded.
        connection.execute(
            "UPDATE integrations SET record = ? WHERE rowid = ?", (json.dumps(record), row)
        )


def _forgetting(connection: sqlite3.Connection) -> None:
    """Store when forgotten integrations were removed, and when the list missed a run.

    A record said only that the list had missed a run; now it says when, so that the list is
    trusted again after a day.
    """
    connection.execute(
        "ALTER TABLE workspaces ADD COLUMN"
        " forgotten_at REAL"  # Unix time at which the last integration left that is forgotten
    )
    connection.execute(
        "UPDATE integrations SET record = json_remove(json_set(record,"
        " '$.knowledge.list_missed_at', json_extract(record, '$.seen_server')),"
        " '$.knowledge.missed_by_list')"
        " WHERE json_valid(record) AND json_extract(record, '$.knowledge.missed_by_list')"
    )


def _second_format(connection: sqlite3.Connection) -> None:
    _deliveries_and_watermarks(connection)
    _forgetting(connection)


STEPS: tuple[Step, ...] = (_tables, _second_format)
"""A file of version N, in `PRAGMA user_version`, needs the steps from index N on."""
