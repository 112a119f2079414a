"""One sync run of the simulated workspace, and its JSON.

Times are whole microseconds since the epoch, as Braze writes them. So the time that a client reads
from the ISO 8601 text equals the simulated time exactly.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
WATERMARK_SEARCH = 20
"""Newest runs that are searched for `last_updated_at`; with more, a list item would cost more."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(seconds: float) -> int:
    """Unix seconds as whole microseconds."""
    return round(seconds * SECOND)


def iso(moment: int) -> str:
    """A moment in microseconds as Braze writes it: `2026-03-25T12:53:35.183728Z`."""
    text = (_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def iso_or_none(moment: int | None) -> str | None:
    """The moment as `iso` writes it, or None."""
    return None if moment is None else iso(moment)


@dataclass(slots=True, eq=False)
class SimulatedRun:
    """A run from its start to its end; before its finish the workspace shows it as running.

    `status` is the final status as the API returns it, which may be an undocumented one.
    """

    start: int
    finish: int | None = None
    status: str = "success"
    rows_synced: int | None = None
    rows_failed: int | None = None
    watermark: int | None = None
    _item: bytes | None = None

    def finished_at(self, moment: int) -> bool:
        """Whether the run is finished at this moment."""
        return self.finish is not None and self.finish <= moment

    def item(self, moment: int) -> bytes:
        """The run's JSON item in `job_sync_status` at this moment.

        `last_timestamp_synced` is an empty text after a run that processed nothing, because
        Braze's own client requires a text.
        """
        if not self.finished_at(moment):
            running = {"job_status": "running", "sync_start_time": iso(self.start)}
            return self._dump(running)
        if self._item is None:
            finished = {
                "job_status": self.status,
                "sync_start_time": iso(self.start),
                "sync_finish_time": iso_or_none(self.finish),
                "last_timestamp_synced": iso_or_none(self.watermark) or "",
                "rows_synced": self.rows_synced,
                "rows_failed_with_errors": self.rows_failed,
            }
            self._item = self._dump(finished)
        return self._item

    def _dump(self, item: Mapping[str, object]) -> bytes:
        return json.dumps(item).encode()


def newest_watermark(newest: Sequence[SimulatedRun], moment: int) -> int | None:
    """The newest watermark of the runs that are finished at this moment."""
    finished = (run for run in newest if run.finished_at(moment))
    return max((run.watermark for run in finished if run.watermark is not None), default=None)
