"""The database in memory returns the same as PostgreSQL for any calls of exporters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import Connection, connect

from cdi_exporter.state.postgres_schema import TABLES
from cdi_exporter.state.shared import Batch, Group, SharedStore
from cdi_exporter.state.store import Row, StateError, StoredWorkspace, WorkspaceRow
from tests.postgres_server import Database
from tests.shared_memory import MemoryDatabase, MemoryStore, StoredLease, no_fault

WORKSPACES = ("alone", "first", "second")
"""The last two share a budget."""
EXPORTERS = ("a", "b", "c")
START = 1_790_000_000.0

CLOCK = f"""
CREATE TABLE test_clock (seconds double precision);
INSERT INTO test_clock VALUES ({START});
CREATE FUNCTION clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
AS 'SELECT to_timestamp(seconds) FROM test_clock';
"""
"""A stopped clock, which the search path puts before PostgreSQL's own."""
OWN_CLOCK = {"options": "-csearch_path=public,pg_catalog"}


def lost(stage: str) -> None:
    """Lose the connection before the response arrives."""
    if stage == "answer":
        raise StateError("lost")


class Pair:
    """An exporter's connections to both databases."""

    def __init__(self, world: "World", name: str) -> None:
        self._world, self._name = world, name
        self.memory = MemoryStore(world.memory, name)
        self.postgres = world.postgres.store(name, **OWN_CLOCK)
        self.epochs: dict[str, int] = {}
        self.versions: dict[str, int] = {}

    def call(self, does: Callable[[SharedStore], Any]) -> Any:
        """Make the same call to both, and compare the results."""
        answer, expected = does(self.postgres), does(self.memory)
        assert answer == expected
        return answer

    def known(self, groups: list[Group]) -> list[Group]:
        """The groups with the epochs of the leases that the exporter knows to hold."""
        return [
            replace(
                each,
                epochs={key: self.epochs[key] for key in each.workspaces if key in self.epochs},
            )
            for each in groups
        ]

    def beat(self, groups: list[Group]) -> None:
        groups = self.known(groups)
        answer = self.call(lambda store: store.beat(groups))
        self.epochs = {name: lease.epoch for name, lease in answer.leases.items()}

    def lose_beat(self, groups: list[Group]) -> None:
        """A beat that is executed, but whose response is lost."""
        groups = self.known(groups)
        with self._world.postgres.another(self.postgres) as connection:
            connection.beat(groups)
        self.memory.fault = lost
        with pytest.raises(StateError):
            self.memory.beat(groups)
        self.memory.fault = no_fault

    def read(self, workspace: str, *, all_of_it: bool) -> None:
        since = None if all_of_it else self.versions.get(workspace)

        def read(store: SharedStore) -> StoredWorkspace:
            found = store.read(workspace, since)
            return replace(found, rows=list(found.rows))

        answer: StoredWorkspace = self.call(read)
        self.versions[workspace] = answer.version


class World:
    """Three exporters and the two databases."""

    def __init__(self, postgres: Database, connection: Connection[Any]) -> None:
        self.postgres, self._connection = postgres, connection
        self.now = START
        self.memory = MemoryDatabase(lambda: self.now)
        self.pairs = {name: Pair(self, name) for name in EXPORTERS}

    def clear(self) -> None:
        """Start again with empty databases."""
        self.now = START
        self.memory.exporters.clear()
        self.memory.workspaces.clear()
        self.memory.commits.clear()
        tables = ", ".join(TABLES)
        self._execute(f"TRUNCATE {tables} RESTART IDENTITY")
        self.pass_time(0)
        for name, pair in self.pairs.items():
            pair.epochs, pair.versions = {}, {}
            pair.memory = MemoryStore(self.memory, name)

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self._execute(f"UPDATE test_clock SET seconds = {self.now}")

    def compare(self) -> None:
        """Compare the whole content of both databases."""
        kept = {
            name: (
                found.epoch,
                found.holder,
                found.expires_at,
                found.spending,
                found.left_at,
                found.wanted,
                found.version,
            )
            for name, found in self.memory.workspaces.items()
        }
        rows = self.postgres.execute(
            "SELECT name, epoch, holder, extract(epoch FROM expires_at)::float8, spending,"
            " left_at, wanted, version FROM cdi_workspaces"
        )
        assert {name: tuple(values) for name, *values in rows} == kept
        for workspace in WORKSPACES:
            self.pairs["a"].read(workspace, all_of_it=True)
        received = {
            (name, key) for name, found in self.memory.workspaces.items() for key in found.received
        }
        assert set(self.postgres.execute("SELECT workspace, id FROM cdi_received")) == received


