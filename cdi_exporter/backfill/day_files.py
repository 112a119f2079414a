"""The day files: header and parts, family by family; renamed when they are complete."""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cdi_exporter.backfill.lines import FAMILIES
from cdi_exporter.backfill.spool import DayPart
from cdi_exporter.errors import StartError
from cdi_exporter.exposition.families import OPENMETRICS_END
from cdi_exporter.exposition.writer import header
from cdi_exporter.files import FOR_ITS_OWNER

DAY_FILES = "braze-cdi-*.om"
"""The names of the day files."""


class DayFileTotals(NamedTuple):
    """The size of a file."""

    samples: int
    size: int
    """Bytes."""


def day_file(output: Path, day: str) -> Path:
    """The file of a UTC day."""
    return output / DAY_FILES.replace("*", day)


def write_day(output: Path, day: str, pieces: Iterable[DayPart]) -> DayFileTotals:
    """Write a day's file. Raises StartError if that fails; then there is none."""
    path = day_file(output, day)
    unfinished = path.with_suffix(".om.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "xb", opener=_for_its_owner) as file:
            samples = _write(file, pieces)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        msg = f"{path} cannot be written: {error.strerror}"
        raise StartError(msg) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return DayFileTotals(samples, size)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, FOR_ITS_OWNER)


def remove_days(output: Path) -> int:
    """Remove the files of an earlier job, those that it did not finish too; how many."""
    found = [*output.glob(day_file(output, "????-??-??").name + "*")]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _write(file: BinaryIO, pieces: Iterable[DayPart]) -> int:
    samples = 0
    for count, text in _texts(pieces):
        samples += count
        file.write(text)
    file.write(OPENMETRICS_END)
    return samples


def _texts(pieces: Iterable[DayPart]) -> Iterator[tuple[int, bytes]]:
    family = -1
    for piece in pieces:
        if piece.family != family:
            family = piece.family
            yield 0, header(FAMILIES[family], openmetrics=True)
        yield piece.samples, zlib.decompress(piece.text)
