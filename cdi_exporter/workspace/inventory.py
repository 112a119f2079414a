"""The integrations of a workspace: those followed, and those that were removed. Pure."""

import math
from collections.abc import Iterator, Sequence

from cdi_exporter.clock import Instant
from cdi_exporter.config import WorkspaceConfig
from cdi_exporter.ledger import IntegrationLedger
from cdi_exporter.model import Integration
from cdi_exporter.state import Row, StoredWorkspace, show
from cdi_exporter.workspace.integration import IntegrationState
from cdi_exporter.workspace.publication import Publication
from cdi_exporter.workspace.record import Record

REMEMBERED_FOR = 30 * 86_400.0
"""Seconds for which removed workspaces and integrations are remembered, so that one that returns,
for example after a holiday, continues with its counters."""

LEAVES_AFTER = 600.0
"""Seconds of absence, from at least `LEAVES_AFTER_LISTS` complete lists, after which an integration
counts as removed: a list that changes while it is read may lack an integration."""

LEAVES_AFTER_LISTS = 2

MOST_INTEGRATIONS = 20_000
"""Most integrations of a workspace: twice as many as the benchmarks measure, in about 400 MiB.
Reading that many histories takes more than four hours of Braze's rate limit."""

MOST_REMEMBERED = 20_000
"""Most removed integrations that are remembered; the ones removed first are forgotten first."""


