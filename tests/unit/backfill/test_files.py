"""Day files, which are written completely or not at all."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cdi_exporter import catalog
from cdi_exporter.backfill.day_files import FAMILIES, remove_days, write_day
from cdi_exporter.backfill.spool import NAME, DayPart, open_spool
from cdi_exporter.errors import StartError

DAY = "2026-09-24"
LINES = b'braze_cdi_syncs_running{workspace="w"} 1.0 1790208000\n'


def piece(family: int = FAMILIES.index(catalog.SYNCS_RUNNING), text: bytes = LINES) -> DayPart:
    """A part of a day's file."""
    return DayPart(DAY, family, text.count(b"\n"), zlib.compress(text))


def test_a_file_is_openmetrics_family_by_family(tmp_path: Path) -> None:
    """Each family has one header, and the end marker is at the end."""
    other = LINES.replace(b"_running", b"_total").replace(b'="w"', b'="w",status="error"')
    written = write_day(
        tmp_path,
        DAY,
        [
            piece(),
            piece(text=LINES.replace(b"w", b"v")),
            piece(FAMILIES.index(catalog.SYNCS), other),
        ],
    )
    (path,) = tmp_path.iterdir()
    assert path.name == f"braze-cdi-{DAY}.om"
    text = path.read_text()
    assert written == (3, len(text))
    assert text.count("# TYPE braze_cdi_syncs_running gauge\n") == 1
    assert text.endswith("\n# EOF\n")
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    families = [family.name for family in parsed]
    assert families == ["braze_cdi_syncs_running", "braze_cdi_syncs"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Neither a partial file nor a temporary file is left."""

    def broken() -> Iterator[DayPart]:
        yield piece()
        raise error

    with pytest.raises(error):
        write_day(tmp_path, DAY, broken())
    assert not [*tmp_path.iterdir()]


def test_an_earlier_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    """A file is replaced in one step."""
    write_day(tmp_path, DAY, [piece()])
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()

    def broken() -> Iterator[DayPart]:
        yield piece(12)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_day(tmp_path, DAY, broken())
    assert path.read_bytes() == before


def test_an_unwritable_folder_is_one_line_of_error(tmp_path: Path) -> None:
    """The line contains the file and the reason."""
    with pytest.raises(StartError, match=r"2026-09-24\.om cannot be written: No such file"):
        write_day(tmp_path / "gone", DAY, [piece()])


def test_only_the_files_of_an_earlier_job_are_removed(tmp_path: Path) -> None:
    """Its unfinished files are also removed."""
    write_day(tmp_path, DAY, [piece()])
    (tmp_path / f"braze-cdi-{DAY}.om.unfinished").touch()
    others = [tmp_path / "notes.om", tmp_path / "backfill.spool", tmp_path / "braze-cdi-all.om"]
    for path in others:
        path.touch()
    assert remove_days(tmp_path) == 2
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    """Spool, journal and day files contain names and row counts. The umask does not matter."""
    before = os.umask(0)
    try:
        (tmp_path / f"braze-cdi-{DAY}.om.unfinished").touch(0o644)
        with open_spool(tmp_path) as spool:
            spool.finish()
            write_day(tmp_path, DAY, [piece()])
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    names = {NAME, f"{NAME}-wal", f"braze-cdi-{DAY}.om"}
    assert modes == dict.fromkeys(names, 0o600)
