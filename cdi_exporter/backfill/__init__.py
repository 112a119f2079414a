"""`backfill`: the history that Braze still lists, as OpenMetrics with timestamps.

    list ──► pages ──► spool (SQLite in the output folder) ──► states ──► lines ──► day files

`plan` has the range and the options, `spool` keeps what was read and made so far (`database` is
its file, `run_store` its runs), `listing` chooses the integrations, `reading` reads their histories
from Braze, `sampling` replays the runs to the exporter's own bookkeeping, `lines` writes its
samples, `day_files` assembles the days; `stages` runs them in this order.
"""

from cdi_exporter.backfill.plan import BackfillOptions, Moment, parse_label, parse_moment
from cdi_exporter.backfill.progress import PlainProgress, Progress, RichProgress
from cdi_exporter.backfill.spool import Spool
from cdi_exporter.backfill.stages import Backfill

__all__ = [
    "Backfill",
    "BackfillOptions",
    "Moment",
    "PlainProgress",
    "Progress",
    "RichProgress",
    "Spool",
    "parse_label",
    "parse_moment",
]
