"""The state file: opened by one exporter only, read at the start, written in transactions.

SQLite in WAL mode with `synchronous=FULL`: what was committed survives a crash of the process and
of the machine. The file stays locked while it is open, and is never deleted.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import structlog

from cdi_exporter import __version__
from cdi_exporter.errors import ExporterError, StartError
from cdi_exporter.files import FOR_ITS_OWNER
from cdi_exporter.model import LATEST
from cdi_exporter.state.schema import APPLICATION_ID, STEPS, Step

log = structlog.get_logger()

LOCK_PATIENCE = 2.0
"""Seconds to wait for a lock: another exporter may be shutting down."""

JOURNAL_BYTES = 4 * 2**20
"""Bytes to which SQLite truncates its write-ahead log after a large commit."""

LONGEST_SHOWN = 200
"""Characters of a value that an error message shows: enough for any ID or name that Braze gives."""

_REMEDY = "restore a backup, or move it away to start with no history"
_DIRECTORY = "it is a directory; expected a file"
_TYPES: dict[type, str] = {
    str: "text",
    bytes: "bytes",
    int: "a whole number",
    float: "a number",
    type(None): "nothing",
}
_NO_FILE = "it is not a regular file"
_READ_ONLY = "it cannot be written; expected write permission for the file and its directory"
_SECOND_NAME = "it has a second name (a hard link); expected a file with one name"
_OF_ANOTHER = "it is a SQLite file of another program"
_DAMAGED = "database disk image is malformed"
_NO_WAL = "its file system does not support SQLite's write-ahead log"
_MOVED = (
    "the file, or its journal, was moved, deleted or replaced while it was open;"
    " put it back, or restart to continue with the current file"
)


class StateError(ExporterError):
    """The state cannot be read or written."""


class UnreadableState(StateError):
    """A stored workspace contains something that no exporter writes."""


def show(value: object) -> str:
    """A value from the state for an error message: one line, cut if it is long."""
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"


def unreadable(workspace: str, problem: str) -> str:
    """The message about a row that cannot be used; `problem` names the integration."""
    return f"unreadable record in the workspace {show(workspace)}, {problem}; {_REMEDY}"


@dataclass(frozen=True, slots=True)
class Row:
    """One integration in the state; without a `record` it says only that it was listed.

    Without a record and not listed, the integration is forgotten: writing the row deletes it.
    """

    workspace: str
    id: str
    listed: bool
    left_at: float | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """A workspace itself, without its integrations."""

    name: str
    complete: bool = False
    """Whether its list was ever read completely."""
    forgotten: float | None = None
    """When the last one of the forgotten integrations was removed, in Unix seconds."""
    status: str | None = None
    """A `LeaderStatus` as JSON, for exporters that follow."""


@dataclass(frozen=True, slots=True)
class StoredWorkspace:
    """What is known of one workspace: in the state, or waiting to be written."""

    rows: Sequence[Row] = ()
    complete: bool = False
    forgotten: float | None = None
    """See `WorkspaceRow`."""
    committed: Mapping[str, Row | None] = field(default_factory=dict)
    """For each row that waits: the row that the file has instead."""
    status: str | None = None
    """See `WorkspaceRow`; this and the next two are in a shared database only."""
    version: int = 0
    """Of the newest commit."""
    epoch: int = 0
    """How often the lease was taken."""


class Store:
    """An open state file. Its methods block, and may be called from any thread."""

    def __init__(
        self,
        path: str,
        wall: Callable[[], float],
        *,
        steps: Sequence[Step] = STEPS,
        patience: float = LOCK_PATIENCE,
    ) -> None:
        """Open or create it; raises StartError if that fails. `wall` returns Unix seconds."""
        self.path = path
        self._lock = threading.Lock()
        try:
            existed = Path(path).exists()
            place = _place(path)
            if existed and not place.stat().st_size:
                log.warning("state file empty", path=path, problem="starting with no history")
            self._connection = _open(place, steps, patience, wall())
            self._files = self._opened(place)
            """The files that SQLite writes to, as they were when they were opened."""
        except (StateError, sqlite3.Error, OSError) as error:
            message = f"cannot use the state file {path}: {_why(error)}"
            raise StartError(message) from error

    def _opened(self, place: Path) -> dict[Path, os.stat_result]:
        """The files that are open now; raises OSError, after closing them, if one is gone."""
        try:
            return {each: each.stat() for each in (place, Path(f"{place}-wal"))}
        except OSError:
            self._connection.close()
            raise

    def load(self, workspace: str) -> StoredWorkspace:
        """What is known of a workspace; raises StateError."""
        with self._lock:
            try:
                found = self._connection.execute(
                    "SELECT complete, forgotten_at FROM workspaces WHERE name = ?", (workspace,)
                ).fetchone()
                rows = self._connection.execute(
                    "SELECT id, listed, left_at, record FROM integrations"
                    " WHERE workspace = ? ORDER BY rowid",
                    (workspace,),
                ).fetchall()
            except sqlite3.Error as error:
                raise StateError(str(error)) from error
        complete, forgotten = found or (0, None)
        problem = _wrong_whether("complete", complete) or wrong_time("forgotten_at", forgotten)
        if problem:
            message = f"unreadable record of the workspace {show(workspace)}: {problem}; {_REMEDY}"
            raise UnreadableState(message)
        return StoredWorkspace(
            [_row(workspace, *values) for values in rows],
            complete=bool(complete),
            forgotten=forgotten,
        )

    def commit(self, rows: Iterable[Row], workspaces: Iterable[WorkspaceRow] = ()) -> None:
        """Write rows, all or nothing. Raises StateError; the file is then unchanged.

        A workspace stays `complete`, and keeps `forgotten`, if a newer row does not say so.
        """
        integrations, forgotten = [], []
        for row in rows:
            if row.listed or row.record is not None:
                integrations.append((row.workspace, row.id, row.listed, row.left_at, row.record))
            else:
                forgotten.append((row.workspace, row.id))
        names = [(row.name, row.complete, row.forgotten) for row in workspaces]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO integrations (workspace, id, listed, left_at, record)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (workspace, id) DO UPDATE SET"
                " listed = excluded.listed, left_at = excluded.left_at, record = excluded.record",
                integrations,
            )
            connection.executemany(
                "INSERT INTO workspaces (name, complete, forgotten_at) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET complete = max(complete, excluded.complete),"
                " forgotten_at = coalesce(excluded.forgotten_at, forgotten_at)",
                names,
            )
            connection.executemany(
                "DELETE FROM integrations WHERE workspace = ? AND id = ?", forgotten
            )

        self._transact(write)

    def retain(self, workspaces: Iterable[str], wall: float, remembered_for: float) -> None:
        """Forget workspaces that left the configuration more than `remembered_for` seconds ago.

        `wall` is the time in Unix seconds. Integrations of other workspaces are forgotten once a
        refresh shows that they are gone. Raises StateError.
        """
        names = [(name,) for name in workspaces]
        old = (wall - remembered_for,)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE workspaces SET left_at = ? WHERE left_at IS NULL OR left_at > ?",
                (wall, wall),
            )
            connection.executemany(
                "INSERT INTO workspaces (name, complete) VALUES (?, 0)"
                " ON CONFLICT (name) DO UPDATE SET left_at = NULL",
                names,
            )
            connection.execute(
                "DELETE FROM integrations WHERE workspace IN"
                " (SELECT name FROM workspaces WHERE left_at < ?)",
                old,
            )
            connection.execute("DELETE FROM workspaces WHERE left_at < ?", old)

        self._transact(write)

    def close(self) -> None:
        """Close the file; another exporter may open it now."""
        with self._lock:
            self._connection.close()

    def _transact(self, write: Step) -> None:
        with self._lock:
            try:
                _in_one(self._connection, write)
                moved = not all(_is_still(each, was) for each, was in self._files.items())
            except sqlite3.Error as error:
                raise StateError(str(error)) from error
        if moved:
            raise StateError(_MOVED)


def _row(workspace: str, key: object, listed: object, left_at: object, record: object) -> Row:
    """One row; raises StateError if a column has a type or value that is never written."""
    problem = (
        _wrong_type("id", key, str)
        or _wrong_whether("listed", listed)
        or wrong_time("left_at", left_at)
        or (None if record is None else _wrong_type("record", record, str))
    )
    if problem:
        raise UnreadableState(unreadable(workspace, f"integration {show(key)}: {problem}"))
    return Row(
        workspace,
        cast("str", key),
        bool(listed),
        cast("float | None", left_at),
        cast("str | None", record),
    )


def _wrong_type(column: str, value: object, expected: type) -> str | None:
    """What is wrong with the type of a column's value; SQLite holds any type in any column."""
    if type(value) is expected:
        return None
    return f"{column} is {_TYPES[type(value)]}; expected {_TYPES[expected]}"


