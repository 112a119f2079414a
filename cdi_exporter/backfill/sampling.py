"""Replays the runs of one integration into the same code that `serve` uses.

At each instant at which something changed, the integration reads a page as Braze would have
returned it then: the runs that ended since the last instant, the runs in progress, and the last run
known before. So counters, typical values and all other facts are those of `serve`. Runs before the
first instant are known and not counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from cdi_exporter.backfill.plan import Grid
from cdi_exporter.backfill.run_store import ENDS, GIVEN_UP, STARTS, Event, RunStore
from cdi_exporter.backfill.spool import Chosen
from cdi_exporter.clock import Instant
from cdi_exporter.config import StaleAfter
from cdi_exporter.model import HistoryPage, Integration, Run, Status
from cdi_exporter.snapshot import Facts
from cdi_exporter.workspace.integration import IntegrationState

PastState = tuple[int, Facts]
"""An instant, and the facts from then until the next state."""


def states(
    chosen: Chosen, histories: RunStore, grid: Grid, stale_after: StaleAfter | None
) -> Iterator[PastState]:
    """The facts that the exporter would have shown at the instants of the grid, as they change."""
    first, source = grid.first, chosen.source
    state = IntegrationState(chosen.id, chosen.name)
    state.configure(stale_after)
    if chosen.scheduled is not None:
        item = Integration(chosen.id, schedule_unreadable=bool(chosen.scheduled))
        state.apply_list_item(item, _at(first), stale_after)
    state.receive()
    finished = histories.newest_before(source, first)
    starts = histories.in_progress(source, first)
    known = bool(finished or starts)
    if known:
        yield first, _read(state, first, finished, starts)

    def shown_at(event: Event) -> int:
        time, what, *_ = event
        return grid.after(time) if what == GIVEN_UP else grid.at_or_after(time)

    for instant, group in groupby(histories.events(source, first, grid.last), key=shown_at):
        if instant > grid.last:
            break
        if not known:  # the counters are shown at 0 once before they rise
            yield instant - grid.step, _read(state, instant - grid.step, [], [])
            known = True
        ended = _apply(group, starts)
        yield instant, _read(state, instant, ended, starts)


def _apply(events: Iterable[Event], starts: list[float]) -> list[Run]:
    """Apply events to the starts of the runs in progress; return the runs that ended."""
    ended = []
    for _, what, start, run in events:
        if what == ENDS:
            ended.append(run)
        if what == STARTS and start is not None:
            starts.append(start)
        elif start in starts:
            starts.remove(start)
    return ended


def _read(
    state: IntegrationState, instant: int, ended: Sequence[Run], starts: Sequence[float]
) -> Facts:
    """Apply the newest page as Braze would have returned it at an instant; return the facts."""
    state.expire(float(instant))
    running = [Run(Status.RUNNING, start=start) for start in starts]
    before = state.ledger.summary.recent[-1:]
    page = HistoryPage((*ended, *running, *before))
    state.apply_newest_page(page, state.fingerprint, _at(instant))
    return state.snapshot().facts


def _at(instant: int) -> Instant:
    """The Unix time as an `Instant`: all clocks agree."""
    return Instant(float(instant), float(instant), float(instant))
