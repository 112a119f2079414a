"""Connections to a real PostgreSQL: losses, timeouts, permissions, passwords and `describe`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from cdi_exporter.state.postgres import (
    DatabaseDescription,
    PostgresStore,
    describe,
)
from cdi_exporter.state.postgres_schema import STEPS, TABLES
from cdi_exporter.state.shared import Batch, Group, SchemaTooNew
from cdi_exporter.state.store import Row, StateError, StoredWorkspace, WorkspaceRow
from tests.postgres.threads import at_once
from tests.postgres_server import Database, PostgresServer

GROUP = Group(("w",))
HELD = Group(("w",), epochs={"w": 1})
"""The group of an exporter that leads in the first epoch."""

SECRET = "hunter2"
RIGHTS = f"SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)}"
_names = count(1)


@contextmanager
def fails(problem: str, error: type[StateError] = StateError) -> Iterator[None]:
    """The error is one line with the problem and the database, and without the secret."""
    with pytest.raises(error, match=problem) as caught:
        yield
    message = str(caught.value)
    assert message.startswith("cannot use the database test_")
    assert "\n" not in message
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)


def settled(database: Database) -> PostgresStore:
    """An exporter that leads and has committed something."""
    store = database.store()
    store.beat([GROUP])
    store.commit([Batch(WorkspaceRow("w", complete=True), 1)])
    return store


COMMITTED = StoredWorkspace(complete=True, version=1, epoch=1)


def read(store: PostgresStore) -> StoredWorkspace:
    found = store.read("w")
    return replace(found, rows=tuple(found.rows))


def test_a_connection_that_was_closed_is_made_again(database: Database) -> None:
    """The first call on it fails, the next one succeeds."""
    store = settled(database)
    (pid,) = database.backends()
    database.execute(f"SELECT pg_terminate_backend({pid})")
    with fails("terminating connection due to administrator command"):
        store.read("w")
    assert read(store) == COMMITTED
    assert store.beat([HELD]).leases["w"].epoch == 1


def test_a_server_is_used_again_after_it_was_stopped(database: Database) -> None:
    """While it is stopped, each call fails, and the error names the address."""
    store = settled(database)
    with database.server.stopped():
        for _ in range(2):
            with fails("terminating connection|failed: No such file"):
                store.beat([GROUP])
        with fails("check the URL, the server, and where the password comes from"):
            store.commit([Batch(WorkspaceRow("w"), 1)])
    assert read(store) == COMMITTED
    assert store.beat([HELD]).leases["w"].epoch == 1


def test_a_hanging_server_does_not_block_the_exporter(database: Database) -> None:
    """This holds for an open connection and for a new one."""
    store, other = settled(database), database.store("b")
    with database.server.frozen():
        with fails("no answer within 3 s"):
            store.beat([GROUP])
        with fails("timeout expired"):
            other.beat([GROUP])
    assert read(store) == COMMITTED
    assert other.beat([GROUP]).leases == {}


def test_the_wait_for_a_held_lock_is_short(database: Database) -> None:
    """The error says how to find the holder of the lock."""
    store = settled(database)
    with database.connection() as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM cdi_workspaces FOR UPDATE")
        with fails("lock timeout; look in pg_stat_activity"):
            store.commit([Batch(WorkspaceRow("w"), 1)])
        assert read(store) == COMMITTED
    assert list(store.commit([Batch(WorkspaceRow("w"), 1)])) == []


def test_a_lost_exporter_keeps_no_lock(database: Database) -> None:
    """The server cannot notice a lost host, so it ends idle transactions."""
    store = settled(database)
    with store._session.call() as connection:
        found = connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()
        assert found == ("5s",)


def test_the_first_starts_of_several_exporters_do_not_collide(database: Database) -> None:
    """One exporter creates the tables, and the others wait for it."""
    stores = [database.store(name) for name in "abcd"]
    beats = at_once(*(partial(store.beat, [GROUP]) for store in stores))
    assert sorted(len(beat.leases) for beat in beats) == [0, 0, 0, 1]
    assert database.execute("SELECT version FROM cdi_schema") == [(len(STEPS),)]


def test_a_schema_is_migrated_by_the_steps_that_it_lacks(database: Database) -> None:
    """A migration is all or nothing. Exporters of the previous version notice it and stop."""
    old = settled(database)
    broken = PostgresStore(database.url(), "b", steps=(*STEPS, "CREATE TABLE x (); SELECT 1 / 0"))
    with fails("division by zero"):
        broken.read("w")
    assert database.execute("SELECT to_regclass('x')") == [(None,)]
    assert read(old) == COMMITTED
    new = PostgresStore(database.url(), "b", steps=(*STEPS, "CREATE TABLE x ()"))
    assert read(new) == COMMITTED
    new.close()
    for _ in range(2):
        with fails(r"a newer cdi-exporter \(schema 2, known 1\); use that version", SchemaTooNew):
            old.beat([GROUP])


def test_a_user_needs_no_right_to_create_once_the_tables_exist(database: Database) -> None:
    """Permission to read and write the rows is enough."""
    settled(database).release([GROUP])
    user = database.user()
    database.execute(f"GRANT {RIGHTS} TO {user}; GRANT SELECT ON cdi_schema TO {user}")
    store = database.store("b", user)
    assert store.beat([GROUP]).leases["w"].epoch == 2
    rows = [Row("w", "i", listed=True, record="{}"), Row("w", "j", listed=False)]
    assert list(store.commit([Batch(WorkspaceRow("w"), 2, rows)])) == []
    store.ask("w", {"i"})
    store.retain({"w"}, 100)
    store.release([GROUP])
    assert len(store.read("w").rows) == 2
    assert describe(database.url(user), "check").writes


def test_an_error_names_the_missing_permissions(database: Database) -> None:
    """This holds for the first start and later ones."""
    user = database.user()
    with fails("permission denied for schema public; grant the user SELECT, .*CREATE"):
        database.store("a", user).beat([GROUP])
    settled(database)
    with fails("permission denied for table cdi_schema; grant the user SELECT"):
        database.store("a", user).beat([GROUP])
    database.execute(f"GRANT SELECT ON cdi_schema, cdi_workspaces, cdi_integrations TO {user}")
    reader = database.store("a", user)
    assert read(reader) == COMMITTED
    with fails("permission denied for table cdi_exporters; grant the user SELECT, INSERT"):
        reader.beat([GROUP])


def test_the_password_comes_from_the_sources_of_libpq(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing or wrong password is reported, and no message contains a password."""
    url = database.secretive(SECRET)
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE"):
        monkeypatch.delenv(name, raising=False)
    with fails("no password supplied.*PGPASSFILE, PGPASSWORD or a service file"):
        database.store("a", "secretive").read("w")
    monkeypatch.setenv("PGPASSWORD", f"{SECRET}-wrong")
    with fails('password authentication failed for user "secretive"'):
        database.store("a", "secretive").read("w")
    with fails("password authentication failed"):
        describe(url, "check")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    database.store("a", "secretive").read("w")
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "passwords"
    file.write_text(f"*:*:*:secretive:{SECRET}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    database.store("a", "secretive").read("w")
    monkeypatch.delenv("PGPASSFILE")
    services = tmp_path / "services"
    services.write_text(
        f"[mine]\nhost={database.server.folder}\ndbname={database.name}\n"
        f"user=secretive\npassword={SECRET}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    store = PostgresStore("postgresql://?service=mine", "a")
    store.read("w")
    store.close()


def test_the_search_path_chooses_the_schema(database: Database) -> None:
    """Two schemas in one database are independent."""
    database.execute("CREATE SCHEMA one; CREATE SCHEMA two")
    one, two = (database.store("a", options=f"-csearch_path={schema}") for schema in ("one", "two"))
    one.beat([GROUP])
    assert two.beat([GROUP]).others == 0
    assert database.execute("SELECT count(*) FROM one.cdi_workspaces, two.cdi_workspaces") == [(1,)]
    with fails("no schema has been selected to create in; create the schema that search_path"):
        database.store("a", options="-csearch_path=three").beat([GROUP])


def test_parameters_in_the_url_override_the_exporters_limits(database: Database) -> None:
    """They also override session settings. Settings of the server and the database do not."""
    database.execute(
        f"ALTER DATABASE {database.name} SET statement_timeout = '1h';"
        f"ALTER DATABASE {database.name} SET synchronous_commit = 'off'"
    )

    def shown(store: PostgresStore, *names: str) -> list[str]:
        with store._session.call() as connection:
            return [connection.execute(f"SHOW {name}".encode()).fetchall()[0][0] for name in names]

    settings = ("statement_timeout", "lock_timeout", "synchronous_commit")
    assert shown(database.store(), *settings) == ["2500ms", "2s", "on"]
    options = "-cstatement_timeout=7s -csynchronous_commit=off"
    store = database.store(options=options, application_name="mine", connect_timeout="9")
    assert shown(store, *settings, "application_name") == ["7s", "2s", "off", "mine"]
    assert "connect_timeout=9" in store._session._conninfo


def test_the_first_host_that_can_be_written_to_is_used(database: Database) -> None:
    """The other hosts may be down or standbys."""
    store = database.store(host=f"/nonexistent,{database.server.folder}")
    assert store.beat([HELD]).leases["w"].epoch == 1
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    with fails("session is read-only"):
        database.store().beat([GROUP])
    with fails("the URL must lead to the primary server"):
        database.store(
            target_session_attrs="any", options="-cdefault_transaction_read_only=on"
        ).ask("w", ())


def test_the_encoding_of_the_database_must_support_any_text(database: Database) -> None:
    """Other encodings than UTF-8 are refused. Invalid text in a SQL_ASCII database is reported."""
    execute = database.server.execute
    for encoding in ("LATIN1", "SQL_ASCII"):
        name = f"test_{encoding.lower()}_{os.getpid()}_{next(_names)}"
        execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
        store = PostgresStore(database.server.url(name), "a")
        if encoding == "LATIN1":
            with fails("its encoding is LATIN1; create it with ENCODING 'UTF8'"):
                store.beat([GROUP])
        else:
            store.beat([GROUP])
            store.commit([Batch(WorkspaceRow("w", status="ü ✓"), 1)])
            assert store.read("w").status == "ü ✓"
            execute(
                "SET client_encoding = 'SQL_ASCII'; UPDATE cdi_workspaces SET status = E'\\xff'",
                name,
            )
            with fails("invalid byte sequence .*; restore a backup"):
                store.read("w")
        store.close()
        execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_database_is_described(database: Database) -> None:
    """`describe` works before the first start, with and without a leader, and changes nothing."""
    server = database.execute("SELECT current_setting('server_version')")[0][0]
    empty = DatabaseDescription(server, 0, 1, reads=False, writes=False, creates=True)
    assert describe(database.url(), "check") == empty
    assert describe(database.url(), "check") == empty
    store = settled(database)
    found = describe(database.url(), "check")
    assert (found.schema, found.reads, found.writes) == (1, True, True)
    assert found.leaders == {"w": "a"}
    store.release([GROUP])
    assert describe(database.url(), "check").leaders == {"w": None}
    assert database.execute("SELECT name FROM cdi_exporters") == [("a",)]


def test_the_rights_of_the_user_are_described(database: Database) -> None:
    """This includes missing rights."""
    settled(database)
    user = database.user()
    url = database.url(user)
    found = describe(url, "check")
    assert (found.schema, found.reads, found.writes, found.creates) == (None, False, False, False)
    database.execute(f"GRANT SELECT ON cdi_schema, {', '.join(TABLES)} TO {user}")
    found = describe(url, "check")
    assert (found.schema, found.reads, found.writes, len(found.leaders)) == (1, True, False, 1)
    database.execute(f"GRANT {RIGHTS} TO {user}; GRANT CREATE ON SCHEMA public TO {user}")
    found = describe(url, "check")
    assert (found.writes, found.creates) == (True, True)
    database.execute("UPDATE cdi_schema SET version = 2")
    found = describe(url, "check")
    assert (found.schema, found.known, list(found.leaders)) == (2, 1, [])


def test_a_missing_database_is_reported_as_missing(
    postgres_server: PostgresServer,
) -> None:
    with fails('database "test_missing" does not exist'):
        describe(postgres_server.url("test_missing"), "check")
