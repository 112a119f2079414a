"""The day files: header and parts, family by family; renamed when they are complete."""

import os
import zlib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from cdi_exporter.backfill.lines import FAMILIES
from cdi_exporter.backfill.spool import DayPart
from cdi_exporter.errors import StartError
from cdi_exporter.exposition.families import OPENMETRICS_END
from cdi_exporter.exposition.writer import header
from cdi_exporter.files import FOR_ITS_OWNER

DAY_FILES = "braze-cdi-*.om"
"""The names of the day files."""


def day_file(output: Path, day: str) -> Path:
    """The file of a UTC day."""
    return output / DAY_FILES.replace("*", day)


def write_day(output: Path, day: str, parts: Iterable[DayPart]) -> tuple[int, int]:
    """Write a day's file; how many samples and bytes it has.

    Raises StartError if that fails; then there is none.
    """
    path = day_file(output, day)
    unfinished = path.with_suffix(".om.unfinished")
    samples = 0
    try:
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "xb", opener=_for_its_owner) as file:
            for family, group in groupby(parts, key=lambda part: part.family):
                file.write(header(FAMILIES[family], openmetrics=True))
                for part in group:
                    file.write(zlib.decompress(part.text))
                    samples += part.samples
            file.write(OPENMETRICS_END)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            msg = f"{path} cannot be written: {error.strerror}"
            raise StartError(msg) from error
        raise
    return samples, size


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, FOR_ITS_OWNER)


def remove_days(output: Path) -> int:
    """Remove the files of an earlier job, those that it did not finish too; how many."""
    found = [*output.glob(day_file(output, "????-??-??").name + "*")]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
