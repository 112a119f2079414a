"""The exporter with leases of a quarter of the usual length.

Usage: python -m tests.e2e.quick_leases [flags]

It makes tests with many changes of the leader faster. All exporters that share a database must
use the same lengths.
"""

from cdi_exporter.__main__ import main
from cdi_exporter.state import postgres, shared, shared_journal

LEASE, BEAT, MARGIN = 3.0, 0.5, 0.5


def shorten() -> None:
    """Change the constants in this process."""
    changed = {"LEASE_SECONDS": LEASE, "BEAT_SECONDS": BEAT, "CLOCK_MARGIN": MARGIN}
    for module in (shared, shared_journal, postgres):
        for name in changed.keys() & vars(module).keys():
            setattr(module, name, changed[name])


if __name__ == "__main__":
    shorten()
    main()
