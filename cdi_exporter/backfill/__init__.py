"""`backfill`: the history that Braze still lists, as OpenMetrics with timestamps.

    list ──► pages ──► spool (SQLite in the output folder) ──► states ──► lines ──► day files

`plan` has the range and the options. `spool` stores what was read and made so far, for resuming
(`run_store` stores the runs). `reading` selects the integrations and reads their histories from
Braze. `sampling` replays the runs into the same code that `serve` uses. `day_files` writes the
samples as lines, and joins them to one file per day. `stages` runs all this in order.
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
