"""What outlives the process: a SQLite file, and the grouped commits to it."""

from cdi_exporter.state.commit_queue import PendingRow
from cdi_exporter.state.journal import Journal, SharedSource, SqliteJournal
from cdi_exporter.state.shared import Role
from cdi_exporter.state.shared_journal import SharedJournal
from cdi_exporter.state.store import (
    Row,
    StateError,
    Store,
    StoredWorkspace,
    UnreadableState,
    WorkspaceRow,
    show,
    unreadable,
)

__all__ = [
    "Journal",
    "PendingRow",
    "Role",
    "Row",
    "SharedJournal",
    "SharedSource",
    "SqliteJournal",
    "StateError",
    "Store",
    "StoredWorkspace",
    "UnreadableState",
    "WorkspaceRow",
    "show",
    "unreadable",
]
