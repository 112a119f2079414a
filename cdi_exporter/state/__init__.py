"""What outlives the process: a SQLite file, and the grouped commits to it."""

from cdi_exporter.state.journal import Journal, NullJournal, PendingRow, SqliteJournal
from cdi_exporter.state.store import (
    Row,
    StateError,
    Store,
    StoredWorkspace,
    WorkspaceRow,
    show,
    unreadable,
)

__all__ = [
    "Journal",
    "NullJournal",
    "PendingRow",
    "Row",
    "SqliteJournal",
    "StateError",
    "Store",
    "StoredWorkspace",
    "WorkspaceRow",
    "show",
    "unreadable",
]
