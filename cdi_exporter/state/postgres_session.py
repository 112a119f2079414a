"""A connection to PostgreSQL that is opened when it is needed, and on which each call ends.

This is the only module that imports psycopg, and it is imported only if a database is used.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from selectors import DefaultSelector
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdi_exporter.errors import StartError
from cdi_exporter.state.postgres_url import database_url, place
from cdi_exporter.state.store import StateError

CONNECT_SECONDS = 2
"""Most seconds to connect to one host: the least that psycopg allows, and enough for TLS."""

ANSWER_SECONDS = 3.0
"""Seconds until a call whose answer does not come fails: with `CONNECT_SECONDS`, less than half of
a lease. It is measured here, because the kernel of a server that hangs still acknowledges packets.
"""

_CONNECTION = {
    "connect_timeout": str(CONNECT_SECONDS),
    # If the URL names several hosts: the one that accepts writes.
    "target_session_attrs": "read-write",
    # A connection without traffic is found broken after 11 s, and no firewall drops it.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    # Sent data must be acknowledged within the time for the answer.
    "tcp_user_timeout": f"{ANSWER_SECONDS * 1000:.0f}",
}
"""libpq's parameters, unless the URL sets them."""

_SETTINGS = {
    # Shorter than `ANSWER_SECONDS`, so that the server reports what took too long.
    "lock_timeout": "2s",
    "statement_timeout": "2500ms",
    # An exporter whose host is gone must not keep a lock that others need for its lease.
    "idle_in_transaction_session_timeout": "5s",
    # A follower may be scraped rarely.
    "idle_session_timeout": "0",
    # A counter that was shown must survive a crash of the server.
    "synchronous_commit": "on",
}
"""The session's settings, unless the user's connection parameters set them."""

_ENCODINGS = ("UTF8", "SQL_ASCII")
"""Encodings of a database that can hold any text."""

LONGEST_REASON = 500
"""Characters of a reason in a message: enough for the failures of several hosts."""

_CONNECT = (
    "check the URL, the server, and where the password comes from"
    " (PGPASSFILE, PGPASSWORD or a service file)"
)
_RECONNECT = "the next try connects again"
_REMEDIES = {
    "22021": "restore a backup",
    "25006": "the server is read-only; the URL must lead to the primary server",
    "3F000": "create the schema that search_path names, and grant the user USAGE on it",
    "42501": (
        "grant the user SELECT, INSERT, UPDATE and DELETE on the tables cdi_*,"
        " and CREATE on their schema for the first start and for upgrades"
    ),
    "42P01": "restore a backup of all tables cdi_*, or drop the others to start with no history",
    "55P03": "look in pg_stat_activity for the session that holds the lock",
    "57014": "look in pg_stat_activity for what keeps the server busy",
}
"""What to do, by SQLSTATE."""

Result = TypeVar("Result")


class DatabaseConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose statements fail once the deadline has passed."""

    deadline = math.inf
    """On the monotonic clock."""

    def wait(self, gen: PQGen[Result], *args: Any, **kwargs: Any) -> Result:
        """Wait for a part of a statement; that of psycopg takes no deadline before version 3.3.

        Raises OperationalError if nothing comes until the deadline.
        """
        try:
            wanted = next(gen)
            with DefaultSelector() as selector:
                key = selector.register(self.pgconn.socket, wanted)
                while True:
                    left = min(self.deadline - time.monotonic(), ANSWER_SECONDS)
                    if not (ready := selector.select(max(0.0, left))):
                        message = f"no answer within {ANSWER_SECONDS:g} s"
                        raise psycopg.OperationalError(message)
                    wanted = gen.send(ready[0][1])
                    selector.modify(key.fd, wanted)
        except StopIteration as end:
            result: Result = end.value
            return result


class DatabaseSession:
    """One connection, used by one thread at a time; after any failure it is opened again."""

    def __init__(
        self, url: str, exporter: str, prepare: Callable[[DatabaseConnection], object]
    ) -> None:
        """Raises StartError if the URL is wrong. `prepare` is called with each new connection."""
        try:
            parameters = conninfo_to_dict(database_url(url))
        except ValueError as error:
            message = f"the database URL {error}"
            raise StartError(message) from error
        except psycopg.Error as error:
            message = f"the database URL is not valid: {_one_line(error)}"
            raise StartError(message) from error
        own = {"fallback_application_name": f"cdi-exporter {exporter}", "client_encoding": "UTF8"}
        given = {key: str(value) for key, value in parameters.items()}
        self._conninfo = make_conninfo(**_CONNECTION | given | own)
        self._place = place(url)
        self._prepare = prepare
        self._connection: DatabaseConnection | None = None

    @contextmanager
    def call(self) -> Iterator[DatabaseConnection]:
        """The connection for one call; raises StateError, in one line and without a password."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            else:
                self._connection.deadline = time.monotonic() + ANSWER_SECONDS
            yield self._connection
        except BaseException as error:
            remedy = _RECONNECT if self._connection else _CONNECT
            # The server undoes everything that was not committed.
            self.close()
            if isinstance(error, psycopg.Error | UnicodeError | StateError):
                message = f"cannot use the database {self._place}: {_why(error, remedy)}"
                kind = type(error) if isinstance(error, StateError) else StateError
                raise kind(message) from error
            raise

    def _connect(self) -> DatabaseConnection:
        connection = DatabaseConnection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None
        )
        try:
            connection.deadline = time.monotonic() + ANSWER_SECONDS
            _check_encoding(connection)
            connection.execute(
                "SELECT set_config(name, value, false) FROM pg_settings"
                " JOIN unnest(%s::text[], %s::text[]) AS wanted (name, value) USING (name)"
                " WHERE source <> 'client' AND (name <> 'synchronous_commit' OR setting = 'off')",
                (list(_SETTINGS), list(_SETTINGS.values())),
            )
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the connection, if it is open; the next call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _check_encoding(connection: DatabaseConnection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in _ENCODINGS:
        message = f"its encoding is {encoding}; create it with ENCODING 'UTF8'"
        raise StateError(message)


def _why(error: psycopg.Error | UnicodeError | StateError, lost: str) -> str:
    """What is wrong, and what to do; `lost` is what to do if there is no connection.

    Only the first part of the server's message is used: the others can contain data of a row.
    """
    if isinstance(error, StateError):
        return str(error)
    if isinstance(error, UnicodeError):
        return "a text that was to be written has no form in UTF-8"
    if error.sqlstate is None:
        return f"{_one_line(error)}; {lost}"
    remedy = _REMEDIES.get(error.sqlstate)
    said = error.diag.message_primary or type(error).__name__
    return f"{said}; {remedy}" if remedy else said


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"
