"""The shared database in PostgreSQL.

Locks are always taken in the same order: workspaces by name, then their integrations, then
`cdi_received`. A commit first locks the row of its workspace. Therefore versions are committed in
their order, and an exporter that takes the lease either waits for the commit or makes it fail.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from cdi_exporter.errors import StartError
from cdi_exporter.state.postgres_schema import LOCK, STEPS, TABLES
from cdi_exporter.state.shared import (
    LEASE_SECONDS,
    LISTED_SECONDS,
    Batch,
    Beat,
    Group,
    Lease,
    SchemaTooNew,
    takes,
)
from cdi_exporter.state.store import Row, StoredWorkspace, UnreadableState, show, wrong_time

if TYPE_CHECKING:
    from cdi_exporter.state.postgres_session import DatabaseConnection, DatabaseSession

EXPORTER_SECONDS = 86_400.0
"""Seconds until an exporter that is gone is removed from the database: a day, so that it is still
listed when an incident is examined."""

_LEASES = (
    "SELECT name, epoch, holder,"
    " extract(epoch FROM expires_at - clock_timestamp())::float8, wanted, spending,"
    " CASE WHEN spending IS NULL THEN 0"
    " ELSE greatest(0, extract(epoch FROM clock_timestamp() - spending_at))::float8 END"
    " FROM cdi_workspaces WHERE name = ANY(%s) ORDER BY name"
)
_RENEWAL = (
    "holder = %(me)s, expires_at = clock_timestamp() + make_interval(secs => %(seconds)s),"
    " wanted = false, left_at = NULL"
)
_SPENDING = (
    "spending = coalesce(%(spending)s, spending), spending_at ="
    " CASE WHEN %(spending)s::text IS NULL THEN spending_at ELSE clock_timestamp() END"
)


class PostgresStore:
    """One exporter's connection to the database; see `SharedStore`. Used by one thread at a time.

    The exporter's name must be its own: two processes of one name take each other's leases.
    """

    def __init__(self, url: str, exporter: str, *, steps: Sequence[str] = STEPS) -> None:
        """Connect at the first call. Raises StartError if the URL is wrong or psycopg missing."""
        self._exporter, self._steps = exporter, steps
        self._session = _session(url, exporter, self._bring_up_to_date)

    def beat(self, groups: Iterable[Group]) -> Beat:
        """Record that this exporter runs, renew its leases, and take those that are free."""
        groups = tuple(groups)
        names = sorted({name for group in groups for name in group.workspaces})
        epochs = {name: epoch for group in groups for name, epoch in group.epochs.items()}
        with self._session.call() as connection, _transaction(connection):
            others = self._list_exporters(connection)
            found = self._leases(connection, names, epochs)
            _insert_workspaces(connection, [name for name in names if name not in found])
            concerned = [group for group in groups if self._concerns(group, found)]
            needed = sorted({name for group in concerned for name in group.workspaces})
            locked = self._leases(connection, needed, epochs, lock=True)
            leases: dict[str, Lease] = {}
            for group in concerned:
                leases |= self._lead(connection, group, locked)
            leases = _with_received(connection, leases)
        return Beat(leases, others)

    def read(self, workspace: str, since: int | None = None) -> StoredWorkspace:
        """What was committed of a workspace, of rows only those newer than version `since`.

        One statement, so that the rows and the version belong together.
        """
        with self._session.call() as connection:
            found = connection.execute(
                "SELECT NULL AS id, complete, forgotten_at, status, version, epoch, 0 AS position"
                " FROM cdi_workspaces WHERE name = %(workspace)s"
                " UNION ALL SELECT id, listed, left_at, record, version, 0, position"
                " FROM cdi_integrations WHERE workspace = %(workspace)s AND version > %(since)s"
                " ORDER BY position",
                {"workspace": workspace, "since": -1 if since is None else since},
            ).fetchall()
            if not found or found[0][0] is not None:
                return StoredWorkspace()
            (_, complete, forgotten, status, version, epoch, _), *integrations = found
            if problem := wrong_time("forgotten_at", forgotten):
                raise UnreadableState(_unreadable(f"of the workspace {show(workspace)}", problem))
            rows = [_row(workspace, *values[:4]) for values in integrations]
            return StoredWorkspace(
                rows, complete, forgotten, status=status, version=version, epoch=epoch
            )

    def commit(self, batches: Iterable[Batch]) -> Collection[str]:
        """Write each batch, all or nothing, if the exporter holds the lease of its epoch."""
        with self._session.call() as connection:
            return [
                batch.workspace.name for batch in batches if not self._commit(connection, batch)
            ]

    def ask(self, workspace: str, received: Collection[str]) -> None:
        """Ask the leader for newer data, and report which counters were received at 0."""
        with self._session.call() as connection:
            if received:
                connection.execute(
                    "INSERT INTO cdi_received (workspace, id)"
                    " SELECT name, unnest(%s::text[]) FROM cdi_workspaces WHERE name = %s"
                    " ON CONFLICT DO NOTHING",
                    (sorted(map(_storable, received)), workspace),
                )
            connection.execute(
                "UPDATE cdi_workspaces SET wanted = true WHERE name = %s AND NOT wanted",
                (workspace,),
            )

    def release(self, groups: Iterable[Group]) -> None:
        """Give the leases back, with what was spent.

        The exporter stays listed as long as after its last beat: it may have spent its part of
        the budget just before.
        """
        spending = {name: group.spending for group in groups for name in group.workspaces}
        with self._session.call() as connection, _transaction(connection):
            for name in sorted(spending):
                connection.execute(
                    f"UPDATE cdi_workspaces SET holder = NULL, expires_at = clock_timestamp(),"
                    f" {_SPENDING} WHERE name = %(name)s AND holder = %(me)s",
                    {"name": name, "me": self._exporter, "spending": spending[name]},
                )

    def retain(self, workspaces: Collection[str], remembered_for: float) -> None:
        """Forget workspaces that left the configuration `remembered_for` seconds ago.

        One that an exporter leads is configured there, and stays.
        """
        names = sorted(workspaces)
        with self._session.call() as connection, _transaction(connection):
            _insert_workspaces(connection, names)
            connection.execute("SELECT FROM cdi_workspaces ORDER BY name FOR UPDATE")
            connection.execute(
                "UPDATE cdi_workspaces SET left_at = CASE WHEN name = ANY(%s) THEN NULL"
                " ELSE least(left_at, extract(epoch FROM clock_timestamp())::float8) END",
                (names,),
            )
            gone = connection.execute(
                "DELETE FROM cdi_workspaces"
                " WHERE left_at < extract(epoch FROM clock_timestamp())::float8 - %s"
                " AND (holder IS NULL OR expires_at <= clock_timestamp()) RETURNING name",
                (remembered_for,),
            ).fetchall()
            for table in ("cdi_integrations", "cdi_received"):
                connection.execute(
                    f"DELETE FROM {table} WHERE workspace = ANY(%s)", ([name for (name,) in gone],)
                )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _bring_up_to_date(self, connection: "DatabaseConnection") -> None:
        """Migrate the schema; if it is current, no permission to create is needed."""
        if self._version(connection) == len(self._steps):
            return
        with _transaction(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            for step in self._steps[self._version(connection) :]:
                connection.execute(step)
            connection.execute("UPDATE cdi_schema SET version = %s", (len(self._steps),))

    def _version(self, connection: "DatabaseConnection") -> int:
        """The version of the schema, 0 if there is none; raises SchemaTooNew."""
        version = _schema_version(connection)
        self._check(version)
        return version

    def _check(self, version: int) -> None:
        if version > len(self._steps):
            message = (
                f"its tables were migrated by a newer cdi-exporter (schema {version}, known"
                f" {len(self._steps)}); use that version, or another database or schema"
            )
            raise SchemaTooNew(message)

    def _list_exporters(self, connection: "DatabaseConnection") -> int:
        """List this exporter; the number of others."""
        connection.execute(
            "INSERT INTO cdi_exporters (name, seen_at) VALUES (%s, clock_timestamp())"
            " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at",
            (self._exporter,),
        )
        connection.execute(
            "DELETE FROM cdi_exporters WHERE name IN (SELECT name FROM cdi_exporters"
            " WHERE seen_at < clock_timestamp() - make_interval(secs => %s)"
            " FOR UPDATE SKIP LOCKED)",
            (EXPORTER_SECONDS,),
        )
        ((version, others),) = connection.execute(
            "SELECT coalesce((SELECT version FROM cdi_schema), 0), count(*) FROM cdi_exporters"
            " WHERE name <> %s AND seen_at >= clock_timestamp() - make_interval(secs => %s)",
            (self._exporter, LISTED_SECONDS),
        )
        self._check(version)
        return int(others)

    def _leases(
        self,
        connection: "DatabaseConnection",
        names: Sequence[str],
        epochs: Mapping[str, int],
        *,
        lock: bool = False,
    ) -> dict[str, Lease]:
        """The leases by workspace, locked in the order of their names if asked.

        One in this exporter's name, but with an epoch that it does not know, has no holder.
        `seconds_left` may be from before a wait for the lock; it is then too high.
        """
        if not names:
            return {}
        found = connection.execute(_LEASES + (" FOR UPDATE" if lock else ""), (list(names),))
        rows = [Lease(*values) for values in found]
        return {
            row.workspace: replace(row, holder=None)
            if row.holder == self._exporter and row.epoch != epochs.get(row.workspace)
            else row
            for row in rows
        }

    def _concerns(self, group: Group, rows: Mapping[str, Lease]) -> bool:
        """Whether a lease is to be renewed or can be taken, before anything is locked."""
        ours = any(rows[name].holder == self._exporter for name in group.workspaces if name in rows)
        return ours or bool(takes(self._exporter, group, rows))

    def _lead(
        self, connection: "DatabaseConnection", group: Group, locked: Mapping[str, Lease]
    ) -> dict[str, Lease]:
        """Renew the group's leases, and take those that are free."""
        if not locked.keys() >= set(group.workspaces):
            return {}  # A workspace was forgotten just now: the next beat inserts it again.
        rows = [locked[name] for name in group.workspaces]
        taken = takes(self._exporter, group, locked)
        renewed = [row.workspace for row in rows if row.holder == self._exporter]
        if taken:
            self._take(connection, taken)
        if renewed:
            self._renew(connection, renewed, group.spending)
        leases = {name: locked[name] for name in renewed}
        for name in taken:
            before = locked[name]
            leases[name] = replace(
                before, epoch=before.epoch + 1, holder=self._exporter, taken=True
            )
        return leases

    def _take(self, connection: "DatabaseConnection", names: list[str]) -> None:
        connection.execute(
            f"UPDATE cdi_workspaces SET epoch = epoch + 1, {_RENEWAL} WHERE name = ANY(%(names)s)",
            {"me": self._exporter, "seconds": LEASE_SECONDS, "names": names},
        )
        # Followers see a new epoch and read everything, so rows of forgotten ones are not needed.
        connection.execute(
            "DELETE FROM cdi_integrations"
            " WHERE workspace = ANY(%s) AND NOT listed AND record IS NULL",
            (names,),
        )

    def _renew(
        self, connection: "DatabaseConnection", names: list[str], spending: str | None
    ) -> None:
        connection.execute(
            f"UPDATE cdi_workspaces SET {_RENEWAL}, {_SPENDING} WHERE name = ANY(%(names)s)",
            {
                "me": self._exporter,
                "seconds": LEASE_SECONDS,
                "spending": spending,
                "names": names,
            },
        )

    def _commit(self, connection: "DatabaseConnection", batch: Batch) -> bool:
        """Write a batch; whether the exporter holds the lease.

        The lease may have expired: until another exporter takes it, no other one commits. A commit
        whose answer was lost cannot come after a later one either: the rows are sent once the row
        of the workspace is locked, and it stays locked until that transaction ends. So the two
        must not become one message.
        """
        new = batch.workspace
        with _transaction(connection):
            found = connection.execute(
                f"UPDATE cdi_workspaces SET version = version + 1,"
                f" complete = complete OR %(complete)s,"
                f" forgotten_at = coalesce(%(forgotten)s, forgotten_at),"
                f" status = coalesce(%(status)s, status), {_SPENDING}"
                f" WHERE name = %(name)s AND epoch = %(epoch)s AND holder = %(me)s"
                f" RETURNING version",
                {
                    "name": new.name,
                    "complete": new.complete,
                    "forgotten": new.forgotten,
                    "status": new.status,
                    "spending": batch.spending,
                    "epoch": batch.epoch,
                    "me": self._exporter,
                },
            ).fetchone()
            if found is not None:
                _upsert(connection, new.name, batch.rows, *found)
        return found is not None