def _wrong_whether(column: str, value: object) -> str | None:
    wrong = None if value in (0, 1) else f"{column} is not 0 or 1"
    return _wrong_type(column, value, int) or wrong


def wrong_time(column: str, value: object) -> str | None:
    """What is wrong with Unix seconds, which may be absent."""
    if value is None:
        return None
    in_calendar = isinstance(value, float) and 0 <= value <= LATEST
    wrong = None if in_calendar else f"{column} is not a time"
    return _wrong_type(column, value, float) or wrong


def _text(value: bytes) -> str | bytes:
    """Text as `str`; as bytes if it is not UTF-8, so that the row can be named."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _place(path: str) -> Path:
    """The file itself, created if necessary; raises StateError or OSError.

    SQLite derives the name of its journal from the file's, so the file must have only one name.
    """
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        message = f"the directory {place.parent} does not exist"
        raise StateError(message)
    if not place.exists():
        place.touch(FOR_ITS_OWNER)
    if not place.is_file():
        raise StateError(_DIRECTORY if place.is_dir() else _NO_FILE)
    if place.stat().st_nlink > 1:
        raise StateError(_SECOND_NAME)
    effective = os.access in os.supports_effective_ids
    if not all(os.access(each, os.W_OK, effective_ids=effective) for each in (place, place.parent)):
        raise PermissionError
    return place


def _open(place: Path, steps: Sequence[Step], patience: float, opened: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        place, timeout=patience, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _text
    try:
        _prepare(connection, steps, opened)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, steps: Sequence[Step], opened: float) -> None:
    """Lock the file, check that it is ours and undamaged, and migrate it.

    Nothing is written before these checks.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    version = _number(connection, "user_version")
    owner = _number(connection, "application_id")
    empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != APPLICATION_ID and not empty:
        raise StateError(_OF_ANOTHER)
    if version < 0:
        raise StateError(_DAMAGED)
    if version > len(steps):
        message = (
            f"it was written by a newer cdi-exporter (format {version}, known {len(steps)});"
            " use that version, or another state file"
        )
        raise StateError(message)
    (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise StateError(_DAMAGED)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateError(_NO_WAL)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")

    def bring_up_to_date(connection: sqlite3.Connection) -> None:
        for step in steps[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("DELETE FROM exporter")
        connection.execute("INSERT INTO exporter VALUES (?, ?)", (__version__, opened))

    _in_one(connection, bring_up_to_date)


def _in_one(connection: sqlite3.Connection, write: Step) -> None:
    """Do it in one transaction; if it fails, all of it is undone."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        write(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _is_still(file: Path, was: os.stat_result) -> bool:
    """Whether the name still refers to the same file."""
    try:
        return os.path.samestat(file.stat(), was)
    except OSError:
        return False


def _why(error: Exception) -> str:
    """Why the file cannot be used, and what to do."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, PermissionError) or "readonly" in text:
        return _READ_ONLY
    if "locked" in text:
        return "another process has it open; expected a separate state file for each exporter"
    if "malformed" in text or "not a database" in text:
        return f"{text}; move it away to start with no history, or restore a backup"
    return text
