"""Which integrations a workspace has: known, new, gone. Pure."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.ledger import IntegrationLedger
from cdi_exporter.model import Integration
from cdi_exporter.snapshot import NOTHING_COUNTED
from cdi_exporter.state import REMEMBERED_FOR, Row, Stored, show
from cdi_exporter.workspace.record import Record
from cdi_exporter.workspace.tracked import Tracked

LEAVES_AFTER = 600.0
"""Seconds of absence from complete lists, and at least `LEAVES_AFTER_LISTS` of them."""

LEAVES_AFTER_LISTS = 2

MOST_INTEGRATIONS = 20_000
"""Integrations of a workspace that are followed: twice as many as the benchmarks measure, in some
400 MiB. Reading so many histories takes more than four hours of Braze's rate limit."""

MOST_REMEMBERED = 20_000
"""Integrations that left and are remembered; of more the ones that left first are forgotten."""


@dataclass(frozen=True, slots=True)
class News:
    """What is to be written of one integration: nothing but its ID if it is forgotten."""

    id: str
    listed: bool
    left: float
    """Unix seconds, infinity where it did not leave."""
    tracked: Tracked | None
    record: Record | None

    def row(self, workspace: str) -> Row:
        """The row of the state file."""
        return Row(
            workspace,
            self.id,
            self.listed,
            self.left if math.isfinite(self.left) else None,
            self.record.to_json() if self.record else None,
        )