@contextmanager
def _transaction(connection: "DatabaseConnection") -> Iterator[None]:
    """One transaction. If it fails, the session ends, and the server rolls it back.

    The isolation level is explicit, because a statement that waited for a lock must see what the
    lock's holder wrote.
    """
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    yield
    connection.execute("COMMIT")


def _schema_version(connection: "DatabaseConnection") -> int:
    """The version of the tables, 0 if there are none.

    Not with `to_regclass`: it reads no table, so after a wait for the lock it might not yet see the
    tables that another exporter created.
    """
    ((exists,),) = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_class"
        " WHERE relname = 'cdi_schema' AND pg_table_is_visible(oid))"
    )
    found = connection.execute("SELECT version FROM cdi_schema").fetchone() if exists else None
    return int(found[0]) if found else 0


def _insert_workspaces(connection: "DatabaseConnection", names: Sequence[str]) -> None:
    """Make sure that they exist; `names` are sorted, so that two inserts never deadlock."""
    if names:
        connection.execute(
            "INSERT INTO cdi_workspaces (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
            (list(names),),
        )


def _with_received(
    connection: "DatabaseConnection", leases: Mapping[str, Lease]
) -> dict[str, Lease]:
    """The leases with what was received in their workspaces, which is reported once."""
    received: dict[str, set[str]] = {name: set() for name in leases}
    if leases:
        for name, key in connection.execute(
            "DELETE FROM cdi_received WHERE workspace = ANY(%s) RETURNING workspace, id",
            (list(leases),),
        ):
            received[name].add(key)
    return {
        name: replace(lease, received=frozenset(received[name])) for name, lease in leases.items()
    }


