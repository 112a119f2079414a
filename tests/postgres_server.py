"""A real PostgreSQL for tests: Debian's, started as an unprivileged user, on a Unix socket only.

To use it in a test folder, import the two fixtures in the folder's `conftest.py`:

    from tests.postgres_server import database, postgres_server  # noqa: F401

`database` is a new, empty database for one test. Its server is shared by all tests of a process.
A test that stops or freezes the server must leave it running: use `with server.stopped():` or
`with server.frozen():`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from cdi_exporter.state.postgres import PostgresStore

PATIENCE = 60.0
"""The longest time in seconds to wait for an expected event."""

SUPERUSER = "postgres"

SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=16MB",
    "autovacuum=off",
)
"""Settings for a quick start; the data need not survive a crash."""

ACCESS = """\
local all secretive scram-sha-256
local all all trust
"""
"""No user needs a password, except for `secretive`."""

_numbers = count(1)


def wait_until(what: Callable[[], object]) -> None:
    """Wait until the condition is true; a psycopg error means not yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(psycopg.Error):
            if what():
                return
        time.sleep(0.02)
    raise AssertionError("timed out")


def programs() -> Path:
    """The folder of the newest PostgreSQL that Debian's packages installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name)
    )
    assert found, "run ./scripts/debian-packages"
    return found[-1]


def as_user() -> tuple[list[str], int, int]:
    """The command prefix, user and group to run PostgreSQL; it ends when the tests are killed."""
    command = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid():
        return command, os.geteuid(), os.getegid()
    names = {each.pw_name: each for each in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    change = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*command, *change], user.pw_uid, user.pw_gid


class PostgresServer:
    """A server in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """The folder of its socket; its data is in a subfolder."""
        self.log = folder / "log"
        self._as_user, uid, gid = as_user()
        self._process: subprocess.Popen[bytes] | None = None
        os.chown(folder, uid, gid)
        data = f"--pgdata={folder / 'data'}"
        options = ("--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self._run("initdb", data, f"--username={SUPERUSER}", *options)
        (folder / "data" / "pg_hba.conf").write_text(ACCESS)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(programs() / program), *arguments]
        with self.log.open("ab") as log:
            subprocess.run(
                command, cwd=self.folder, stdout=log, stderr=log, check=True, timeout=PATIENCE
            )

    @property
    def pid(self) -> int:
        """The server's main process, whose children serve one connection each."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it responds."""
        settings = (f"unix_socket_directories={self.folder}", *SETTINGS)
        options = [part for each in settings for part in ("-c", each)]
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data"), *options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, *command], cwd=self.folder, stdout=log, stderr=log
            )
        wait_until(lambda: self.execute("SELECT 1"))

    def stop(self) -> None:
        """Close all connections and stop the server; the data is kept."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server for some time."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server and its backends: packets are accepted, but no process responds."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        pids = [self.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def url(self, name: str, user: str = SUPERUSER, **parameters: str) -> str:
        """The URL of a database, in the form of `--state.url`."""
        query = urlencode({"host": str(self.folder), **parameters}, quote_via=quote)
        return f"postgresql://{quote(user)}@/{name}?{query}"

    def execute(self, statement: str, name: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows that a superuser's statement returns, each in its own connection."""
        with psycopg.connect(self.url(name, connect_timeout="10"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Database:
    """The database of one test."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server, self.name = server, name
        self._stores: list[PostgresStore] = []

    def url(self, user: str = SUPERUSER, **parameters: str) -> str:
        """Its URL."""
        return self.server.url(self.name, user, **parameters)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a superuser's statement returns."""
        return self.server.execute(statement, self.name)

    def store(self, exporter: str = "a", user: str = SUPERUSER, **parameters: str) -> PostgresStore:
        """An exporter's connection, which is closed after the test."""
        store = PostgresStore(self.url(user, **parameters), exporter)
        self._stores.append(store)
        return store

    @contextmanager
    def another(self, store: PostgresStore) -> Iterator[PostgresStore]:
        """A second connection of the same exporter, whose responses `store` does not see."""
        other = copy(store)
        other._session = copy(store._session)
        other._session._connection = None
        try:
            yield other
        finally:
            other.close()

    @contextmanager
    def connection(self, **parameters: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """A superuser's connection, without an open transaction."""
        with psycopg.connect(self.url(**parameters), autocommit=True) as connection:
            yield connection

    @contextmanager
    def frozen_backend(self) -> Iterator[None]:
        """Freeze the backend of the only exporter connection; new connections are possible."""
        (pid,) = self.backends()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def user(self) -> str:
        """The name of a new user with permission to connect, and no other."""
        name = f"user_{next(_numbers)}"
        self.server.execute(f"CREATE ROLE {name} LOGIN")
        return name

    def secretive(self, password: str) -> str:
        """Set the password of the user `secretive`, and return the URL without it."""
        self.server.execute("DROP ROLE IF EXISTS secretive")
        self.server.execute(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{password}'")
        return self.url("secretive")

    def backends(self) -> list[int]:
        """The server processes of the exporters' connections to this database."""
        found = self.server.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'cdi-exporter%'"
            f" AND datname = '{self.name}'"
        )
        return [pid for (pid,) in found]

    def close(self) -> None:
        """Close the connections of its stores."""
        for store in self._stores:
            store.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests of this process."""
    # A socket path is limited to about 100 characters, and the server's user needs access to it.
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """An empty database."""
    found = Database(postgres_server, f"test_{next(_numbers)}")
    postgres_server.execute(f"CREATE DATABASE {found.name}")
    yield found
    found.close()
    postgres_server.execute(f"DROP DATABASE {found.name} WITH (FORCE)")