@dataclass(frozen=True)
class Step:
    """An action of one exporter, or an event."""

    does: str
    exporter: str
    values: tuple[Any, ...] = ()

    def take(self, world: World) -> None:
        getattr(self, f"_{self.does}")(world, world.pairs[self.exporter], *self.values)

    def _beat(self, world: World, pair: Pair, groups: list[Group]) -> None:
        pair.beat(groups)

    def _lose_beat(self, world: World, pair: Pair, groups: list[Group]) -> None:
        pair.lose_beat(groups)

    def _read(self, world: World, pair: Pair, workspace: str, all_of_it: bool) -> None:
        pair.read(workspace, all_of_it=all_of_it)

    def _commit(self, world: World, pair: Pair, batches: list[Batch]) -> None:
        """Commit with the epochs that the exporter knows, or else with the drawn one."""
        known = [
            replace(each, epoch=pair.epochs.get(each.workspace.name, each.epoch))
            for each in batches
        ]
        pair.call(lambda store: list(store.commit(known)))

    def _lead(self, world: World, pair: Pair, batches: list[Batch]) -> None:
        """The leader of each workspace commits, and the exporter reads the changes."""
        for each in batches:
            name = each.workspace.name
            lease = world.memory.workspaces.get(name, StoredLease())
            leader = world.pairs[lease.holder or self.exporter]
            self._commit(world, leader, [replace(each, epoch=lease.epoch)])
            pair.read(name, all_of_it=False)

    def _ask(self, world: World, pair: Pair, workspace: str, received: set[str]) -> None:
        pair.call(lambda store: store.ask(workspace, received))

    def _release(self, world: World, pair: Pair, groups: list[Group]) -> None:
        pair.call(lambda store: store.release(groups))

    def _retain(self, world: World, pair: Pair, names: set[str], seconds: float) -> None:
        pair.call(lambda store: store.retain(names, seconds))

    def _restart(self, world: World, pair: Pair) -> None:
        pair.epochs = {}

    def _wait(self, world: World, pair: Pair, seconds: float) -> None:
        world.pass_time(seconds)

    def _break(self, world: World, pair: Pair) -> None:
        pair.postgres.close()


IDS = st.sampled_from(("i1", "i2", "i3"))
TEXTS = st.sampled_from((None, "", '{"a":1}', "ü ✓"))
TIMES = st.sampled_from((None, START, START - 0.125))
NAMES = st.sampled_from(WORKSPACES)


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    """One of the groups, or both."""
    drawn = [
        Group(names, draw(TEXTS), may_lead=draw(st.integers(0, 4)) > 0)
        for names in (("alone",), ("second", "first"))
    ]
    return draw(st.sampled_from((drawn, drawn[:1], drawn[1:], drawn[::-1])))


@st.composite
def batch(draw: st.DrawFn) -> Batch:
    """Rows with and without records, and forgotten ones."""
    name = draw(NAMES)
    rows = st.builds(Row, st.just(name), IDS, st.booleans(), TIMES, TEXTS)
    workspace = WorkspaceRow(name, draw(st.booleans()), draw(TIMES), draw(TEXTS))
    epoch = draw(st.integers(0, 3))
    return Batch(workspace, epoch, draw(st.lists(rows, max_size=4)), draw(TEXTS))


def step(does: str, *values: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(does), st.sampled_from(EXPORTERS), st.tuples(*values))


STEPS = st.one_of(
    step("beat", groups()),
    step("beat", groups()),
    step("lose_beat", groups()),
    step("read", NAMES, st.booleans()),
    step("read", NAMES, st.booleans()),
    step("commit", st.lists(batch(), max_size=3)),
    step("lead", st.lists(batch(), min_size=1, max_size=3)),
    step("lead", st.lists(batch(), min_size=1, max_size=3)),
    step("ask", NAMES, st.sets(IDS)),
    step("release", groups()),
    step("retain", st.sets(NAMES), st.sampled_from((0.0, 100.0))),
    step("restart"),
    step("wait", st.sampled_from((0.5, 11.5, 12.0, 48.0, 60.0, 200.0, 90_000.0))),
    step("break"),
)


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    database.execute(CLOCK)
    database.store("a", **OWN_CLOCK).read("none")
    with connect(database.url(), autocommit=True) as connection:
        yield World(database, connection)


def test_postgres_returns_the_same_as_the_database_in_memory(world: World) -> None:
    """Three exporters beat, commit, read, reconnect and restart in any order."""

    @given(st.lists(STEPS, min_size=10, max_size=50))
    def check(steps: list[Step]) -> None:
        world.clear()
        for each in steps:
            each.take(world)
        world.compare()

    check()
