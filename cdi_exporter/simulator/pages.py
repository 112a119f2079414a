"""The two endpoints' pages as Braze writes them, the malformed Link header included.

Sources: Braze's reference pages "List integrations" and "List job sync status", and the models of
Braze's own client, braze-mcp-server.
"""

import base64
import binascii
import itertools
import json
import math
from dataclasses import dataclass

from cdi_exporter.simulator.roster import Member, Roster
from cdi_exporter.simulator.run import (
    SECOND,
    WATERMARK_SEARCH,
    SimulatedRun,
    iso_or_none,
    micros,
    newest_watermark,
)
from cdi_exporter.simulator.script import ScriptedIntegration

PAGE = 10
"""Items on a page."""
APP_GROUP = "5f0c0d8e-0000-4000-8000-000000000001"
CONTACT = "someone@example.com"


class InvalidCursor(ValueError):
    """The cursor is not one that this API gave."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of items, and where it stands among the others."""

    path: str
    items: list[bytes]
    skip: int | None
    """None for the page that is asked for without a cursor."""
    more: bool

    def body(self) -> bytes:
        """The documented envelope."""
        return b'{"results": [' + b", ".join(self.items) + b'], "message": "success"}'

    def links(self, next_skip: int | None = None) -> bytes | None:
        """The Link header; None where there is neither a page before nor one after.

        As documented, the URLs are relative, and in the history's `next` the slash between
        `integrations` and the ID is missing. `next_skip` stands in for the true next page.
        """
        found = []
        if self.skip is not None:
            found.append(f'<{self.path}?cursor={cursor(max(0, self.skip - PAGE))}>; rel="prev"')
        if next_skip is None and self.more:
            next_skip = (self.skip or 0) + PAGE
        if next_skip is not None:
            path = self.path.replace("/integrations/", "/integrations")
            found.append(f'<{path}?cursor={cursor(next_skip)}>; rel="next"')
        return ",".join(found).encode() if found else None


def cursor(skip: int) -> str:
    """The cursor of the page after so many items."""
    return base64.b64encode(f"skip:{skip}".encode()).decode()


def skipped(text: str) -> int:
    """How many items a cursor skips. Raises InvalidCursor for any other text."""
    try:
        word, _, number = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise InvalidCursor(text) from error
    if word != "skip" or not (number.isascii() and number.isdigit()):
        raise InvalidCursor(text)
    return int(number)


@dataclass(frozen=True, slots=True)
class Library:
    """Makes the pages of a workspace.

    Lags are the seconds by which the history and the list's last job are behind the truth,
    `retention` how far back the history goes.
    """

    roster: Roster
    retention: float
    history_lag: float
    list_lag: float
    list_has_last_job: bool

    def integrations(self, now: float, skip: int | None) -> Page:
        """A page of the list of integrations."""
        members = self.roster.at(now)
        first = skip or 0
        shown = members[first : first + PAGE]
        items = [self._item(member, now) for member in shown]
        return Page("/cdi/integrations", items, skip, len(members) > first + PAGE)

    def history(self, member: Member, now: float, skip: int | None) -> Page:
        """A page of one integration's history."""
        seen = micros(now - self.history_lag)
        since = micros(now - self.retention)
        runs = member.life.history(seen, since, skip or 0)
        found = list(itertools.islice(runs, PAGE + 1))
        items = [run.item(seen) for run in found[:PAGE]]
        path = f"/cdi/integrations/{member.spec.id}/job_sync_status"
        return Page(path, items, skip, len(found) > PAGE)

    def _item(self, member: Member, now: float) -> bytes:
        since, until, item = member.item
        if not since <= now < until:
            item, until = self._new_item(member, now)
            member.item = (now, until, item)
        return item

    def _new_item(self, member: Member, now: float) -> tuple[bytes, float]:
        """An item of the list, and the moment up to which it holds."""
        seen, spec = micros(now - self.list_lag), member.spec
        runs = member.life.history(seen, micros(now - self.retention))
        recent = list(itertools.islice(runs, WATERMARK_SEARCH))
        last = recent[0] if recent and self.list_has_last_job else None
        due = member.life.next_scheduled(micros(now))
        item: dict[str, object] = {
            "integration_id": spec.id,
            "app_group_id": APP_GROUP,
            "integration_name": member.name_at(now),
            "integration_type": spec.type,
            "integration_status": spec.status,
            "contact_emails": CONTACT,
            "last_updated_at": iso_or_none(newest_watermark(recent, seen)),
            "warehouse_type": spec.warehouse,
            "last_job_start_time": iso_or_none(None if last is None else last.start),
            "last_job_status": _status(last, seen),
            "next_scheduled_run": iso_or_none(due),
        }
        if isinstance(spec, ScriptedIntegration) and spec.list_fields:
            merged = {**item, **spec.list_fields}
            item = {name: value for name, value in merged.items() if value is not ...}
        ends = (run.finish for run in recent if run.finish is not None and run.finish > seen)
        seen_change = min(member.life.next_event(seen), *ends, math.inf) / SECOND + self.list_lag
        due_change = member.life.next_event(micros(now)) / SECOND
        until = min(seen_change, due_change, member.next_change(now))
        return json.dumps(item).encode(), until


def _status(run: SimulatedRun | None, seen: int) -> str | None:
    if run is None:
        return None
    return run.status if run.finished_at(seen) else "running"
