"""One sync run of the simulated workspace, and its JSON.

Times are whole microseconds since the epoch, as Braze writes them, so that what a client
reads from the ISO 8601 text is equal to the truth to the last bit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
WATERMARK_SEARCH = 20
"""`last_updated_at` is the newest watermark of so many runs, so that a list item stays cheap."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(seconds: float) -> int:
    """Unix seconds as whole microseconds."""
    return round(seconds * SECOND)


def iso(moment: int) -> str:
    """A moment in microseconds as Braze writes it: `2026-03-25T12:53:35.183728Z`."""
    text = (_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def iso_or_none(moment: int | None) -> str | None:
    """The same; None if there is no such moment."""
    return None if moment is None else iso(moment)


@dataclass(slots=True, eq=False)
class SimulatedRun:
    """A run from its start to its end; before its finish the workspace shows it as running.

    `status` is the final one, in the words of the API: it may be one nobody documents.
    """

    start: int
    finish: int | None = None
    status: str = "success"
    rows_synced: int | None = None
    rows_failed: int | None = None
    watermark: int | None = None
    _item: bytes | None = None

    def finished_at(self, moment: int) -> bool:
        """Whether the run is over at this moment."""
        return self.finish is not None and self.finish <= moment

    def item(self, moment: int) -> bytes:
        """The run's JSON item in `job_sync_status` at this moment.

        Braze's own client requires a text for `last_timestamp_synced`: it is empty after a run
        that has processed nothing.
        """
        if not self.finished_at(moment):
            running = {"job_status": "running", "sync_start_time": iso(self.start)}
            return self._dump(running)
        if self._item is None:
            self._item = self._dump(
                {
                    "job_status": self.status,
                    "sync_start_time": iso(self.start),
                    "sync_finish_time": iso_or_none(self.finish),
                    "last_timestamp_synced": iso_or_none(self.watermark) or "",
                    "rows_synced": self.rows_synced,
                    "rows_failed_with_errors": self.rows_failed,
                }
            )
        return self._item

    def _dump(self, item: Mapping[str, object]) -> bytes:
        return json.dumps(item).encode()


def newest_watermark(newest: Sequence[SimulatedRun], moment: int) -> int | None:
    """The newest watermark of the runs that are over at this moment."""
    finished = (run for run in newest if run.finished_at(moment))
    return max((run.watermark for run in finished if run.watermark is not None), default=None)
