"""What outlives the process: a SQLite file, and the grouped commits to it."""

from cdi_exporter.state.journal import NOTHING_KEPT, Change, Journal, Memory
from cdi_exporter.state.store import (
    REMEMBERED_FOR,
    Row,
    StateError,
    Store,
    Stored,
    show,
    unreadable,
)

__all__ = [
    "NOTHING_KEPT",
    "REMEMBERED_FOR",
    "Change",
    "Journal",
    "Memory",
    "Row",
    "StateError",
    "Store",
    "Stored",
    "show",
    "unreadable",
]
