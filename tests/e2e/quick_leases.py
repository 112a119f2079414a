"""The exporter with leases that are a quarter as long: python -m tests.e2e.quick_leases [flags].

For tests in which many exporters follow each other; all exporters of a database must have the same.
"""

from cdi_exporter.__main__ import main
from cdi_exporter.state import postgres, shared, shared_journal

LEASE, BEAT, MARGIN = 3.0, 0.5, 0.5


def shorten() -> None:
    """Change the constants of this process."""
    changed = {"LEASE_SECONDS": LEASE, "BEAT_SECONDS": BEAT, "CLOCK_MARGIN": MARGIN}
    for module in (shared, shared_journal, postgres):
        for name in changed.keys() & vars(module).keys():
            setattr(module, name, changed[name])


if __name__ == "__main__":
    shorten()
    main()