def _upsert(
    connection: "DatabaseConnection", workspace: str, rows: Iterable[Row], version: int
) -> None:
    """Write rows in their order. A forgotten one stays, so that followers can see it."""
    connection.cursor().executemany(
        "INSERT INTO cdi_integrations (workspace, id, listed, left_at, record, version)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (workspace, id) DO UPDATE SET"
        " listed = excluded.listed, left_at = excluded.left_at, record = excluded.record,"
        " version = excluded.version",
        [
            (workspace, _storable(row.id), row.listed, row.left_at, row.record, version)
            for row in rows
        ],
    )


def _storable(key: str) -> str:
    """An ID as PostgreSQL can hold it, which is any text without NUL."""
    return key.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _row(workspace: str, key: str, listed: bool, left_at: object, record: str | None) -> Row:
    """One row; raises UnreadableState if it has a value that is never written."""
    if problem := wrong_time("left_at", left_at):
        place = f"in the workspace {show(workspace)}, integration {show(key)}"
        raise UnreadableState(_unreadable(place, problem))
    return Row(workspace, key, listed, cast("float | None", left_at), record)


def _unreadable(place: str, problem: str) -> str:
    return f"unreadable record {place}: {problem}; restore a backup, or delete the row"


@dataclass(frozen=True, slots=True)
class DatabaseDescription:
    """What `check` reports of the database."""

    server: str
    """PostgreSQL's version."""
    schema: int | None
    """The version of the tables: 0 if there are none, None if it may not be read."""
    known: int
    """The newest version that this exporter knows."""
    reads: bool
    """Whether the user may read the tables; without tables False, like the next."""
    writes: bool
    """Whether the user may insert, update and delete their rows."""
    creates: bool
    """Whether the user may create tables."""
    leaders: Mapping[str, str | None] = field(default_factory=dict)
    """Which exporter leads each workspace, None if none does; empty if the tables cannot be read,
    or are not those that are known."""


