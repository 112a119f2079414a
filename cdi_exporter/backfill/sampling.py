"""Replays the runs of one integration to the exporter's own bookkeeping.

At each instant at which something has changed, the integration reads a page as Braze would
have given it then: what has ended since the last instant, what is under way, and the last
run known before. So counters, typical values and the rest are those of `serve` itself. The
runs before the first instant are the baseline: known, and not counted.
"""

import heapq
from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain, groupby
from typing import NamedTuple

from cdi_exporter.backfill.plan import Grid
from cdi_exporter.backfill.run_store import Placed, RunStore
from cdi_exporter.backfill.spool import Chosen
from cdi_exporter.clock import Instant
from cdi_exporter.config import StaleAfter
from cdi_exporter.ledger import ABANDONED_AFTER
from cdi_exporter.model import HistoryPage, Run, Status
from cdi_exporter.snapshot import Facts
from cdi_exporter.workspace.integration import IntegrationState


class PastState(NamedTuple):
    """What holds from one instant on, up to the next state's."""

    instant: int
    facts: Facts


class _EventKind(IntEnum):
    BEGINS = 0
    ENDS = 1
    GIVEN_UP = 2


class _Event(NamedTuple):
    instant: int
    time: float
    kind: _EventKind
    row: Placed


def states(
    chosen: Chosen, histories: RunStore, grid: Grid, stale_after: StaleAfter | None
) -> Iterator[PastState]:
    """What the exporter would have known at the instants of the grid; nothing without runs."""
    return _Past(chosen, histories, grid, stale_after).states()


class _Past:
    def __init__(
        self,
        chosen: Chosen,
        histories: RunStore,
        grid: Grid,
        stale_after: StaleAfter | None,
    ) -> None:
        self._source, self._histories, self._grid = chosen.source, histories, grid
        self._under_way: dict[tuple[str, float, int], Run] = {}
        self._state = IntegrationState(chosen.id, chosen.configured_name)
        self._state.configure(stale_after)
        if chosen.item is not None:
            self._state.apply_list_item(chosen.item, _at(grid.first), stale_after)
        self._state.receive()

    def states(self) -> Iterator[PastState]:
        first, source = self._grid.first, self._source
        finished = self._histories.newest_before(source, first)
        under_way = self._histories.under_way(source, first)
        self._under_way = {row.key: _running(row) for row in under_way}
        events = self._events()
        event = next(events, None)
        if finished or under_way:
            yield self._read(first, finished)
        elif event is None:
            return
        else:  # the counters stand at 0 once before they rise
            yield self._read(event.instant - self._grid.step, [])
        events = chain([event] if event else [], events)
        for instant, group in groupby(events, key=lambda event: event.instant):
            yield self._read(instant, self._happen(group))

    def _events(self) -> Iterator[_Event]:
        """What happens after the first instant and up to the last, in its order."""
        grid, source = self._grid, self._source
        until = (grid.first, grid.last)
        begun = (moment - ABANDONED_AFTER for moment in until)
        return heapq.merge(
            (
                _Event(
                    grid.at_or_after(row.begins or 0.0), row.begins or 0.0, _EventKind.BEGINS, row
                )
                for row in self._histories.beginning(source, *until)
            ),
            (
                _Event(grid.at_or_after(row.ends or 0.0), row.ends or 0.0, _EventKind.ENDS, row)
                for row in self._histories.ending(source, *until)
            ),
            (
                _Event(grid.after(when), when, _EventKind.GIVEN_UP, row)
                for row in self._histories.beginning(source, *begun)
                for when in [(row.begins or 0.0) + ABANDONED_AFTER]
                if grid.after(when) <= grid.last
            ),
            key=lambda event: event[:3],
        )

    def _happen(self, events: Iterable[_Event]) -> list[Run]:
        """Let runs begin and end; those that have ended."""
        ended = []
        for event in events:
            if event.kind is _EventKind.BEGINS:
                self._under_way[event.row.key] = _running(event.row)
                continue
            self._under_way.pop(event.row.key, None)
            if event.kind is _EventKind.ENDS:
                ended.append(event.row.run)
        return ended

    def _read(self, instant: int, ended: list[Run]) -> PastState:
        """Read the history as it was at an instant."""
        state, now = self._state, _at(instant)
        state.expire(now.server)
        before = state.ledger.summary.recent[-1:]
        runs = (*ended, *self._under_way.values(), *before)
        state.apply_newest_page(HistoryPage(runs), state.fingerprint, now)
        return PastState(instant, state.snapshot().facts)


def _at(instant: int) -> Instant:
    """The Unix second, on all clocks."""
    return Instant(float(instant), float(instant), float(instant))


def _running(row: Placed) -> Run:
    return Run(Status.RUNNING, start=row.begins)
