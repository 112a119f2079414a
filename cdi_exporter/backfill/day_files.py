"""Writes the states of integrations as OpenMetrics lines, and joins these to one file per day.

Values and labels are written like those of the exposition. Added are the labels that Prometheus
would add to the target, and a timestamp in seconds on every line.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from cdi_exporter import catalog
from cdi_exporter.backfill.plan import Day
from cdi_exporter.backfill.sampling import PastState
from cdi_exporter.backfill.spool import DayPart
from cdi_exporter.catalog import Metric
from cdi_exporter.errors import StartError
from cdi_exporter.exposition.families import OPENMETRICS_END
from cdi_exporter.exposition.samples import Point, integration_points, printable
from cdi_exporter.exposition.writer import escaped, header, number
from cdi_exporter.files import FOR_ITS_OWNER
from cdi_exporter.snapshot import Facts, IntegrationSnapshot

NOT_FROM_RUNS = frozenset(
    {
        catalog.NEXT_SCHEDULED_SYNC,
        catalog.SCHEDULE_LOST,
        catalog.INTEGRATION_LAST_REFRESH,
        catalog.INTEGRATION_UP,
        catalog.INTEGRATION_INFO,
    }
)
"""Families without a known past: a history contains only runs."""

FAMILIES = tuple(each for each in catalog.PER_INTEGRATION if each not in NOT_FROM_RUNS)
"""The families of the day files, in order."""

LEVEL = 1
"""Compression level: the lines repeat so much that a higher one saves little."""

DAY_FILES = "braze-cdi-*.om"
"""The names of the day files."""

Segment = tuple[Sequence[int], Facts]
"""Instants at which the same facts hold."""


class Lines:
    """Writes the lines of the integrations of one workspace, with `extra` labels."""

    def __init__(self, workspace: str, extra: Mapping[str, str]) -> None:
        self._workspace, self._extra = workspace, extra
        self._series: dict[tuple[object, ...], str] = {}

    def of_family(self, metric: Metric, segments: Iterable[Segment]) -> tuple[int, str]:
        """The number of samples of a family at these instants, and their lines.

        OpenMetrics requires the lines of one metric together, in the order of their times.
        """
        metrics: dict[tuple[tuple[str, str], ...], list[str]] = {}
        count = 0
        for instants, facts in segments:
            points = integration_points(metric, IntegrationSnapshot(facts))
            for labels, several in groupby(points, key=lambda point: point.labels):
                starts = [self._start(metric, facts, point) for point in several]
                metrics.setdefault(labels, []).append(_lines(starts, instants))
                count += len(starts) * len(instants)
        return count, "".join(text for texts in metrics.values() for text in texts)

    def _start(self, metric: Metric, facts: Facts, point: Point) -> str:
        """A line without its timestamp."""
        key = (metric.name, point.suffix, point.labels)
        if key not in self._series:
            names = (self._workspace, facts.id, facts.name)
            identity = zip(catalog.INTEGRATION, map(printable, names), strict=True)
            labels = {**self._extra, **dict(identity), **dict(point.labels)}
            text = ",".join(f'{name}="{escaped(value)}"' for name, value in sorted(labels.items()))
            self._series[key] = f"{metric.name}{point.suffix}{{{text}}}"
        return f"{self._series[key]} {number(point.value)} "


def _lines(starts: Sequence[str], instants: Sequence[int]) -> str:
    if len(starts) == 1:
        (start,) = starts
        return start + f"\n{start}".join(map(str, instants)) + "\n"
    return "".join(f"{start}{instant}\n" for instant in instants for start in starts)


def day_parts(lines: Lines, past: Iterable[PastState], days: Iterable[Day]) -> Iterator[DayPart]:
    """The compressed lines of one integration, day by day and family by family."""
    for (day, _), segments in segments_of(past, days):
        for family, metric in enumerate(FAMILIES):
            count, text = lines.of_family(metric, segments)
            if count:
                yield DayPart(day, family, count, zlib.compress(text.encode(), LEVEL))


def segments_of(
    past: Iterable[PastState], days: Iterable[Day]
) -> Iterator[tuple[Day, list[Segment]]]:
    """The segments of each day; a day before the first state has none."""
    states = iter(past)
    coming = next(states, None)
    facts: Facts | None = None
    for day in days:
        _, instants = day
        segments: list[Segment] = []
        since = instants.start
        while coming is not None and coming[0] < instants.stop:
            if facts is not None and coming[0] > since:
                segments.append((range(since, coming[0], instants.step), facts))
            since, facts = coming
            coming = next(states, None)
        if facts is not None:
            segments.append((range(since, instants.stop, instants.step), facts))
            yield day, segments


def day_file(output: Path, day: str) -> Path:
    """The file of a UTC day."""
    return output / DAY_FILES.replace("*", day)


def write_day(output: Path, day: str, parts: Iterable[DayPart]) -> tuple[int, int]:
    """Write a day's file; return its number of samples and bytes.

    Raises StartError if that fails; then there is no file.
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
    """Remove the files of an earlier job, also unfinished ones; return how many."""
    found = [*output.glob(day_file(output, "????-??-??").name + "*")]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