def describe(url: str, exporter: str) -> DatabaseDescription:
    """Describe the database as this user finds it; changes nothing.

    Raises StateError if that fails, StartError if the URL is wrong.
    """
    session = _session(url, exporter, lambda _: None)
    try:
        with session.call() as connection:
            return _describe(connection)
    finally:
        session.close()


def _describe(connection: "DatabaseConnection") -> DatabaseDescription:
    ((server, creates, readable, writable),) = connection.execute(
        "SELECT current_setting('server_version'),"
        " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),"
        " has_table_privilege(to_regclass('cdi_schema'), 'SELECT'), NOT pg_is_in_recovery()"
    )
    ((reads, writes),) = connection.execute(
        "SELECT bool_and(coalesce(has_table_privilege(found, 'SELECT'), false)),"
        " bool_and(coalesce(has_table_privilege(found, 'INSERT') AND"
        " has_table_privilege(found, 'UPDATE') AND has_table_privilege(found, 'DELETE'), false))"
        " FROM unnest(%s::text[]) AS name, to_regclass(name) AS found",
        (list(TABLES),),
    )
    known = len(STEPS)
    schema = None if readable is False else _schema_version(connection)
    leaders = (
        connection.execute(
            "SELECT name, CASE WHEN expires_at > clock_timestamp() THEN holder END"
            " FROM cdi_workspaces ORDER BY name"
        ).fetchall()
        if schema == known and reads
        else ()
    )
    return DatabaseDescription(
        server,
        schema,
        known,
        bool(readable and reads),
        bool(readable and reads and writes and writable),
        creates,
        dict(leaders),
    )


def _session(
    url: str, exporter: str, prepare: Callable[["DatabaseConnection"], object]
) -> "DatabaseSession":
    """A session; only this loads psycopg. Raises StartError."""
    try:
        from cdi_exporter.state.postgres_session import DatabaseSession  # noqa: PLC0415
    except ImportError as error:
        message = (
            f"a database needs psycopg, which cannot be loaded ({error});"
            " pip install 'cdi-exporter[postgresql]'"
        )
        raise StartError(message) from error
    return DatabaseSession(url, exporter, prepare)
