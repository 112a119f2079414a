"""`check` as a process with a real database: the user's permissions and the leaders."""

import json
import subprocess
from typing import Any

import pytest

from cdi_exporter.state.postgres_schema import TABLES
from cdi_exporter.state.shared import Group
from tests.e2e.processes import clean_environment, exporter_command
from tests.postgres_server import Database
from tests.shown import serving
from tests.simulator import ScriptedIntegration, Simulator

KEY = "canary-key-5b0e"


def check(url: str, **env: str) -> tuple[int, dict[str, Any]]:
    """The exit status, and the report about the database."""
    simulator = Simulator([ScriptedIntegration("one", "users")], lambda: 1e9, key=KEY)
    with serving(simulator) as braze:
        given = {"BRAZE_REST_ENDPOINT": braze, "BRAZE_API_KEY": KEY, **env}
        done = subprocess.run(
            exporter_command("check", "--output=json", f"--state.url={url}"),
            env=clean_environment(**given),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert all(each["ok"] for each in report["workspaces"])
    assert report["ok"] is report["database"]["ok"]
    return done.returncode, report["database"]


def codes(found: dict[str, Any]) -> list[str]:
    """The codes of the findings."""
    return [each["code"] for each in found["findings"]]


def test_check_creates_nothing_in_an_empty_database(database: Database) -> None:
    """An empty database is accepted, and `check` leaves it empty."""
    status, found = check(database.url())
    assert (status, codes(found)) == (0, ["database_schema_missing"])
    assert (found["schema_version"], found["may_create"]) == (0, True)
    assert database.execute("SELECT 1 FROM pg_tables WHERE tablename LIKE 'cdi_%'") == []


def test_the_leader_is_named(database: Database) -> None:
    """The leader of a workspace is the exporter with an unexpired lease."""
    database.store("exporter-1/8d42c0de").beat([Group(("default",))])
    status, found = check(database.url())
    assert (status, codes(found)) == (0, [])
    assert found["leaders"] == [{"workspace": "default", "leader": "exporter-1/8d42c0de"}]
    assert (found["may_read"], found["may_write"]) == (True, True)


def test_the_documented_privileges_are_enough(database: Database) -> None:
    """With these an exporter leads and commits. Missing write privileges are an error."""
    database.store().beat([])
    user = database.user()
    database.execute(f"GRANT SELECT ON cdi_schema, {', '.join(TABLES)} TO {user}")
    status, found = check(database.url(user))
    assert (status, codes(found)) == (1, ["database_not_writable", "no_leader"])
    database.execute(f"GRANT INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO {user}")
    assert list(database.store("least", user).beat([Group(("default",))]).leases) == ["default"]
    status, found = check(database.url(user))
    assert (status, codes(found)) == (0, [])
    assert found["may_create"] is False
    assert found["leaders"] == [{"workspace": "default", "leader": "least"}]


def test_a_user_without_privileges_is_an_error(database: Database) -> None:
    """This holds whether or not the tables exist."""
    user = database.user()
    status, found = check(database.url(user))
    assert (status, codes(found)) == (1, ["database_schema_missing"])
    database.store().beat([])
    status, found = check(database.url(user))
    assert (status, codes(found)) == (1, ["database_not_readable"])


def test_a_newer_schema_is_an_error(database: Database) -> None:
    """The schema was migrated by a newer exporter."""
    database.store().beat([])
    database.execute("UPDATE cdi_schema SET version = 99")
    status, found = check(database.url())
    assert (status, codes(found)) == (1, ["database_schema_newer"])
    assert found["schema_version"] == 99


@pytest.mark.parametrize("password", ["", "canary-password"])
def test_a_wrong_password_is_an_error(database: Database, password: str) -> None:
    """The reason is shown, but not the password."""
    url = database.secretive("right")
    status, found = check(url, PGPASSWORD=password)
    assert (status, codes(found)) == (1, ["database_unreachable"])
    assert "password" in found["findings"][0]["text"]
    assert check(url, PGPASSWORD="right")[0] == 0


def test_a_database_that_is_down_is_an_error(database: Database) -> None:
    """It is reported within seconds, with the reason."""
    with database.server.stopped():
        status, found = check(database.url())
    assert (status, codes(found)) == (1, ["database_unreachable"])
    assert found["reachable"] is False
