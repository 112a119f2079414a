"""The two endpoints' pages as Braze writes them, the malformed Link header included.

Sources: Braze's reference pages "List integrations" and "List job sync status", and the models of
Braze's own client, braze-mcp-server.
"""

import base64
import binascii
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cdi_exporter.simulator.simulated_run import (
    SECOND,
    WATERMARK_SEARCH,
    SimulatedRun,
    iso_or_none,
    micros,
    newest_watermark,
)

PAGE = 10
"""Items on a page."""
APP_GROUP = "5f0c0d8e-0000-4000-8000-000000000001"
CONTACT = "someone@example.com"


class InvalidCursor(ValueError):
    """The cursor is not one that this API gave."""


class Description(Protocol):
    """What the list says of an integration at any time."""

    @property
    def id(self) -> str:
        """Its ID."""
        ...

    @property
    def name(self) -> str:
        """Its name, unless it is renamed."""
        ...

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def warehouse(self) -> str:
        """The type of its warehouse."""
        ...

    @property
    def status(self) -> str:
        """`active`, or what else Braze reports."""
        ...


class Life(Protocol):
    """The runs of one integration, all times in microseconds."""

    def history(self, until: int, since: int, skip: int = 0) -> Iterator[SimulatedRun]:
        """Runs that start after `since` and no later than `until`, newest start first."""
        ...

    def next_scheduled(self, moment: int) -> int | None:
        """When the next run is due; None without a schedule."""
        ...

    def next_event(self, moment: int) -> int:
        """Nothing starts, and no schedule passes, after `moment` and before this."""
        ...


@dataclass(slots=True, eq=False)
class WorkspaceMember:
    """An integration of the workspace. Times are Unix seconds."""

    spec: Description
    life: Life
    item: tuple[float, float, bytes] = (math.inf, -math.inf, b"")
    """The list item that holds from one moment up to another one."""

    def name_at(self, moment: float) -> str:
        """Its name at this moment."""
        return self.spec.name

    def next_change(self, moment: float) -> float:
        """When its name changes, or it leaves the workspace, after this moment."""
        return math.inf


@dataclass(frozen=True, slots=True)
class JsonPage:
    """A page of items, and its place among the others."""

    path: str
    items: list[bytes]
    skip: int | None
    """None for the page that is requested without a cursor."""
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
class PageMaker:
    """Makes the pages of a workspace.

    The history goes back `retention` seconds. The history and the list's last job are so many
    seconds behind what really happened.
    """

    retention: float
    history_lag: float = 0.0
    list_lag: float = 0.0

    def integrations(
        self, members: Sequence[WorkspaceMember], now: float, skip: int | None
    ) -> JsonPage:
        """A page of the list of integrations."""
        first = skip or 0
        shown = members[first : first + PAGE]
        items = [self._item(member, now) for member in shown]
        return JsonPage("/cdi/integrations", items, skip, len(members) > first + PAGE)

    def history(self, member: WorkspaceMember, now: float, skip: int | None) -> JsonPage:
        """A page of one integration's history."""
        seen = micros(now - self.history_lag)
        runs = member.life.history(seen, micros(now - self.retention), skip or 0)
        found = list(itertools.islice(runs, PAGE + 1))
        path = f"/cdi/integrations/{member.spec.id}/job_sync_status"
        items = [run.item(seen) for run in found[:PAGE]]
        return JsonPage(path, items, skip, len(found) > PAGE)

    def _item(self, member: WorkspaceMember, now: float) -> bytes:
        since, until, item = member.item
        if not since <= now < until:
            fields, until = self._fields(member, now)
            item = json.dumps(fields).encode()
            member.item = (now, until, item)
        return item

    def _fields(self, member: WorkspaceMember, now: float) -> tuple[dict[str, object], float]:
        """An item of the list, and the moment up to which it holds."""
        seen, spec = micros(now - self.list_lag), member.spec
        runs = member.life.history(seen, micros(now - self.retention))
        recent = list(itertools.islice(runs, WATERMARK_SEARCH))
        last = recent[0] if recent else None
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
            "next_scheduled_run": iso_or_none(member.life.next_scheduled(micros(now))),
        }
        ends = (run.finish for run in recent if run.finish is not None and run.finish > seen)
        seen_change = min(member.life.next_event(seen), *ends, math.inf) / SECOND + self.list_lag
        due_change = member.life.next_event(micros(now)) / SECOND
        return item, min(seen_change, due_change, member.next_change(now))


def _status(run: SimulatedRun | None, seen: int) -> str | None:
    if run is None:
        return None
    return run.status if run.finished_at(seen) else "running"
