"""The database URL: which ones are accepted, and that no password is shown."""

import subprocess
import sys

import pytest

from cdi_exporter.errors import StartError
from cdi_exporter.state.postgres import PostgresStore
from cdi_exporter.state.postgres_url import database_url, place

GOOD = {
    "postgresql://db.example.com/cdi": "cdi at db.example.com",
    "postgres://me@db.example.com:5433/cdi?sslmode=verify-full": "cdi at db.example.com:5433",
    "postgresql://db1:5432,db2:5433/cdi?target_session_attrs=any": "cdi at db1:5432,db2:5433",
    "postgresql://me%40tenant@[::1]:5432,[fe80::1%25eth0]/cdi": (
        "cdi at [::1]:5432,[fe80::1%eth0]"
    ),
    "postgresql:///cdi?host=/run/postgresql&options=-csearch_path%3Dx": "cdi at /run/postgresql",
    "postgresql://%2Frun%2Fpostgresql/cdi": "cdi at /run/postgresql",
    "postgresql://?service=cdi": "of the service cdi",
    "postgresql://db.example.com?dbname=cdi&passfile=/run/pass": "cdi at db.example.com",
    "postgresql:///cdi": "cdi",
    "postgresql://": "at libpq's default address",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_url_without_a_password_is_accepted(url: str) -> None:
    """libpq accepts these URLs. Messages name the database and its hosts, but not the user."""
    assert database_url(url) == url
    assert place(url) == GOOD[url]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db.example.com/cdi",
        "postgresql://me:@db.example.com/cdi",
        "postgresql://:hunter2@db.example.com/cdi",
        "postgresql://db.example.com/cdi?password=hunter2",
        "postgresql://db.example.com/cdi?p%61ssword=hunter2",
        "postgresql://db.example.com/cdi?sslmode=require&sslpassword=hunter2",
    ],
)
def test_a_password_in_the_url_is_refused(url: str) -> None:
    """The message says where to put the password, and does not contain it."""
    with pytest.raises(ValueError, match="PGPASSFILE, PGPASSWORD or a service file") as caught:
        database_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        # Not percent-encoded: libpq would parse part of the password as something else.
        "postgresql://me:hunter2/x@db.example.com/cdi",
        "postgresql://me:1/hunter2@db.example.com/cdi",
        "postgresql://me:1?hunter2@db.example.com/cdi",
        "postgresql://me:1#hunter2@db.example.com/cdi",
        "postgresql://me:1?hunter2=@db.example.com/cdi",
        "postgresql://me:hunter2@x@db.example.com/cdi",
        "postgresql://db.example.com:hunter2/cdi",
        "postgresql://[::1]x:5432/cdi",
        "postgresql://db.example.com/cdi?hunter2",
        "postgresql://db.example.com/c di",
        "postgresql://db.example.com/cdi\n",
        "POSTGRESQL://db.example.com/cdi",
        "mysql://hunter2@db.example.com/cdi",
        "host=db.example.com password=hunter2",
        "",
    ],
)
def test_an_invalid_url_is_refused_without_being_shown(url: str) -> None:
    """An invalid URL may contain a password anywhere."""
    with pytest.raises(ValueError, match=r"expected postgresql://|PGPASSFILE") as caught:
        database_url(url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StartError, match=r"^the database URL ") as start:
        PostgresStore(url, "a")
    assert "hunter2" not in str(start.value)


def test_an_unknown_parameter_is_refused_at_the_start() -> None:
    """libpq knows the valid parameters."""
    with pytest.raises(StartError, match=r'the database URL is not valid: .*"sslmod"'):
        PostgresStore("postgresql://db.example.com/cdi?sslmod=require", "a")


def test_psycopg_is_loaded_only_for_a_database() -> None:
    """Without a database URL, psycopg is not imported."""
    program = (
        "import sys, cdi_exporter.state.postgres as postgres\n"
        "assert 'psycopg' not in sys.modules\n"
        "postgres.PostgresStore('postgresql:///cdi', 'a')\n"
        "assert 'psycopg' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_psycopg_the_command_that_installs_it_is_named() -> None:
    """The message is one line, and appears before any connection is made."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from cdi_exporter.errors import StartError\n"
        "from cdi_exporter.state.postgres import PostgresStore\n"
        "try: PostgresStore('postgresql:///cdi', 'a')\n"
        "except StartError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("a database needs psycopg")
    assert line.endswith("pip install 'cdi-exporter[postgresql]'")