class Roster:
    """The integrations of one workspace, in the order in which they were first seen."""

    def __init__(self, config: WorkspaceConfig, *, keeps: bool = False) -> None:
        """With `keeps`, counters are shown once they are committed."""
        self._config, self._keeps = config, keeps
        self._tracked: dict[str, Tracked] = {}
        self._gone: dict[str, tuple[float, Tracked | None]] = {}
        """Those that left, and when: Unix seconds, infinity until the next pass got through.

        Of one that the list showed and that was never followed, only the ID is known.
        """
        self._ever_listed: set[str] = set()
        """IDs that a list showed, and that are not forgotten."""
        self._present: set[str] = set()
        """IDs in the last complete list."""
        self.list_read = False
        """Whether the whole list was ever read."""
        self.forgotten: float | None = None
        """When the last one left that is forgotten, in Unix seconds of the API's clock.

        An ID that is not known may be one of those. What it ran until then may have been
        counted already, so it is not counted again.
        """
        self.refused = 0
        """Items of the list that were not followed since it began, because there are too many."""
        self._touched: set[str] = set()
        """IDs of which something changed that only the roster knows, if a state is kept."""
        self._unserved: set[str] = set()
        """IDs of those whose counters no scrape has seen yet."""
        self.configure(config)

    def configure(self, config: WorkspaceConfig) -> None:
        """Follow what `config` says; an integration that stays keeps what is known of it."""
        self._config = config
        before, self._tracked = self._tracked, {}
        if config.integrations is None:
            for tracked in before.values():
                tracked.configured_name = None
                if config.selects(tracked.id, tracked.name):
                    self._add(tracked)
        for named in config.integrations or ():
            tracked = before.get(named.id) or self._return(named.id) or self._new(named.id)
            tracked.configured_name = named.name
            self._add(tracked)
        for tracked in before.values():
            if tracked.id not in self._tracked:
                self._leave(tracked, math.inf)

    def restore(self, stored: Stored, now: float, wall: float) -> None:
        """Take over what the state file knows; raises ValueError where that is unreadable."""
        self.list_read, self.forgotten = stored.complete, stored.forgotten
        self._ever_listed.update(row.id for row in stored.rows if row.listed)
        for row in stored.rows:
            record = _record(row)
            if record is None:
                if row.left_at is not None and row.id not in self._tracked:
                    self._gone[row.id] = (row.left_at, None)
                continue
            tracked = Tracked.restore(row.id, record, now, wall)
            if row.id in stored.durable:
                tracked.ahead_of(_record(stored.durable[row.id]))
                self._touch(row.id)
            configured = self._tracked.get(row.id)
            if configured is not None:
                tracked.configured_name = configured.configured_name
            wanted = configured is not None or (
                not self.configured and self._config.selects(tracked.id, tracked.name)
            )
            if wanted and (row.left_at is None or configured is not None):
                self._add(tracked)
                if row.left_at is not None:
                    self._touch(row.id)
            else:
                self._gone[row.id] = (math.inf if row.left_at is None else row.left_at, tracked)

    def changed(self, dirty: set[str], now: float, wall: float) -> list[News]:
        """What is to be written of the `dirty` ones, and of those that left or came back."""
        touched = self._touched
        several = [self._news(identifier, now, wall) for identifier in sorted(dirty | touched)]
        self._touched = set()
        news = []
        for each in several:
            if each.tracked and each.record:
                if each.id not in touched and each.record.knowledge == each.tracked.written:
                    continue
                each.tracked.written = each.record.knowledge
            news.append(each)
        return news

    def _news(self, identifier: str, now: float, wall: float) -> News:
        left, tracked = self._gone.get(identifier, (math.inf, self._tracked.get(identifier)))
        record = tracked.record(now, wall) if tracked else None
        return News(identifier, identifier in self._ever_listed, left, tracked, record)

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._tracked.values())

    def __len__(self) -> int:
        return len(self._tracked)

    def get(self, identifier: str) -> Tracked | None:
        """The integration of that ID, where it is followed."""
        return self._tracked.get(identifier)

    def served(self, identifiers: Iterable[str]) -> list[Tracked]:
        """Note that a scrape has seen the counters of these; those for which that is new."""
        if not self._unserved:
            return []
        seen = self._unserved.intersection(identifiers)
        self._unserved -= seen
        new = [self._tracked[identifier] for identifier in seen if identifier in self._tracked]
        for tracked in new:
            tracked.served()
        return new

    @property
    def configured(self) -> bool:
        """Whether the user named the integrations, so that none has to be discovered."""
        return self._config.integrations is not None

    def see(self, item: Integration, wall: float, server: float) -> Tracked | None:
        """Take a list item; None if the configuration leaves it out, or if there are too many."""
        if item.id not in self._tracked and len(self._tracked) >= MOST_INTEGRATIONS:
            self.refused += 1
            return None
        new = self._note_listed(item.id)
        tracked = self._tracked.get(item.id) or self._admit(item)
        if tracked is None:
            return None
        if self._excludes(item):
            self._leave(tracked, wall)
            return None
        if new and tracked.ledger.floor is None:
            tracked.ledger = IntegrationLedger(everything_counts=True)
            if self.forgotten is not None:
                tracked.ledger.floor = self.forgotten
        tracked.absences, tracked.absent_since = 0, None
        name = tracked.configured_name or item.name or item.id
        tracked.see(item, wall, server, self._config.stale_after_for(item.id, name))
        return tracked

    def complete(self, listed: set[str], now: float, wall: float) -> list[Tracked]:
        """Take note of a complete list; return the integrations that left with it."""
        self.list_read, self._present = True, listed
        known = self._tracked.keys() | self._gone.keys()
        for identifier in self._ever_listed - listed - known:
            self._gone[identifier] = (wall, None)
            self._touch(identifier)
        for tracked in self:
            if tracked.id not in listed:
                tracked.absences += 1
                tracked.absent_since = now if tracked.absent_since is None else tracked.absent_since
        return [] if self.configured else self._let_go(now, wall)

    def _new(self, identifier: str) -> Tracked:
        tracked = Tracked(identifier)
        tracked.durable = NOTHING_COUNTED if self._keeps else None
        return tracked

    def _add(self, tracked: Tracked) -> Tracked:
        tracked.configure(self._config.stale_after_for(tracked.id, tracked.name))
        self._tracked[tracked.id] = tracked
        if not tracked.zero_served:
            self._unserved.add(tracked.id)
        return tracked

    def _note_listed(self, identifier: str) -> bool:
        """Note that a list shows the ID; whether it is new, and an earlier list was complete."""
        if identifier in self._ever_listed:
            _, known = self._gone.get(identifier, (0.0, True))
            if known is None:
                self._return(identifier)
            return False
        self._ever_listed.add(identifier)
        self._touch(identifier)
        return self.list_read

    def _excludes(self, item: Integration) -> bool:
        """Whether a followed integration now has a name that the configuration leaves out."""
        if self.configured or item.name is None:
            return False  # an item without a name does not say that it was renamed
        return not self._config.selects(item.id, item.name)

    def _admit(self, item: Integration) -> Tracked | None:
        if self.configured or not self._config.selects(item.id, item.name or item.id):
            return None
        return self._add(self._return(item.id) or self._new(item.id))

    def _return(self, identifier: str) -> Tracked | None:
        """Take back one that had left, with what is still known of it."""
        if identifier not in self._gone:
            return None
        self._touch(identifier)
        _, tracked = self._gone.pop(identifier)
        return tracked

    def _leave(self, tracked: Tracked, wall: float) -> None:
        """Follow it no more, but keep what is known of it."""
        self._tracked.pop(tracked.id, None)
        self._unserved.discard(tracked.id)
        self._gone[tracked.id] = (wall, tracked)
        self._touch(tracked.id)

    def _touch(self, identifier: str) -> None:
        if self._keeps:
            self._touched.add(identifier)

    def _let_go(self, now: float, wall: float) -> list[Tracked]:
        gone = [
            tracked
            for tracked in self
            if tracked.absences >= LEAVES_AFTER_LISTS
            and tracked.absent_since is not None
            and now - tracked.absent_since >= LEAVES_AFTER
        ]
        for tracked in gone:
            self._leave(tracked, wall)
        return gone

    def forget(self, wall: float, server: float) -> None:
        """Forget what left 30 days before `wall`; called after each pass that got through.

        The ID of one that is still listed, but left out by the configuration, stays known: it
        is not new if it is followed again.
        """
        too_many = len(self._gone) - MOST_REMEMBERED
        first = sorted(left for left, _ in self._gone.values())[:too_many] if too_many > 0 else []
        oldest = min(first[-1], wall) if first else -math.inf
        for key, (left, tracked) in [*self._gone.items()]:
            if left > wall:
                self._gone[key] = (wall, tracked)
                self._touch(key)
            elif wall - left > REMEMBERED_FOR or left <= oldest:
                del self._gone[key]
                self._touch(key)
                if key not in self._present:
                    self._ever_listed.discard(key)
                    self.forgotten = max(self.forgotten or 0.0, left + server - wall)


def _record(row: Row | None) -> Record | None:
    if row is None or row.record is None:
        return None
    try:
        return Record.from_json(row.record)
    except ValueError as error:
        message = f"{show(row.id)}: {error}"
        raise ValueError(message) from error
