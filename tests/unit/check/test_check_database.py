"""The report on the database of --state.url, as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from cdi_exporter.check import Report
from cdi_exporter.check.report import CheckedDatabase, Level
from cdi_exporter.check.state_database import diagnose_database
from cdi_exporter.errors import StartError
from cdi_exporter.state import StateError
from cdi_exporter.state.postgres import DatabaseDescription
from tests.harness import scripted, workspace
from tests.unit.check.checking import checked, simulated, text
from tools.check_schema import SCHEMA

GOLDEN = Path(__file__).parent / "golden"
WORKSPACES = ("production", "europe")
LEADERS = {
    "europe": None,
    "left": "exporter-3/00000000",
    "production": "exporter-1/8d42c0de",
}
WORKS = DatabaseDescription("17.6", 1, 1, reads=True, writes=True, creates=True, leaders=LEADERS)


def diagnosed(found: DatabaseDescription) -> tuple[bool, list[tuple[Level, str]]]:
    """Whether an exporter can use the database, and the findings."""
    database = diagnose_database(found, WORKSPACES)
    return database.ok, [(each.level, each.code) for each in database.findings]


def report(describe: DatabaseDescription | Exception, *, offline: bool = False) -> Report:
    """The report on two working workspaces and this database."""

    def ask() -> DatabaseDescription:
        if isinstance(describe, Exception):
            raise describe
        return describe

    answering = [simulated(scripted("one", runs=3)) for _ in WORKSPACES]
    configured = [workspace(name) for name in WORKSPACES]
    return checked(*answering, workspaces=configured, offline=offline, describe=ask)


def of(found: Report) -> CheckedDatabase:
    assert found.database is not None
    return found.database


def test_a_database_that_works() -> None:
    """The report has the version, the permissions and the leader of each configured workspace."""
    found = report(WORKS)
    database = of(found)
    assert found.ok
    assert database.reachable
    assert (database.schema_version, database.known_schema_version) == (1, 1)
    assert database.may_read is database.may_write is database.may_create is True
    assert {each.workspace: each.leader for each in database.leaders} == {
        "production": "exporter-1/8d42c0de",
        "europe": None,
    }
    assert [(each.level, each.code) for each in database.findings] == [(Level.NOTE, "no_leader")]
    assert "no exporter leads europe now" in database.findings[0].text


@pytest.mark.parametrize(
    "error",
    [
        StateError("cannot use the database cdi at db: connection refused; check the URL"),
        StartError("a database needs psycopg, which cannot be loaded (no module)"),
    ],
)
def test_a_database_that_cannot_be_used_is_an_error(error: Exception) -> None:
    """The error has the reason; the workspaces are reported as well."""
    found = report(error)
    database = of(found)
    assert not found.ok
    assert all(each.ok for each in found.workspaces)
    assert not database.reachable
    assert database.schema_version is database.may_read is None
    (finding,) = database.findings
    assert (finding.level, finding.code) == (Level.ERROR, "database_unreachable")
    assert finding.text == str(error)
    assert text(found).endswith("✖ not working: the database\n")


ERROR, NOTE = Level.ERROR, Level.NOTE
EMPTY = replace(WORKS, schema=0, reads=False, writes=False, leaders={})
OLDER = replace(WORKS, known=2, leaders={})


@pytest.mark.parametrize(
    ("found", "ok", "said"),
    [
        pytest.param(EMPTY, True, [(NOTE, "database_schema_missing")], id="no tables"),
        pytest.param(
            replace(EMPTY, creates=False),
            *(False, [(ERROR, "database_schema_missing")]),
            id="no tables, and none may be created",
        ),
        pytest.param(OLDER, True, [(NOTE, "database_schema_older")], id="older"),
        pytest.param(
            replace(OLDER, creates=False),
            *(False, [(ERROR, "database_schema_older")]),
            id="older, and not to be changed",
        ),
        pytest.param(
            replace(WORKS, schema=2, leaders={}),
            *(False, [(ERROR, "database_schema_newer")]),
            id="newer",
        ),
        pytest.param(
            replace(WORKS, schema=None, reads=False, writes=False, leaders={}),
            *(False, [(ERROR, "database_not_readable")]),
            id="the version cannot be read",
        ),
        pytest.param(
            replace(WORKS, reads=False, writes=False, leaders={}),
            *(False, [(ERROR, "database_not_readable")]),
            id="the tables cannot be read",
        ),
        pytest.param(
            replace(WORKS, writes=False),
            *(False, [(ERROR, "database_not_writable"), (NOTE, "no_leader")]),
            id="read-only",
        ),
        pytest.param(
            replace(WORKS, creates=False), True, [(NOTE, "no_leader")], id="least privileges"
        ),
    ],
)
def test_the_findings_follow_the_privileges_of_the_user(
    found: DatabaseDescription, ok: bool, said: Sequence[tuple[Level, str]]
) -> None:
    """An error if an exporter cannot use the database; a note if it will change the tables."""
    assert diagnosed(found) == (ok, said)


def test_without_tables_there_is_no_finding_about_reading_them() -> None:
    """Missing tables have no permissions and no leaders."""
    database = diagnose_database(EMPTY, WORKSPACES)
    assert database.may_read is database.may_write is None
    assert database.leaders == ()


def test_offline_the_database_is_not_contacted() -> None:
    found = report(StateError("it was contacted"), offline=True)
    assert found.ok
    assert found.database is None
    assert "database" not in text(found)


def test_without_the_flag_there_is_no_database() -> None:
    """The text does not mention it; in the JSON it is null."""
    found = checked(simulated(scripted("one", runs=3)))
    assert found.database is None
    assert "database" not in text(found)
    assert json.loads(found.to_json())["database"] is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("database-works", WORKS),
        ("database-missing", EMPTY),
        ("database-newer", replace(WORKS, schema=2, leaders={}, writes=False)),
        ("database-unreachable", StateError("cannot use the database cdi at db: no answer")),
    ],
)
def test_the_table_is_as_it_was_approved(name: str, found: DatabaseDescription | Exception) -> None:
    """The part of the report about the database, at 80 columns."""
    _, _, shown = text(report(found)).partition("\ndatabase")
    assert f"database{shown}" == (GOLDEN / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("found", [WORKS, EMPTY, OLDER, StateError("no")])
def test_the_json_fits_the_schema(found: DatabaseDescription | Exception) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(json.loads(report(found).to_json()))
