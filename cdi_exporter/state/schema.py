"""The tables of the state file, as the steps that lead to them.

A step is never changed once it was released: a new version of the file is a new step.
"""

import sqlite3
from collections.abc import Callable

APPLICATION_ID = 0x43444958
"""`CDIX`, in the header of the file: whose it is."""

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


def _forgetting(connection: sqlite3.Connection) -> None:
    """Integrations can be forgotten whole, and a list that was late is trusted again.

    A record said only that the list had missed a run; now it says when.
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


STEPS: tuple[Step, ...] = (_tables, _forgetting)
"""From a file of version N the steps from N on are taken; `PRAGMA user_version` says N."""