class Inventory:
    """The integrations of one workspace, in the order in which they were first seen."""

    def __init__(
        self, config: WorkspaceConfig, *, keeps_state: bool = False, shared: bool = False
    ) -> None:
        """`keeps_state` and `shared` as for `Publication`."""
        self._config, self._keeps_state, self._shared = config, keeps_state, shared
        self._followed: dict[str, IntegrationState] = {}
        self._absent: dict[str, tuple[int, float]] = {}
        """For those missing from complete lists: how many lists in a row, and since when (loop
        seconds)."""
        self._gone: dict[str, tuple[float, IntegrationState | None]] = {}
        """Removed ones, and when: Unix seconds, infinity until the next refresh succeeds.

        None: one that was listed and never followed, of which only the ID is known.
        """
        self._ever_listed: set[str] = set()
        """IDs that were ever listed, except forgotten ones."""
        self._present: set[str] = set()
        """IDs in the last complete list."""
        self.list_read = False
        """Whether the list was ever read completely."""
        self.forgotten: float | None = None
        """When the last one of the forgotten integrations was removed, in Unix seconds of the API.

        An unknown ID may be one of them. Its runs until then may already have been counted, so
        they are not counted again.
        """
        self.refused = 0
        """Items of the current list that are not followed because there are too many."""
        self.moved: set[str] = set()
        """IDs that were added, removed or forgotten since the state was last written."""
        self.configure(config)

    def configure(self, config: WorkspaceConfig) -> None:
        """Follow the integrations of `config`; those that stay keep what is known of them."""
        self._config = config
        before, self._followed = self._followed, {}
        if config.integrations is None:
            for state in before.values():
                state.configured_name = None
                if config.selects(state.id, state.name):
                    self._follow(state)
        for named in config.integrations or ():
            state = before.get(named.id) or self._return(named.id) or self._new(named.id)
            state.configured_name = named.name
            self._follow(state)
        for state in before.values():
            if state.id not in self._followed:
                self._leave(state, math.inf)

    def restore(
        self, stored: StoredWorkspace, records: Sequence[Record | None], instant: Instant
    ) -> None:
        """Forget everything, and continue with what is stored; `records` are those of its rows.

        Raises ValueError if a committed record is unreadable.
        """
        for known in (self._followed, self._absent, self._gone):
            known.clear()
        for identifiers in (self._ever_listed, self._present, self.moved):
            identifiers.clear()
        self.configure(self._config)
        self.list_read, self.forgotten = stored.complete, stored.forgotten
        for row, record in zip(stored.rows, records, strict=True):
            committed = record
            if record is not None and row.id in stored.committed:
                committed = _record(stored.committed[row.id])
                self._note_move(row.id)
            self._restore(row, record, committed, instant)

    def take(
        self, stored: StoredWorkspace, records: Sequence[Record | None], instant: Instant
    ) -> None:
        """Apply rows that another exporter committed since."""
        self.list_read, self.forgotten = stored.complete, stored.forgotten
        for row, record in zip(stored.rows, records, strict=True):
            self._gone.pop(row.id, None)
            self._ever_listed.discard(row.id)
            if record is None:
                self._followed.pop(row.id, None)
            self._restore(row, record, record, instant)
        if self.configured:
            self.configure(self._config)

    def _restore(
        self, row: Row, record: Record | None, committed: Record | None, instant: Instant
    ) -> None:
        if row.listed:
            self._ever_listed.add(row.id)
        if record is None:
            if row.left_at is not None and row.id not in self._followed:
                self._gone[row.id] = (row.left_at, None)
            return
        state = IntegrationState.restore(row.id, record, committed, instant, shared=self._shared)
        configured = self._followed.get(row.id) if self.configured else None
        if configured is not None:
            state.configured_name = configured.configured_name
        wanted = configured is not None or (
            not self.configured and self._config.selects(state.id, state.name)
        )
        if wanted and (row.left_at is None or configured is not None):
            self._follow(state)
            if row.left_at is not None:
                self._note_move(row.id)
        else:
            self._followed.pop(row.id, None)
            self._gone[row.id] = (math.inf if row.left_at is None else row.left_at, state)

    def __iter__(self) -> Iterator[IntegrationState]:
        return iter(self._followed.values())

    def __len__(self) -> int:
        return len(self._followed)

    def get(self, identifier: str) -> IntegrationState | None:
        """The integration of that ID, if it is followed."""
        return self._followed.get(identifier)

    def find(self, identifier: str) -> IntegrationState | None:
        """The integration of that ID, followed or removed, if more than the ID is known."""
        _, gone = self._gone.get(identifier, (None, None))
        return gone or self._followed.get(identifier)

    def left_at(self, identifier: str) -> float | None:
        """When the integration was removed, in Unix seconds; None if it was not, or just now."""
        left, _ = self._gone.get(identifier, (math.inf, None))
        return left if math.isfinite(left) else None

    def was_listed(self, identifier: str) -> bool:
        """Whether the ID was ever listed, and is not forgotten."""
        return identifier in self._ever_listed

    @property
    def configured(self) -> bool:
        """Whether the user configured the integrations, so that none is discovered."""
        return self._config.integrations is not None

    # The list

    def apply_list_item(self, item: Integration, instant: Instant) -> IntegrationState | None:
        """Apply a list item; None if the configuration excludes it, or if there are too many."""
        if item.id not in self._followed and len(self._followed) >= MOST_INTEGRATIONS:
            self.refused += 1
            return None
        new = self._note_listed(item.id)
        state = self._followed.get(item.id) or self._admit(item)
        if state is None:
            return None
        if self._excludes(item):
            self._leave(state, instant.wall)
            return None
        if new and state.ledger.floor is None:
            state.ledger = IntegrationLedger(floor=-math.inf)
            if self.forgotten is not None:
                state.ledger.floor = self.forgotten
        self._absent.pop(item.id, None)
        name = state.configured_name or item.name or item.id
        state.apply_list_item(item, instant, self._config.stale_after_for(item.id, name))
        return state

    def complete_list(self, listed: set[str], instant: Instant) -> list[IntegrationState]:
        """Note which IDs a complete list has; return the integrations that it shows as removed."""
        self.list_read, self._present = True, listed
        known = self._followed.keys() | self._gone.keys()
        for identifier in self._ever_listed - listed - known:
            self._gone[identifier] = (instant.wall, None)
            self._note_move(identifier)
        for identifier in self._followed.keys() - listed:
            lists, since = self._absent.get(identifier, (0, instant.monotonic))
            self._absent[identifier] = lists + 1, since
        if self.configured:
            return []
        removed = [state for state in self if self._is_removed(state, instant.monotonic)]
        for state in removed:
            self._leave(state, instant.wall)
        return removed

    def _is_removed(self, state: IntegrationState, now: float) -> bool:
        lists, since = self._absent.get(state.id, (0, now))
        return lists >= LEAVES_AFTER_LISTS and now - since >= LEAVES_AFTER

    def _note_listed(self, identifier: str) -> bool:
        """Note a listed ID; whether it is new although an earlier list was complete."""
        if identifier in self._ever_listed:
            _, known = self._gone.get(identifier, (0.0, True))
            if known is None:
                self._return(identifier)
            return False
        self._ever_listed.add(identifier)
        self._note_move(identifier)
        return self.list_read

    def _excludes(self, item: Integration) -> bool:
        """Whether a followed integration now has a name that the configuration excludes."""
        if self.configured or item.name is None:
            return False  # an item without a name does not show that it was renamed
        return not self._config.selects(item.id, item.name)

    def _admit(self, item: Integration) -> IntegrationState | None:
        if self.configured or not self._config.selects(item.id, item.name or item.id):
            return None
        return self._follow(self._return(item.id) or self._new(item.id))

    # Added and removed

    def _new(self, identifier: str) -> IntegrationState:
        publication = Publication(keeps_state=self._keeps_state, shared=self._shared)
        return IntegrationState(identifier, publication=publication)

    def _follow(self, state: IntegrationState) -> IntegrationState:
        state.configure(self._config.stale_after_for(state.id, state.name))
        self._followed[state.id] = state
        return state

    def _return(self, identifier: str) -> IntegrationState | None:
        """Take back a removed one, with what is still known of it."""
        if identifier not in self._gone:
            return None
        self._note_move(identifier)
        _, state = self._gone.pop(identifier)
        return state

    def _leave(self, state: IntegrationState, wall: float) -> None:
        """Stop to follow it, but keep what is known of it."""
        self._followed.pop(state.id, None)
        self._absent.pop(state.id, None)
        self._gone[state.id] = (wall, state)
        self._note_move(state.id)

    def _note_move(self, identifier: str) -> None:
        if self._keeps_state:
            self.moved.add(identifier)

    def forget(self, instant: Instant) -> None:
        """Forget what was removed more than 30 days ago; called after each successful refresh.

        The ID of one that is still listed, but excluded by the configuration, stays known, so
        that it is not new if it is followed again.
        """
        wall = instant.wall
        too_many = len(self._gone) - MOST_REMEMBERED
        first = sorted(left for left, _ in self._gone.values())[:too_many] if too_many > 0 else []
        oldest = min(first[-1], wall) if first else -math.inf
        for key, (left, state) in [*self._gone.items()]:
            if left > wall:
                self._gone[key] = (wall, state)
                self._note_move(key)
            elif wall - left > REMEMBERED_FOR or left <= oldest:
                del self._gone[key]
                self._note_move(key)
                if key not in self._present:
                    self._ever_listed.discard(key)
                    self.forgotten = max(self.forgotten or 0.0, left + instant.server - wall)


def records_of(stored: StoredWorkspace) -> list[Record | None]:
    """The records of all rows; raises ValueError if one is unreadable."""
    return [_record(row) for row in stored.rows]


def _record(row: Row | None) -> Record | None:
    """The record of a row; raises ValueError, with the integration's ID, if it is unreadable."""
    if row is None or row.record is None:
        return None
    try:
        return Record.from_json(row.record)
    except ValueError as error:
        message = f"{show(row.id)}: {error}"
        raise ValueError(message) from error
