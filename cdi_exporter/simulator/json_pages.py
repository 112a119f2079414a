"""The pages of the two endpoints as Braze writes them, including its malformed Link header.

Sources: Braze's reference pages "List integrations" and "List job sync status", and the models of
Braze's own client, braze-mcp-server.
"""

import base64
from dataclasses import dataclass
from itertools import islice

from cdi_exporter.simulator.generated import GeneratedIntegration
from cdi_exporter.simulator.simulated_run import (
    WATERMARK_SEARCH,
    iso_or_none,
    micros,
    newest_watermark,
)

PAGE = 10
"""Items on a page."""
APP_GROUP = "5f0c0d8e-0000-4000-8000-000000000001"
CONTACT = "someone@example.com"


@dataclass(frozen=True, slots=True)
class JsonPage:
    """A page of items, and its position in the list."""

    path: str
    items: list[bytes]
    skip: int | None
    """Items before the page; None if it was requested without a cursor."""
    more: bool

    def body(self) -> bytes:
        """The documented envelope."""
        return b'{"results": [' + b", ".join(self.items) + b'], "message": "success"}'

    def links(self, next_skip: int | None = None) -> bytes | None:
        """The Link header; None if there is neither a page before nor one after.

        As documented, the URLs are relative, and in the history's `next` the slash between
        `integrations` and the ID is missing. `next_skip` replaces the true next page.
        """
        found = []
        if self.skip is not None:
            found.append(f'<{self.path}?cursor={cursor_of(max(0, self.skip - PAGE))}>; rel="prev"')
        if next_skip is None and self.more:
            next_skip = (self.skip or 0) + PAGE
        if next_skip is not None:
            path = self.path.replace("/integrations/", "/integrations")
            found.append(f'<{path}?cursor={cursor_of(next_skip)}>; rel="next"')
        return ",".join(found).encode() if found else None


def cursor_of(skip: int) -> str:
    """The cursor of the page that starts after `skip` items."""
    return base64.b64encode(f"skip:{skip}".encode()).decode()


def parse_cursor(text: str) -> int:
    """The number of items before the page of a cursor; raises ValueError if it is not valid."""
    word, _, number = base64.b64decode(text, validate=True).decode().partition(":")
    if word != "skip" or not (number.isascii() and number.isdigit()):
        raise ValueError(text)
    return int(number)


def list_item(
    member: GeneratedIntegration, now: float, retention: float, lag: float
) -> dict[str, object]:
    """An item of the list of integrations, whose last job is `lag` seconds behind."""
    seen, spec = micros(now - lag), member.spec
    recent = list(islice(member.history(seen, micros(now - retention)), WATERMARK_SEARCH))
    last = recent[0] if recent else None
    status = None if last is None else last.status if last.finished_at(seen) else "running"
    return {
        "integration_id": spec.id,
        "app_group_id": APP_GROUP,
        "integration_name": member.name_at(now),
        "integration_type": spec.type,
        "integration_status": spec.status,
        "contact_emails": CONTACT,
        "last_updated_at": iso_or_none(newest_watermark(recent, seen)),
        "warehouse_type": spec.warehouse,
        "last_job_start_time": iso_or_none(None if last is None else last.start),
        "last_job_status": status,
        "next_scheduled_run": iso_or_none(member.next_scheduled(micros(now))),
    }
