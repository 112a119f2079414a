"""Leases, commits and requests of followers in a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from cdi_exporter.state.postgres import PostgresStore
from cdi_exporter.state.shared import LEASE_SECONDS, LISTED_SECONDS, Batch, Group
from cdi_exporter.state.store import (
    Row,
    StateError,
    StoredWorkspace,
    UnreadableState,
    WorkspaceRow,
)
from tests.postgres.threads import at_once
from tests.postgres_server import Database, wait_until

GROUP = Group(("w",))
HELD = Group(("w",), epochs={"w": 1})
"""The group of an exporter that leads in the first epoch."""

ROUNDS = 15


def batch(epoch: int, *rows: Row, **values: object) -> Batch:
    return Batch(WorkspaceRow("w", **values), epoch, rows)  # type: ignore[arg-type]


def row(key: str, record: str | None = "{}", *, listed: bool = True) -> Row:
    return Row("w", key, listed, record=record)


def expire(database: Database) -> None:
    """Set all leases to expired."""
    database.execute("UPDATE cdi_workspaces SET expires_at = clock_timestamp() - interval '1 s'")


def test_another_exporter_takes_over_an_expired_lease(database: Database) -> None:
    """The lease has expired or was released. The epoch counts how often it was taken."""
    a, b = database.store("a"), database.store("b")
    assert a.beat([GROUP]).leases["w"].epoch == 1
    answer = b.beat([GROUP])
    assert (answer.leases, answer.others) == ({}, 1)
    expire(database)
    taken = b.beat([GROUP])
    assert (taken.leases["w"].epoch, taken.leases["w"].taken) == (2, True)
    assert a.beat([GROUP]).leases == {}
    b.release([GROUP])
    assert a.beat([GROUP]).leases["w"].epoch == 3


def test_a_lease_counts_from_the_renewal_on_the_clock_of_the_database(database: Database) -> None:
    """A lease lasts for `LEASE_SECONDS`."""
    store = database.store()
    for group in (GROUP, HELD):
        store.beat([group])
        ((left,),) = database.execute(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM cdi_workspaces"
        )
        assert left <= LEASE_SECONDS
        expire(database)
    assert store.beat([HELD]).leases["w"].epoch == 1


def test_only_one_of_several_exporters_takes_a_free_lease(database: Database) -> None:
    """This holds for simultaneous beats. Workspaces that share a budget get one leader."""
    group = Group(("w", "v", "u"))
    stores = [database.store(name) for name in "abcd"]
    for epoch in range(1, ROUNDS):
        beats = at_once(*(partial(each.beat, [group]) for each in stores))
        led = [beat.leases for beat in beats if beat.leases]
        assert len(led) == 1
        assert {name: lease.epoch for name, lease in led[0].items()} == dict.fromkeys("wvu", epoch)
        database.execute("UPDATE cdi_workspaces SET holder = NULL")


def test_beats_in_any_order_of_workspaces_never_block_each_other(database: Database) -> None:
    """Rows are locked in the order of their names."""
    names = tuple("uvwxyz")
    stores = [database.store(name) for name in "abc"]

    def work(store: PostgresStore, *, backwards: bool) -> None:
        groups = [Group((name,)) for name in (names[::-1] if backwards else names)]
        for _ in range(ROUNDS):
            store.beat(groups)
            store.retain(set(names), 0)
            store.release(groups)

    done = at_once(*(partial(work, each, backwards=each is stores[0]) for each in stores))
    assert done == [None] * 3


def test_a_replaced_leader_commits_nothing(database: Database) -> None:
    """It cannot commit with its own epoch, nor with that of the next leader."""
    a, b = database.store("a"), database.store("b")
    a.beat([GROUP])
    assert list(a.commit([batch(1, row("i", "old"), complete=True)])) == []
    expire(database)
    b.beat([GROUP])
    for epoch in (1, 2, 3):
        assert list(a.commit([batch(epoch, row("i", "late"), row("j"))])) == ["w"]
    assert b.read("w") == StoredWorkspace([row("i", "old")], True, version=1, epoch=2)


def test_a_commit_concurrent_with_a_takeover_is_read_or_refused(database: Database) -> None:
    """The new leader reads everything that the former one has committed."""
    stores = {name: database.store(name) for name in "ab"}
    leader, other = "a", "b"
    stores[leader].beat([GROUP])
    for number in range(ROUNDS):
        expire(database)
        before = stores[leader].read("w")
        new = batch(before.epoch, row("i", f"{number}"))
        refused, beat = at_once(
            partial(stores[leader].commit, [new]), partial(stores[other].beat, [GROUP])
        )
        assert beat.leases["w"].epoch == before.epoch + 1
        found = stores[other].read("w")
        if refused:
            assert found.rows == before.rows
        else:
            assert found.rows == [row("i", f"{number}")]
        assert found.version == before.version + (not refused)
        leader, other = other, leader


def test_the_former_leaders_spending_survives_a_lost_response(database: Database) -> None:
    """If the response to a call was lost, the lease that it took is taken again."""
    a, b = database.store("a"), database.store("b")
    a.beat([Group(("w",), "of a")])
    a.beat([replace(HELD, spending="of a")])
    expire(database)
    b.beat([Group(("w",), "of b")])  # the response is lost
    lease = b.beat([Group(("w",), "of b")]).leases["w"]
    assert (lease.epoch, lease.taken, lease.spending) == (3, True, "of a")
    assert lease.spending_age >= 0
    assert not b.beat([Group(("w",), "of b", epochs={"w": 3})]).leases["w"].taken
    expire(database)
    assert a.beat([GROUP]).leases["w"].spending == "of b"


def test_a_commit_reports_the_spent_requests(database: Database) -> None:
    """The next leader gets what the newest beat or commit reported."""
    a, b = database.store("a"), database.store("b")
    a.beat([GROUP])
    a.commit([Batch(WorkspaceRow("w"), 1, spending="newest")])
    a.commit([Batch(WorkspaceRow("w"), 1)])
    a.release([GROUP])
    assert b.beat([GROUP]).leases["w"].spending == "newest"


def test_a_followers_request_is_reported_to_the_leader_once(database: Database) -> None:
    """Only the leader of the workspace gets the request."""
    a, b = database.store("a"), database.store("b")
    a.beat([GROUP])
    b.ask("w", {"i", "j"})
    b.ask("w", {"j", "k\0"})
    b.ask("unknown", {"i"})
    assert b.beat([GROUP]).leases == {}
    lease = a.beat([GROUP]).leases["w"]
    assert lease.wanted
    assert lease.received == {"i", "j", "k\N{REPLACEMENT CHARACTER}"}
    lease = a.beat([GROUP]).leases["w"]
    assert not lease.wanted
    assert not lease.received


def test_integrations_are_read_in_the_order_of_their_first_commit(database: Database) -> None:
    """Later writes and the index used by the server do not change the order."""
    store = database.store(options="-cenable_bitmapscan=off -cenable_seqscan=off")
    store.beat([GROUP])
    store.commit([batch(1, row("c"), row("a"))])
    store.commit([batch(1, row("b"), row("c"))])
    assert [each.id for each in store.read("w").rows] == ["c", "a", "b"]
    assert [each.id for each in store.read("w", 1).rows] == ["c", "b"]
    assert store.read("w", 2).rows == []


def test_a_forgotten_integration_is_read_until_another_exporter_takes_the_lease(
    database: Database,
) -> None:
    """Followers see the deleted row; a new epoch makes them read everything."""
    a, b = database.store("a"), database.store("b")
    a.beat([GROUP])
    a.commit([batch(1, row("i"), row("j"))])
    a.commit([batch(1, row("i", None, listed=False))])
    assert b.read("w", 1).rows == [row("i", None, listed=False)]
    a.release([GROUP])
    b.beat([GROUP])
    assert b.read("w").rows == [row("j")]


def test_text_that_postgresql_cannot_store_does_not_prevent_a_commit(database: Database) -> None:
    """NUL in an ID is replaced; all other text is unchanged."""
    store = database.store()
    store.beat([GROUP])
    text = "\x01 ü ✓ \U0001f600 '\"\\"
    store.commit([batch(1, row("a\0b", text), status=text)])
    assert store.read("w") == StoredWorkspace(
        [row("a\N{REPLACEMENT CHARACTER}b", text)], status=text, version=1, epoch=1
    )


def test_a_workspace_that_left_the_configuration_long_ago_is_forgotten(database: Database) -> None:
    """The time counts from when it left the configuration, and is reset when it returns."""
    store = database.store()
    store.retain({"w", "x"}, 100)
    store.beat([GROUP])
    store.commit([batch(1, row("i"))])
    store.release([GROUP])
    ago = "UPDATE cdi_workspaces SET left_at = left_at - 80"
    store.retain({"x"}, 100)
    database.execute(ago)
    store.retain({"x"}, 100)
    assert store.read("w").version == 1
    database.execute(ago)
    store.retain({"x"}, 100)
    assert store.read("w") == StoredWorkspace()
    assert database.execute("SELECT name FROM cdi_workspaces") == [("x",)]
    assert database.execute("SELECT id FROM cdi_integrations") == []
    store.retain({"w"}, 100)
    database.execute(ago)
    store.retain({"x"}, 100)
    database.execute(ago)
    store.retain({"x", "w"}, 100)
    assert database.execute("SELECT name FROM cdi_workspaces WHERE left_at IS NULL ORDER BY 1") == [
        ("w",),
        ("x",),
    ]


def test_a_workspace_that_another_exporter_leads_is_never_forgotten(database: Database) -> None:
    """The other exporter's configuration differs. A led workspace counts as configured."""
    a, b = database.store("a"), database.store("b")
    a.beat([GROUP])
    b.retain(set(), 0)
    database.execute("UPDATE cdi_workspaces SET left_at = 0")
    b.retain(set(), 0)
    assert not a.beat([HELD]).leases["w"].taken
    assert database.execute("SELECT left_at FROM cdi_workspaces") == [(None,)]


