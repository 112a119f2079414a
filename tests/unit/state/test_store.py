"""The state file: what it holds, when it is refused, and that nothing is lost half way."""

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
    """Where a state file may be."""
    return str(tmp_path / "state.sqlite")


@pytest.fixture
def store(path: str) -> Iterator[Store]:
    """An open, new file."""
    opened = Store(path, time.time)
    yield opened
    opened.close()


def refused(path: str) -> str:
    """Why the file cannot be used."""
    with pytest.raises(StartError) as error:
        Store(path, time.time, patience=0)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"cannot use the state file {path}: ")
    return line.removeprefix(f"cannot use the state file {path}: ")


def test_committed_rows_are_there_after_reopening(path: str, store: Store) -> None:
    """Rows, their order, and that the list was read whole, outlive the process."""
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
    """No ID, name or record is changed on its way through the file."""
    with tempfile.TemporaryDirectory() as folder:
        _comes_back(Store(f"{folder}/state.sqlite", time.time), rows)


def _comes_back(store: Store, rows: dict[str, tuple[str, bool, float | None]]) -> None:
    written = [
        Row("w", key, listed=listed, left_at=left, record=text)
        for key, (text, listed, left) in rows.items()
    ]
    store.commit(written)
    assert store.load("w").rows == written
    store.close()


def test_a_row_written_again_replaces_the_older(store: Store) -> None:
    """A row has one place, by workspace and ID."""
    store.commit([ROW])
    newer = Row("w", "one", listed=True, left_at=9.0, record='{"a":2}')
    store.commit([newer])
    assert store.load("w").rows == [newer]


def test_two_exporters_never_share_a_file(path: str, store: Store) -> None:
    """A file that is open is refused, before anything was written to it too."""
    assert refused(path) == (
        "another process has it open; expected a separate state file for each exporter"
    )
    store.commit([ROW])
    assert "another process has it open" in refused(path)
    store.close()
    Store(path, time.time).close()


def test_a_file_of_a_newer_version_is_refused(path: str) -> None:
    """What a newer exporter wrote is left alone."""
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
    """A file of something else, or one that is broken, is never overwritten."""
    Path(path).write_bytes(content)
    assert "move it away to start with no history" in refused(path)
    assert Path(path).read_bytes() == content


def test_a_corrupted_file_is_refused_and_kept(path: str, store: Store) -> None:
    """Damage in the middle of the file is found at the start."""
    store.commit(Row("w", str(number), listed=True, record="x" * 500) for number in range(100))
    store.close()
    content = bytearray(Path(path).read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    Path(path).write_bytes(content)
    assert "move it away to start with no history" in refused(path)
    assert Path(path).read_bytes() == content


def test_a_sqlite_file_of_another_program_is_refused(path: str) -> None:
    """Tables that are not ours are left alone."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = Path(path).read_bytes()
    assert refused(path) == "it is a SQLite file of another program"
    assert Path(path).read_bytes() == before


def test_a_refused_file_is_not_kept_open(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed at once, not when the error is forgotten; also if its journal is gone."""
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
    """A file that was created beforehand, as containers do, is fine."""
    Path(path).touch()
    Store(path, time.time).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A directory, a device, a link to nowhere or in circles: each is told in a line."""
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


def test_a_relative_path_is_of_where_the_exporter_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is made in the working directory, and written there for good."""
    monkeypatch.chdir(tmp_path)
    store = Store("state.sqlite", time.time)
    monkeypatch.chdir("/")
    store.commit([ROW])
    assert store.load("w").rows == [ROW]
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["state.sqlite"]


def test_only_the_owner_can_read_a_new_file(path: str, store: Store) -> None:
    """Nobody else reads it or its journal; the mode of a file that was there stays."""
    store.commit([ROW])
    files = [Path(path), Path(f"{path}-wal")]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    store.close()
    files[0].chmod(0o640)
    Store(path, time.time).close()
    assert files[0].stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_locks_the_same_file(path: str, store: Store) -> None:
    """By whatever name two exporters call it, they never share a file."""
    link = Path(path).with_name("link")
    link.symlink_to(path)
    assert "another process has it open" in refused(str(link))
    store.commit([ROW])
    store.close()
    Path(f"{path}-other").hardlink_to(path)
    for name in (path, f"{path}-other", str(link)):
        assert refused(name) == "it has a second name (a hard link); expected a file with one name"


def test_a_lock_that_is_about_to_be_freed_is_waited_for(path: str, store: Store) -> None:
    """A restart does not fail because the old process has not quite ended."""
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(Store, path, time.time, patience=60)
        store.commit([ROW])
        store.close()
        again = second.result()
    assert again.load("w").rows == [ROW]
    again.close()


@pytest.mark.parametrize("what", ["", "-wal"])
def test_a_deleted_file_is_reported(path: str, store: Store, what: str) -> None:
    """What goes to a file that was deleted or replaced would be lost in silence."""
    store.commit([ROW])
    kept = Path(f"{path}{what}").rename(f"{path}.kept")
    with pytest.raises(StateError, match="moved, deleted or replaced while it was open"):
        store.commit([ROW])
    Path(f"{path}{what}").touch()
    with pytest.raises(StateError, match="moved, deleted or replaced while it was open"):
        store.commit([ROW])
    kept.rename(f"{path}{what}")
    store.commit([ROW])


def test_steps_are_taken_forward(path: str, store: Store) -> None:
    """A newer exporter brings an older file up to date, with all that it holds."""
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
    """Half an upgrade is none: the older exporter can still read its file."""
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
    """A commit for which there is no room fails whole, and can be made again later."""
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
    """An integration that is forgotten leaves no row, only the time when the last one left."""
    store.commit([ROW, Row("w", "old", listed=True, left_at=1000.0)])
    several = [WorkspaceRow("w", complete=True, forgotten=1000.0), WorkspaceRow("v", forgotten=7.0)]
    store.commit([Row("w", "old", listed=False)], several)
    store.close()
    again = Store(path, time.time)
    assert again.load("w") == StoredWorkspace([ROW], complete=True, forgotten=1000.0)
    assert again.load("v") == StoredWorkspace([], complete=False, forgotten=7.0)
    again.close()


def test_integrations_outlast_a_restart_after_they_left(store: Store) -> None:
    """Whether one is gone for good is known once the list was read, not at the start."""
    old = Row("w", "old", listed=True, left_at=1000.0, record="{}")
    store.commit([ROW, old])
    store.retain(["w"], 1001.0 + REMEMBERED_FOR, REMEMBERED_FOR)
    assert store.load("w").rows == [ROW, old]


def test_a_distrusted_list_of_the_first_format_can_be_trusted_again(path: str) -> None:
    """Its records said only that the list had missed a run, and so for ever."""
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
    """A workspace that comes back within 30 days is as it was, later it is new."""
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


def test_the_first_format_is_read_for_ever(path: str) -> None:
    """A file as the first release wrote it opens, with what it holds."""
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
    """Each reason that the code gives stands in the documentation, with what to do."""
    told = (Path(__file__).parents[3] / "docs" / "state.md").read_text("utf-8")
    text = " ".join(told.split())
    constants = [value for name, value in vars(store_module).items() if name.isupper()]
    sentences = [each for each in constants if isinstance(each, str) and " " in each]
    assert len(sentences) > 5
    for sentence in sentences:
        first = sentence.partition(";")[0].partition(",")[0]
        assert f"`{first}" in text, first
