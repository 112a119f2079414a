"""One integration as it stands in the state file: JSON, read back as strictly as written."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from cdi_exporter.ledger import LedgerState
from cdi_exporter.model import Integration
from cdi_exporter.workspace.listed import Said


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of an integration, less when that was confirmed."""

    ledger: LedgerState
    item: Integration | None = None
    answered: Said | None = None
    zero_served: bool = False
    list_missed_at: float | None = None
    """When the list last was silent about a run, in the API's time; None if it is trusted."""
    schedule_lost: float | None = None
    interval_since: float | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What must outlive the process; times in Unix seconds."""

    knowledge: Knowledge
    read_at: float | None = None
    """When the newest page was last read."""
    read_server: float | None = None
    """The same in the API's time."""
    seen_server: float | None = None
    """When the list item was given, in the API's time."""
    scheduled_at: float | None = None
    """When the list last showed a schedule, in the API's time."""
    refreshed: float | None = None

    def to_json(self) -> str:
        """One line; what is as by default is left out."""
        return _RECORD.dump_json(self, exclude_defaults=True).decode()

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Raises ValueError, with the first mistake in one line, where it is no record."""
        try:
            return _RECORD.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error


_RECORD = TypeAdapter(Record)