def test_exporters_are_listed_for_a_minute_and_removed_after_a_day(database: Database) -> None:
    """This includes stopped exporters, because their requests still count."""
    a, b = database.store("a"), database.store("b")
    b.beat([GROUP])
    b.release([GROUP])
    assert a.beat([GROUP]).others == 1
    seen = "UPDATE cdi_exporters SET seen_at = seen_at - interval '{} s' WHERE name = 'b'"
    database.execute(seen.format(LISTED_SECONDS))
    assert a.beat([GROUP]).others == 0
    assert len(database.execute("SELECT name FROM cdi_exporters")) == 2
    database.execute(seen.format(86_400))
    a.beat([GROUP])
    assert database.execute("SELECT name FROM cdi_exporters") == [("a",)]


def test_a_commit_whose_connection_is_lost_is_rolled_back(database: Database) -> None:
    """Its connection is closed between its statements. The next call reconnects."""
    store = database.store()
    store.beat([GROUP])
    store.commit([batch(1, row("i", "old"))])
    with database.connection() as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN")
        other.execute("SELECT FROM cdi_integrations FOR UPDATE")
        doing = pool.submit(store.commit, [batch(1, row("j"), row("i", "new"))])
        (pid,) = database.backends()
        waiting = f"SELECT 1 FROM pg_locks WHERE pid = {pid} AND NOT granted"
        wait_until(lambda: database.execute(waiting))
        database.execute(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(StateError, match="the next try connects again"):
            doing.result()
    assert store.read("w") == StoredWorkspace([row("i", "old")], version=1, epoch=1)
    assert list(store.commit([batch(1, row("i", "new"))])) == []
    assert store.read("w") == StoredWorkspace([row("i", "new")], version=2, epoch=1)


def test_a_commit_that_timed_out_is_not_made_later(database: Database) -> None:
    """This holds even in the same epoch, because it would restore older values."""
    store = database.store()
    store.beat([GROUP])
    with database.frozen_backend():
        with pytest.raises(StateError, match="no answer within"):
            store.commit([batch(1, row("i", "older"))])
        store.commit([batch(1, row("i", "newer"))])
    wait_until(lambda: len(database.backends()) == 1)
    assert store.read("w") == StoredWorkspace([row("i", "newer")], version=1, epoch=1)


def test_batches_before_one_that_fails_are_kept(database: Database) -> None:
    """Each batch is a separate transaction and can be repeated."""
    store = database.store()
    store.beat([Group(("w", "x"))])
    for version, text in enumerate(("\0", "\ud800"), start=1):
        wrong = Batch(WorkspaceRow("x"), 1, [Row("x", "i", listed=True, record=text)])
        with pytest.raises(StateError):
            store.commit([batch(1, row("i")), wrong])
        assert (store.read("w").version, store.read("x").version) == (version, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("cdi_integrations SET left_at = 'Infinity'", "integration 'i': left_at is not a time"),
        ("cdi_integrations SET left_at = 'NaN'", "integration 'i': left_at is not a time"),
        ("cdi_workspaces SET forgotten_at = -1", "workspace 'w': forgotten_at is not a time"),
    ],
)
def test_an_unreadable_row_is_named(database: Database, change: str, problem: str) -> None:
    """The error names the workspace, the integration, and what to do."""
    store = database.store()
    store.beat([GROUP])
    store.commit([batch(1, row("i"))])
    database.execute(f"UPDATE {change}")
    with pytest.raises(UnreadableState) as caught:
        store.read("w")
    assert problem in str(caught.value)
    assert "restore a backup" in str(caught.value)
    assert "\n" not in str(caught.value)
