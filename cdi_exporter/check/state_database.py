"""What the database of `--state.url` is like for this user, and what that means."""

from collections.abc import Callable, Iterator, Sequence

from cdi_exporter.check.report import CheckedDatabase, Finding, LeaderOf, Level
from cdi_exporter.errors import StartError
from cdi_exporter.state import StateError
from cdi_exporter.state.postgres import DatabaseDescription
from cdi_exporter.threads import in_thread

Describe = Callable[[], DatabaseDescription]
"""Ask the database; it blocks, and raises StateError or StartError."""

_GRANT = (
    "Grant the user SELECT on cdi_schema, and SELECT, INSERT, UPDATE and DELETE on the other tables"
    " cdi_*."
)
_OWNER = "Start one exporter as the user that owns the tables, or let this user own them."


async def check_database(
    describe: Describe | None, workspaces: Sequence[str]
) -> CheckedDatabase | None:
    """The database as this user finds it; nothing in it is changed."""
    if describe is None:
        return None
    try:
        found = await in_thread(describe)
    except (StateError, StartError) as error:
        finding = Finding(
            Level.ERROR,
            "database_unreachable",
            str(error),
            "An exporter that cannot use the database serves statuses and ages, but its counters"
            " stay as they are.",
        )
        return CheckedDatabase(ok=False, reachable=False, findings=(finding,))
    return diagnose_database(found, workspaces)


def diagnose_database(found: DatabaseDescription, workspaces: Sequence[str]) -> CheckedDatabase:
    """What the description means for these workspaces."""
    current = found.schema == found.known and found.reads
    leaders = tuple(LeaderOf(name, found.leaders.get(name)) for name in workspaces)
    leaders = leaders if current else ()
    findings = tuple(_findings(found, leaders))
    tables = bool(found.schema)
    return CheckedDatabase(
        ok=not any(each.level is Level.ERROR for each in findings),
        reachable=True,
        server_version=found.server,
        schema_version=found.schema,
        known_schema_version=found.known,
        may_read=found.reads if tables or found.schema is None else None,
        may_write=found.writes if tables else None,
        may_create=found.creates,
        leaders=leaders,
        findings=findings,
    )


def _findings(found: DatabaseDescription, leaders: Sequence[LeaderOf]) -> Iterator[Finding]:
    """What is wrong with the tables, what the user may not do, and workspaces without a leader."""
    versions = f"schema {found.schema}, known {found.known}"
    level = Level.NOTE if found.creates else Level.ERROR
    if found.schema is not None and found.schema > found.known:
        yield Finding(
            Level.ERROR,
            "database_schema_newer",
            f"the tables were migrated by a newer cdi-exporter ({versions})",
            "Upgrade this exporter. To go back, stop all exporters and restore a backup.",
        )
    elif found.schema == 0:
        yield Finding(
            level,
            "database_schema_missing",
            "the tables do not exist yet; the first exporter that starts creates them"
            if found.creates
            else "the tables do not exist, and the user may not create them",
            "" if found.creates else f"Grant the user CREATE on the schema. Or: {_OWNER}",
        )
    elif found.schema is not None and found.schema < found.known:
        yield Finding(
            level,
            "database_schema_older",
            f"the first exporter of this version that starts migrates the tables ({versions})"
            if found.creates
            else f"the tables are of an older version ({versions}), and the user may not change"
            " them",
            "Older exporters stop using the database then: replace them soon."
            if found.creates
            else _OWNER,
        )
    if found.schema != 0 and not found.reads:
        yield Finding(
            Level.ERROR, "database_not_readable", "the user may not read the tables", _GRANT
        )
    elif found.schema != 0 and not found.writes:
        yield Finding(
            Level.ERROR,
            "database_not_writable",
            "the user may not write the tables, or the server is a standby",
            f"{_GRANT} The URL must lead to the primary server.",
        )
    if without := [each.workspace for each in leaders if each.leader is None]:
        yield Finding(
            Level.NOTE,
            "no_leader",
            f"no exporter leads {', '.join(without)} now",
            "This is normal if none is running, and for up to 30 seconds after one was lost.",
        )
