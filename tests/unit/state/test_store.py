"""The state file: its content, when it is refused, and that failed writes lose nothing."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.errors import StartError
from cdi_exporter.state import Row, StateError, Store, StoredWorkspace, WorkspaceRow
from cdi_exporter.state import store as store_module
from cdi_exporter.state.schema import APPLICATION_ID, STEPS
from cdi_exporter.workspace import REMEMBERED_FOR
from cdi_exporter.workspace.record import Record

ROW = Row("w", "one", listed=True, record='{"a":1}')


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path of the state file."""
    return str(tmp_path / "state.sqlite")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    """A new state file, opened."""
    opened = Store(path, time.time)
    yield opened
    opened.close()


def refused(path: str) -> str:
    """The reason why the file is refused."""
    with pytest.raises(StartError) as error:
        Store(path, time.time, patience=0)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"cannot use the state file {path}: ")
    return line.removeprefix(f"cannot use the state file {path}: ")


def test_committed_rows_are_kept_after_reopening(path: str, store: Store) -> None:
    """Rows, their order and the complete list are still there after a restart."""
    rows = [ROW, Row("w", "a gone one", listed=True, left_at=5.5, record="{}")]
    store.commit(
        [*rows, Row("other", "x", listed=False, record="{}")], [WorkspaceRow("w", complete=True)]
    )
    store.close()
    again = Store(path, time.time)
    assert again.load("w").rows == rows
    assert again.load("w").complete
    assert again.load("other").rows == [Row("other", "x", listed=False, record="{}")]
    assert not again.load("other").complete
    assert again.load("unknown").rows == []
    again.close()


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(names, st.tuples(names, st.booleans(), st.none() | st.floats(0, 4e9))))
def test_any_text_is_read_back_unchanged(rows: dict[str, tuple[str, bool, float | None]]) -> None:
    """No ID, name or record is changed by writing and reading."""
    with tempfile.TemporaryDirectory() as folder:
        _check_round_trip(Store(f"{folder}/state.sqlite", time.time), rows)


def _check_round_trip(store: Store, rows: dict[str, tuple[str, bool, float | None]]) -> None:
    written = [
        Row("w", key, listed=listed, left_at=left, record=text)
        for key, (text, listed, left) in rows.items()
    ]
    store.commit(written)
    assert store.load("w").rows == written
    store.close()


def test_a_row_written_again_replaces_the_older(store: Store) -> None:
    """Rows are identified by workspace and ID."""
    store.commit([ROW])
    newer = Row("w", "one", listed=True, left_at=9.0, record='{"a":2}')
    store.commit([newer])
    assert store.load("w").rows == [newer]


def test_two_exporters_never_share_a_file(path: str, store: Store) -> None:
    """A file that is open is refused, even before anything was written to it."""
    assert refused(path) == (
        "another process has it open; expected a separate state file for each exporter"
    )
    store.commit([ROW])
    assert "another process has it open" in refused(path)
    store.close()
    Store(path, time.time).close()


def test_a_file_of_a_newer_version_is_refused(path: str) -> None:
    """A file of a newer exporter is not changed."""
    Store(
        path, time.time, steps=[*STEPS, lambda connection: connection.execute("SELECT 1")]
    ).close()
    before = Path(path).read_bytes()
    known = len(STEPS)
    assert refused(path) == (
        f"it was written by a newer cdi-exporter (format {known + 1}, known {known});"
        " use that version, or another state file"
    )
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all", b"x" * 8192, b"SQLite format 3\0" * 99])
def test_a_file_that_is_not_a_database_is_refused_and_left_unchanged(
    path: str, content: bytes
) -> None:
    """A file that is not a state file, or is damaged, is never overwritten."""
    Path(path).write_bytes(content)
    assert "move it away to start with no history" in refused(path)
    assert Path(path).read_bytes() == content


