"""What of the list tells that a run began or ended."""

from dataclasses import dataclass

from cdi_exporter.model import Integration, Status


@dataclass(frozen=True, slots=True)
class Said:
    """What of a list item tells that a run began or ended."""

    start: float | None
    status: Status | None
    watermark: float | None

    @classmethod
    def by(cls, item: Integration) -> "Said":
        """The part of an item that is compared."""
        return cls(item.last_job_start, item.last_job_status, item.last_updated)
