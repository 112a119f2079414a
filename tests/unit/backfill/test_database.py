"""The spool file of a backfill: in use, damaged, of another version, read-only or full."""

import os
import sqlite3
from pathlib import Path

import pytest

from cdi_exporter.backfill import open_spool
from cdi_exporter.backfill.spool import NAME, VERSION, Chosen, DayPart, Spool
from cdi_exporter.errors import StartError


def test_two_backfills_never_share_a_folder(tmp_path: Path) -> None:
    """The second backfill reports it and changes nothing."""
    with (
        open_spool(tmp_path),
        pytest.raises(StartError, match=r"is in use by another backfill$"),
        open_spool(tmp_path),
    ):
        pass
    with open_spool(tmp_path):
        pass


def test_the_error_of_a_damaged_spool_names_the_remedy(tmp_path: Path) -> None:
    """The spool is kept, because reading its data may have taken hours."""
    (tmp_path / NAME).write_bytes(b"no database at all" * 500)
    with (
        pytest.raises(StartError, match="is damaged: delete it; everything is then read again"),
        open_spool(tmp_path),
    ):
        pass
    assert (tmp_path / NAME).read_bytes().startswith(b"no database")


@pytest.mark.parametrize(
    "statement",
    [
        f"PRAGMA user_version = {VERSION - 1}",
        f"PRAGMA user_version = {VERSION + 1}",
        "PRAGMA application_id = 1",
    ],
)
def test_a_spool_of_another_version_is_not_touched(tmp_path: Path, statement: str) -> None:
    """A database of another program is not touched either."""
    with open_spool(tmp_path):
        pass
    with sqlite3.connect(tmp_path / NAME) as database:
        database.execute(statement)
    database.close()
    with (
        pytest.raises(StartError, match="was written by another version: delete it"),
        open_spool(tmp_path),
    ):
        pass


@pytest.mark.parametrize("content", [b"no database at all" * 500, b""])
def test_a_refused_spool_is_not_kept_open(tmp_path: Path, content: bytes) -> None:
    """The file is closed at once, even while the error is still referenced."""
    spool = tmp_path / NAME
    spool.write_bytes(content)
    if not content:
        with sqlite3.connect(spool) as database:
            database.execute("PRAGMA user_version = 2")
            database.execute("CREATE TABLE other (one TEXT)")
        database.close()
    with pytest.raises(StartError) as error, open_spool(tmp_path):
        pass
    opened = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    assert str(spool) not in opened, f"still open after {error}"


def test_a_folder_that_cannot_be_created_is_one_line_of_error(tmp_path: Path) -> None:
    """The line names the folder and the reason."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(StartError, match="file/out cannot be used: Not a directory"),
        open_spool(tmp_path / "file" / "out"),
    ):
        pass


def test_a_full_disk_is_one_line_and_no_change_is_half_written(tmp_path: Path) -> None:
    """The earlier data is kept and can be resumed."""
    one = Chosen(0, 0, "w", "one", "one")

    def keep(spool: Spool, *parts: tuple[str, bytes]) -> None:
        spool.keep_parts(one, (DayPart(day, 0, 1, text) for day, text in parts))

    with open_spool(tmp_path) as spool:
        keep(spool, ("2026-09-24", b"kept"))

    def fill() -> None:
        with open_spool(tmp_path) as spool:
            (pages,) = spool._db.execute("PRAGMA page_count").fetchone()
            spool._db.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(sqlite3.Error):
                keep(spool, ("2026-09-25", b"fits"), ("2026-09-26", bytes(1_000_000)))
            assert spool.unwritten() == ["2026-09-24"]
            keep(spool, ("2026-09-25", b"fits"))
            keep(spool, ("2026-09-26", bytes(1_000_000)))

    with pytest.raises(StartError, match="cannot be used: database or disk is full"):
        fill()
    with open_spool(tmp_path) as spool:
        assert spool.unwritten() == ["2026-09-24", "2026-09-25"]
