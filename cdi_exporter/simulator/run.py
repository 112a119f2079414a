"""One sync run of the simulated workspace: what Braze would say of it, and what is true.

Times are whole microseconds since the epoch, as Braze writes them, so that what a client
reads from the ISO 8601 text is equal to the truth to the last bit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cdi_exporter.model import Run, Status

SECOND = 1_000_000
WATERMARK_SEARCH = 20
"""The newest runs among which `last_updated_at` is looked for."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(seconds: float) -> int:
    """Unix seconds as whole microseconds."""
    return round(seconds * SECOND)


def iso(moment: int) -> str:
    """A moment in microseconds as Braze writes it: `2026-03-25T12:53:35.183728Z`."""
    text = (_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


def iso_or_none(moment: int | None) -> str | None:
    """The same, where there may be no such moment."""
    return None if moment is None else iso(moment)


@dataclass(slots=True, eq=False)
class SimulatedRun:
    """A run from its start to its end; before its finish the workspace shows it as running.

    `status` is the final one, in the words of the API: it may be one nobody documents.
    `overrides` replaces fields of the JSON item, for what Braze may get wrong; a value of
    `...` leaves the field out. The truth does not follow them.
    """

    start: int
    finish: int | None = None
    status: str = "success"
    rows_synced: int | None = None
    rows_failed: int | None = None
    watermark: int | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    _item: bytes | None = None

    def end(
        self,
        finish: float,
        status: str = "success",
        *,
        rows_synced: int | None = 0,
        rows_failed: int | None = 0,
        watermark: float | None = None,
    ) -> None:
        """Let the run end at `finish` (Unix seconds), or report it again with other numbers."""
        self.finish = micros(finish)
        self.status = status
        self.rows_synced = rows_synced
        self.rows_failed = rows_failed
        self.watermark = None if watermark is None else micros(watermark)
        self._item = None

    def finished_at(self, moment: int) -> bool:
        """Whether the run is over at this moment."""
        return self.finish is not None and self.finish <= moment

    def item(self, moment: int) -> bytes:
        """The run's JSON item in `job_sync_status` at this moment.

        Braze's own client wants a text for `last_timestamp_synced`: it is empty after a run that
        has processed nothing.
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
        if self.overrides:
            merged = {**item, **self.overrides}
            item = {name: value for name, value in merged.items() if value is not ...}
        return json.dumps(item).encode()

    def state(self, moment: int) -> Run:
        """The truth of the run at this moment."""
        start = self.start / SECOND
        if self.finish is None or self.finish > moment:
            return Run(Status.RUNNING, start=start)
        status = known_status(self.status)
        return Run(
            status,
            start=start,
            finish=self.finish / SECOND,
            watermark=None if self.watermark is None else self.watermark / SECOND,
            rows_synced=self.rows_synced,
            rows_failed=self.rows_failed,
            job_status=self.status if status is Status.UNKNOWN else None,
        )


def known_status(text: str) -> Status:
    """The status that stands for this word of the API."""
    try:
        return Status(text.lower())
    except ValueError:
        return Status.UNKNOWN


def newest_watermark(newest: Sequence[SimulatedRun], moment: int) -> int | None:
    """The newest watermark that these runs have left at this moment."""
    finished = (run for run in newest if run.finished_at(moment))
    return max((run.watermark for run in finished if run.watermark is not None), default=None)
