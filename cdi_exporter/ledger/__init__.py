"""The ledger: what is known of each integration's runs, and what was counted. Pure."""

from cdi_exporter.ledger.counting import (
    ABANDONED_AFTER,
    KEPT_RUNS,
    MOST_PAGES,
    IntegrationLedger,
)
from cdi_exporter.ledger.saved import LedgerState
from cdi_exporter.ledger.summary import HistorySummary

__all__ = [
    "ABANDONED_AFTER",
    "KEPT_RUNS",
    "MOST_PAGES",
    "HistorySummary",
    "IntegrationLedger",
    "LedgerState",
]
