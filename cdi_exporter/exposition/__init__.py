"""The exposition: snapshots → metric families → bytes.

`samples` reads values from a snapshot; `writer` writes their lines as prometheus_client would;
`families` has the exporter's own families; `page` compresses everything as one stream, and keeps it
while nothing changes; `negotiation` chooses the format.
"""

from cdi_exporter.exposition.families import own_families, process_collectors, write_families
from cdi_exporter.exposition.negotiation import Format, negotiate
from cdi_exporter.exposition.page import Exposition

__all__ = (
    "Exposition",
    "Format",
    "negotiate",
    "own_families",
    "process_collectors",
    "write_families",
)
