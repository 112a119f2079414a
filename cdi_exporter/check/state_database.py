"""Checks the database of `--state.url`: its tables, and what its user may do with them."""

from collections.abc import Callable, Iterator, Sequence

from cdi_exporter.check.report import CheckedDatabase, Finding, LeaderOf, Level
from cdi_exporter.errors import StartError
from cdi_exporter.state import StateError
from cdi_exporter.state.postgres import DatabaseDescription
from cdi_exporter.threads import in_thread

Describe = Callable[[], DatabaseDescription]
"""Queries the database. It blocks, and raises StateError or StartError."""

_GRANT = (
    "Grant the user SELECT on cdi_schema, and SELECT, INSERT, UPDATE and DELETE on the other tables"
    " cdi_*."
)
_OWNER = "Start one exporter as the user that owns the tables, or let this user own them."


async def check_database(
    describe: Describe | None, workspaces: Sequence[str]
) -> CheckedDatabase | None:
    """The report on the database; None without one. Nothing in the database is changed."""
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
    """The report on a reachable database, for these workspaces."""
    leaders: tuple[LeaderOf, ...] = ()
    if found.schema == found.known and found.reads:
        leaders = tuple(LeaderOf(name, found.leaders.get(name)) for name in workspaces)
    findings = tuple(_findings(found, leaders))
    return CheckedDatabase(
        ok=not any(each.level is Level.ERROR for each in findings),
        reachable=True,
        server_version=found.server,
        schema_version=found.schema,
        known_schema_version=found.known,
        may_read=None if found.schema == 0 else found.reads,
        may_write=found.writes if found.schema else None,
        may_create=found.creates,
        leaders=leaders,
        findings=findings,
    )


def _findings(found: DatabaseDescription, leaders: Sequence[LeaderOf]) -> Iterator[Finding]:
    """Problems of the tables' version, missing permissions, and workspaces without a leader."""
    versions = f"schema {found.schema}, known {found.known}"
    # An exporter that may create tables corrects a missing or older schema when it starts.
    level = Level.NOTE if found.creates else Level.ERROR
    if found.schema is not None and found.schema > found.known:
        text = f"the tables were migrated by a newer cdi-exporter ({versions})"
        advice = "Upgrade this exporter. To go back, stop all exporters and restore a backup."
        yield Finding(Level.ERROR, "database_schema_newer", text, advice)
    elif found.schema == 0:
        text = "the tables do not exist, and the user may not create them"
        advice = f"Grant the user CREATE on the schema. Or: {_OWNER}"
        if found.creates:
            text = "the tables do not exist yet; the first exporter that starts creates them"
            advice = ""
        yield Finding(level, "database_schema_missing", text, advice)
        return
    elif found.schema is not None and found.schema < found.known:
        text = f"the tables are of an older version ({versions}), and the user may not change them"
        advice = _OWNER
        if found.creates:
            migrated = "the first exporter of this version that starts migrates the tables"
            text = f"{migrated} ({versions})"
            advice = "Older exporters stop using the database then: replace them soon."
        yield Finding(level, "database_schema_older", text, advice)
    if not found.reads:
        text = "the user may not read the tables"
        yield Finding(Level.ERROR, "database_not_readable", text, _GRANT)
    elif not found.writes:
        text = "the user may not write the tables, or the server is a standby"
        advice = f"{_GRANT} The URL must lead to the primary server."
        yield Finding(Level.ERROR, "database_not_writable", text, advice)
    if without := [each.workspace for each in leaders if each.leader is None]:
        text = f"no exporter leads {', '.join(without)} now"
        advice = "This is normal if none is running, and for up to 30 seconds after one was lost."
        yield Finding(Level.NOTE, "no_leader", text, advice)