def test_a_corrupted_file_is_refused_and_kept(path: str, store: Store) -> None:
    """Damage in the middle of the file is found at startup."""
    store.commit(Row("w", str(number), listed=True, record="x" * 500) for number in range(100))
    store.close()
    content = bytearray(Path(path).read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    Path(path).write_bytes(content)
    assert "move it away to start with no history" in refused(path)
    assert Path(path).read_bytes() == content


def test_a_sqlite_file_of_another_program_is_refused(path: str) -> None:
    """The tables of another program are not changed."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = Path(path).read_bytes()
    assert refused(path) == "it is a SQLite file of another program"
    assert Path(path).read_bytes() == before


def test_a_refused_file_is_not_kept_open(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed at once, even if its WAL file is missing."""
    Store(path, time.time).close()

    def gone(connection: sqlite3.Connection, *rest: object) -> None:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        Path(f"{path}-wal").unlink()

    monkeypatch.setattr(store_module, "_prepare", gone)
    with pytest.raises(StartError, match="No such file") as error:
        Store(path, time.time)
    opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert path not in opened, f"still open after {error}"


def test_an_empty_file_is_a_new_one(path: str) -> None:
    """Containers may create the file in advance."""
    Path(path).touch()
    Store(path, time.time).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """Directories, devices and broken or circular links are each reported in one line."""
    assert refused(str(tmp_path)) == "it is a directory; expected a file"
    assert refused("/dev/null") == "it is not a regular file"
    missing = tmp_path / "missing"
    assert refused(str(missing / "s")) == f"the directory {missing} does not exist"
    link, circle = tmp_path / "link", tmp_path / "circle"
    link.symlink_to(missing / "s")
    assert refused(str(link)) == f"the directory {missing} does not exist"
    circle.symlink_to(circle)
    assert refused(str(circle)) == "Too many levels of symbolic links"
    assert refused(str(tmp_path / ("x" * 300))) == "File name too long"


def test_a_relative_path_refers_to_the_initial_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is created in the working directory and stays there after a chdir."""
    monkeypatch.chdir(tmp_path)
    store = Store("state.sqlite", time.time)
    monkeypatch.chdir("/")
    store.commit([ROW])
    assert store.load("w").rows == [ROW]
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["state.sqlite"]


def test_only_the_owner_can_read_a_new_file(path: str, store: Store) -> None:
    """This includes the WAL file. The mode of an existing file is not changed."""
    store.commit([ROW])
    files = [Path(path), Path(f"{path}-wal")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    store.close()
    files[0].chmod(0o640)
    Store(path, time.time).close()
    assert files[0].stat().st_mode & 0o777 == 0o640


def test_a_link_to_an_open_file_is_refused(path: str, store: Store) -> None:
    """Two exporters cannot open one file by different names."""
    link = Path(path).with_name("link")
    link.symlink_to(path)
    assert "another process has it open" in refused(str(link))
    store.commit([ROW])
    store.close()
    Path(f"{path}-other").hardlink_to(path)
    for name in (path, f"{path}-other", str(link)):
        assert refused(name) == "it has a second name (a hard link); expected a file with one name"


def test_opening_waits_for_a_lock_that_is_about_to_be_released(path: str, store: Store) -> None:
    """A restart does not fail while the old process is still stopping."""
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(Store, path, time.time, patience=60)
        store.commit([ROW])
        store.close()
        again = second.result()
    assert again.load("w").rows == [ROW]
    again.close()


@pytest.mark.parametrize("what", ["", "-wal"])
def test_a_deleted_file_is_reported(path: str, store: Store, what: str) -> None:
    """Otherwise writes to a deleted or replaced file would be lost silently."""
    store.commit([ROW])
    kept = Path(f"{path}{what}").rename(f"{path}.kept")
    with pytest.raises(StateError, match="moved, deleted or replaced while it was open"):
        store.commit([ROW])
    Path(f"{path}{what}").touch()
    with pytest.raises(StateError, match="moved, deleted or replaced while it was open"):
        store.commit([ROW])
    kept.rename(f"{path}{what}")
    store.commit([ROW])


def test_an_older_file_is_upgraded_step_by_step(path: str, store: Store) -> None:
    """A newer exporter upgrades an older file and keeps its content."""
    store.commit([ROW])
    store.close()

    def rename(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE integrations SET id = 'new ' || id")

    newer = Store(path, time.time, steps=[*STEPS, rename])
    assert [row.id for row in newer.load("w").rows] == ["new one"]
    newer.close()
    again = Store(path, time.time, steps=[*STEPS, rename])
    assert [row.id for row in again.load("w").rows] == ["new one"]
    again.close()


def test_a_step_that_fails_changes_nothing(path: str, store: Store) -> None:
    """An upgrade is all or nothing: the older exporter can still read its file."""
    store.commit([ROW])
    store.close()

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM integrations")
        connection.execute("SELECT * FROM no_such_table")

    with pytest.raises(StartError, match="no such table"):
        Store(path, time.time, steps=[*STEPS, broken])
    again = Store(path, time.time)
    assert again.load("w").rows == [ROW]
    again.close()


def test_a_full_disk_loses_nothing(store: Store) -> None:
    """A commit without enough space fails as a whole and can be repeated later."""
    store.commit([ROW])
    store._connection.execute("PRAGMA max_page_count = 8")
    many = [Row("w", f"{number}", listed=True, record="x" * 3000) for number in range(50)]
    with pytest.raises(StateError, match="full"):
        store.commit([Row("w", "one", listed=True, record="changed"), *many])
    assert store.load("w").rows == [ROW]
    store._connection.execute("PRAGMA max_page_count = 1000")
    store.commit(many)
    assert store.load("w").rows == [ROW, *many]


def test_a_forgotten_row_is_deleted(path: str, store: Store) -> None:
    """Only the time when the last integration left is kept."""
    store.commit([ROW, Row("w", "old", listed=True, left_at=1000.0)])
    several = [WorkspaceRow("w", complete=True, forgotten=1000.0), WorkspaceRow("v", forgotten=7.0)]
    store.commit([Row("w", "old", listed=False)], several)
    store.close()
    again = Store(path, time.time)
    assert again.load("w") == StoredWorkspace([ROW], complete=True, forgotten=1000.0)
    assert again.load("v") == StoredWorkspace([], complete=False, forgotten=7.0)
    again.close()


def test_removed_integrations_are_kept_at_a_restart(store: Store) -> None:
    """Removed integrations are only forgotten after the list was read, not at startup."""
    old = Row("w", "old", listed=True, left_at=1000.0, record="{}")
    store.commit([ROW, old])
    store.retain(["w"], 1001.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    assert store.load("w").rows == [ROW, old]


def test_a_distrusted_list_of_the_first_format_can_be_trusted_again(path: str) -> None:
    """Records of the first format had no time for this, so the list stayed distrusted."""
    dump = Path(__file__).with_name("format-1.sql").read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(dump.replace('"zero_served":true', '"missed_by_list":true', 1))
    connection.close()
    store = Store(path, time.time)
    first, left = (Record.from_json(row.record or "") for row in store.load("production").rows)
    assert first.knowledge.list_missed_at == first.seen_server == 1790000060.0
    assert left.knowledge.list_missed_at is None
    assert "missed_by_list" not in (store.load("production").rows[0].record or "")
    store.close()


def test_a_workspace_that_is_not_configured_is_kept_for_30_days(store: Store) -> None:
    """A workspace that returns within 30 days continues; later it is new."""
    store.retain(["w", "v"], 0.0, REMEMBERED_FOR)
    store.commit([ROW], [WorkspaceRow("w", complete=True)])
    store.retain(["v"], 1000.0, REMEMBERED_FOR)
    store.retain(["v"], 900.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    assert store.load("w").rows == [ROW]
    store.retain(["w", "v"], 900.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    store.retain(["w", "v"], 5000.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    assert store.load("w").complete
    store.retain(["v"], 6000.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    store.retain(["v"], 6001.0 + 2 * REMEMBERED_FOR, REMEMBERED_FOR)
    assert store.load("w").rows == []
    assert not store.load("w").complete


def test_a_file_of_the_first_release_is_read(path: str) -> None:
    """A file written by the first release can be opened."""
    dump = Path(__file__).with_name("format-1.sql").read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(dump)
    connection.close()
    store = Store(path, time.time)
    first, left = store.load("production").rows
    assert (first.id, first.listed, first.left_at) == ("5f2c", True, None)
    assert (left.id, left.left_at) == ("a-gone-one", 1795510000.5)
    assert store.load("production").complete
    store.close()


def test_every_refusal_is_documented() -> None:
    """Each reason in the code is described in the documentation."""
    documentation = (Path(__file__).parents[3] / "docs" / "state.md").read_text("utf-8")
    text = " ".join(documentation.split())
    constants = [value for name, value in vars(store_module).items() if name.isupper()]
    sentences = [each for each in constants if isinstance(each, str) and " " in each]
    assert len(sentences) > 5
    for sentence in sentences:
        first = sentence.partition(";")[0].partition(",")[0]
        assert f"`{first}" in text, first
