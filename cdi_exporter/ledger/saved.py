"""A ledger as a value: what must outlive the process, without what can be calculated."""

from dataclasses import dataclass

from cdi_exporter.ledger.identity import Identity
from cdi_exporter.ledger.summary import NOTHING_OLDER, Older
from cdi_exporter.model import Count, Counters, Run, Time


@dataclass(frozen=True, slots=True)
class ChainState:
    """A `Chain`; its rows in the order in which they were read."""

    runs: tuple[Run, ...]
    pages: Count
    cursor: str | None = None
    wanted: tuple[Identity, ...] = ()
    first: bool = False
    floor: Time | None = None
    blind: bool = False


@dataclass(frozen=True, slots=True)
class LedgerState:
    """An `IntegrationLedger`; None replaces an infinite time."""

    seen: bool
    """Whether there was a first sight, or everything counts from the start."""
    counters: Counters
    runs: tuple[Run, ...] = ()
    under_way: tuple[Run, ...] = ()
    floor: Time | None = None
    first_seen: Time | None = None
    history_start: Time | None = None
    older: Older = NOTHING_OLDER
    chain: ChainState | None = None
    chase: ChainState | None = None
    """The lookback, under its name in the state file."""
    undated: Run | None = None
    undated_running: Count = 0
