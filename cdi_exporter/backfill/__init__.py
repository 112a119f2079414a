"""`backfill`: the history that Braze still lists, as OpenMetrics with timestamps.

    list ──► pages ──► spool (SQLite in the output folder) ──► states ──► lines ──► day files

`plan` says what is wanted, `spool` keeps what was read and made, `reading` asks Braze,
`sampling` lets the runs happen once more to the exporter's own bookkeeping, `lines` writes
its samples, `files` puts the days together; `job` runs them in this order.
"""

from cdi_exporter.backfill.job import Backfill
from cdi_exporter.backfill.plan import Moment, Options, parse_label, parse_moment
from cdi_exporter.backfill.progress import PlainProgress, Progress, RichProgress
from cdi_exporter.backfill.spool import Spool

__all__ = [
    "Backfill",
    "Moment",
    "Options",
    "PlainProgress",
    "Progress",
    "RichProgress",
    "Spool",
    "parse_label",
    "parse_moment",
]
