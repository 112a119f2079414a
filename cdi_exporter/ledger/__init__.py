"""The ledger: what is known of each integration's runs, and what was counted. Pure."""

from cdi_exporter.ledger.integration import (
    ABANDONED_AFTER,
    KEPT_RUNS,
    MOST_PAGES,
    IntegrationLedger,
)
from cdi_exporter.ledger.known import Known
from cdi_exporter.ledger.state import LedgerState

__all__ = [
    "ABANDONED_AFTER",
    "KEPT_RUNS",
    "MOST_PAGES",
    "IntegrationLedger",
    "Known",
    "LedgerState",
]
