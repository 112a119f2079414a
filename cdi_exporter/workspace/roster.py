"""Which integrations a workspace has: known, new, gone. Pure."""

import math
from collections.abc import Iterator

from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.ledger import IntegrationLedger
from cdi_exporter.model import Integration
from cdi_exporter.workspace.tracked import Tracked

LEAVES_AFTER = 600.0
"""Seconds of absence from complete lists, and at least `LEAVES_AFTER_LISTS` of them."""

LEAVES_AFTER_LISTS = 2
REMEMBERED_FOR = 30 * 86_400.0
"""Seconds for which the ledger of an integration that left is kept."""


class Roster:
    """The integrations of one workspace, in the order in which they were first seen."""

    def __init__(self, config: WorkspaceConfig) -> None:
        self._config = config
        self._tracked: dict[str, Tracked] = {}
        self._gone: dict[str, tuple[float, Tracked]] = {}
        self._ever_listed: set[str] = set()
        self._complete_lists = 0
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
            _, gone = self._gone.pop(named.id, (0.0, None))
            tracked = before.get(named.id) or gone or Tracked(named.id)
            tracked.configured_name = named.name
            self._add(tracked)
        left = before.keys() - self._tracked.keys()
        self._gone.update({identifier: (math.inf, before[identifier]) for identifier in left})

    def __iter__(self) -> Iterator[Tracked]:
        return iter(self._tracked.values())

    def __len__(self) -> int:
        return len(self._tracked)

    def get(self, identifier: str) -> Tracked | None:
        """The integration of that ID, where it is followed."""
        return self._tracked.get(identifier)

    @property
    def configured(self) -> bool:
        """Whether the user named the integrations, so that none has to be discovered."""
        return self._config.integrations is not None

    def see(self, item: Integration, wall: float, server: float) -> Tracked | None:
        """Take a list item; None where the configuration leaves it out."""
        new = self._complete_lists > 0 and item.id not in self._ever_listed
        self._ever_listed.add(item.id)
        tracked = self._tracked.get(item.id) or self._admit(item)
        if tracked is None:
            return None
        if new and tracked.ledger.floor is None:
            tracked.ledger = IntegrationLedger(everything_counts=True)
        tracked.absences, tracked.absent_since = 0, None
        name = tracked.configured_name or item.name or item.id
        tracked.see(item, wall, server, self._config.stale_after_for(item.id, name))
        return tracked

    def complete(self, listed: set[str], now: float) -> list[Tracked]:
        """Take note of a complete list; return the integrations that left with it."""
        self._complete_lists += 1
        for tracked in self:
            if tracked.id not in listed:
                tracked.absences += 1
                tracked.absent_since = now if tracked.absent_since is None else tracked.absent_since
        self._forget(now)
        return [] if self.configured else self._let_go(now)

    def _add(self, tracked: Tracked) -> Tracked:
        tracked.configure(self._config.stale_after_for(tracked.id, tracked.name))
        self._tracked[tracked.id] = tracked
        return tracked

    def _admit(self, item: Integration) -> Tracked | None:
        if self.configured or not self._config.selects(item.id, item.name or item.id):
            return None
        _, returned = self._gone.pop(item.id, (0.0, None))
        return self._add(returned or Tracked(item.id))

    def _let_go(self, now: float) -> list[Tracked]:
        gone = [
            tracked
            for tracked in self
            if tracked.absences >= LEAVES_AFTER_LISTS
            and tracked.absent_since is not None
            and now - tracked.absent_since >= LEAVES_AFTER
        ]
        for tracked in gone:
            del self._tracked[tracked.id]
            self._gone[tracked.id] = (now, tracked)
        return gone

    def _forget(self, now: float) -> None:
        self._gone = {key: (min(left, now), each) for key, (left, each) in self._gone.items()}
        old = [key for key, (left, _) in self._gone.items() if now - left > REMEMBERED_FOR]
        for key in old:
            del self._gone[key]
