"""`backfill`: the history that Braze still lists, as OpenMetrics with timestamps.

    list ──► pages ──► spool (SQLite in the output folder) ──► states ──► lines ──► day files

`plan` has the range and the options, `spool` keeps what was read and made so far (`run_store` its
runs), `reading` chooses the integrations and reads their histories from Braze, `sampling` replays
the runs to the exporter's own bookkeeping, `day_files` writes its samples as lines and assembles
the days; `stages` runs them in this order.
"""

from cdi_exporter.backfill.plan import BackfillOptions, parse_label, parse_moment
from cdi_exporter.backfill.progress import Progress
from cdi_exporter.backfill.spool import open_spool
from cdi_exporter.backfill.stages import Backfill

__all__ = [
    "Backfill",
    "BackfillOptions",
    "Progress",
    "open_spool",
    "parse_label",
    "parse_moment",
]
