"""The exposition: snapshots → metric families → bytes.

`samples` reads the values out of a snapshot; `families` gives them to prometheus_client,
the reference; `writer` writes the same lines by hand; `page` compresses them as one stream,
and keeps it while nothing changes; `negotiation` chooses the format.
"""

from cdi_exporter.exposition.families import (
    own_families,
    process_collectors,
    workspace_families,
    write_families,
)
from cdi_exporter.exposition.negotiation import Format, negotiate
from cdi_exporter.exposition.page import Exposition

__all__ = (
    "Exposition",
    "Format",
    "negotiate",
    "own_families",
    "process_collectors",
    "workspace_families",
    "write_families",
)
