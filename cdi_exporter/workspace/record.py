"""One integration as it is stored: JSON, validated strictly when it is read."""

from dataclasses import dataclass

from cdi_exporter.ledger import LedgerState
from cdi_exporter.model import Integration, Time
from cdi_exporter.typed_json import from_json, to_json
from cdi_exporter.workspace.list_view import ListFingerprint


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of an integration, without the times at which it was confirmed."""

    ledger: LedgerState
    item: Integration | None = None
    answered: ListFingerprint | None = None
    zero_served: bool = False
    list_missed_at: Time | None = None
    """See `ListView.missed_at`."""
    schedule_lost: Time | None = None
    interval_since: Time | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that must outlive the process; times in Unix seconds."""

    knowledge: Knowledge
    read_at: Time | None = None
    """When the newest page was last read."""
    seen_server: Time | None = None
    """When the list item was received, in the API's time."""
    scheduled_at: Time | None = None
    """When the list last showed a schedule, in the API's time."""
    refreshed: Time | None = None

    def to_json(self) -> str:
        """One line of JSON, without default values."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Parse a record; raises ValueError, with the first error in one line."""
        record = from_json(cls, text)
        _check_runs(record.knowledge.ledger)
        return record


def _check_runs(ledger: LedgerState) -> None:
    """Raise ValueError for a run without any time: the ledger never keeps one."""
    kept = {"runs": ledger.runs, "under_way": ledger.under_way}
    kept |= {"chain": ledger.chain.runs} if ledger.chain else {}
    kept |= {"chase": ledger.chase.runs} if ledger.chase else {}
    for place, runs in kept.items():
        if any(run.start is None and run.finish is None for run in runs):
            message = f"knowledge.ledger.{place}: a run without any time"
            raise ValueError(message)
