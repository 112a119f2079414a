"""The memory of a backfill, which does not grow with the range."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from cdi_exporter.backfill import Progress, parse_moment
from tests.unit.backfill.backfilling import backfill, files, options, simulated
from tests.unit.backfill.test_job import every

OURS = [tracemalloc.Filter(inclusive=True, filename_pattern="*/cdi_exporter/backfill/*")]


class MeasuringProgress(Progress):
    """Progress that measures memory: the allocations held while reading, the peak of each stage."""

    def __init__(self) -> None:
        super().__init__(print, monotonic)
        self.held, self.peaks = 0, dict[str, int]()
        self._stage, self._before = "", 0

    def start(self, stage: str, total: int) -> None:
        self._stage = stage
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    def at(self, done: int, total: int, seconds: float | None = None) -> None:
        if self._stage == "reading" and (done % 20 == 0 or done == total):
            found = tracemalloc.take_snapshot().filter_traces(OURS).statistics("filename")
            self.held = max(self.held, sum(each.size for each in found))

    def end(self) -> None:
        self.peaks[self._stage] = tracemalloc.get_traced_memory()[1] - self._before


@pytest.fixture
def tracing() -> Iterator[None]:
    """Trace memory allocations."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def measured(output: Path, days: int) -> MeasuringProgress:
    """Measure the memory of a backfill of this many days."""
    progress = MeasuringProgress()
    integration = every(1800.0, days=days + 2)
    chosen = options(output, since=parse_moment(f"{days}d"), step=1800.0)
    backfill(chosen, simulated(integration), progress=progress)
    assert len(files(output)) == days + 1
    return progress


@pytest.mark.slow
@pytest.mark.usefixtures("tracing")
def test_thirty_days_need_no_more_memory_than_five(tmp_path: Path) -> None:
    """Neither the runs read nor the lines written are kept in memory."""
    measured(tmp_path / "warm", 3)
    short, long = (measured(tmp_path / str(days), days) for days in (5, 30))
    assert long.held < 1.5 * short.held + 20_000
    for stage in ("sampling", "writing"):
        assert long.peaks[stage] < 1.5 * short.peaks[stage] + 50_000, stage
