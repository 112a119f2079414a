"""The ledger of one integration: its known runs and its counters. Pure: no clock, no I/O.

The history is read in pages, newest first. A run is recognised by its identity: its start or,
without one, its finish. A start that appears later, or disappears, does not make it another run.
Several runs share an identity only if one page shows them together. Invariants, for any paging,
order, repetition and interruption:

1. Each finished run that was neither finished at the first sight nor counted before is counted
   once. Counters never fall.
2. Counters advance only when the chain of pages from the newest row on reaches a finished run that
   was known before, or provably contains everything. Until then, the rows of the chain are kept and
   not counted.
3. Whatever may have been lost adds one to `gaps`: a history that ended or was cut before a known
   run was reached, a run in progress that left the history or was given up.
4. The first sight looks for runs in progress on further pages, as long as each page shows one that
   newer runs have overtaken. One behind whole pages of finished runs is not found. A known run in
   progress is remembered until it has finished, leaves the history, or is `ABANDONED_AFTER` old.
5. Memory is bounded: `KEPT_RUNS` finished runs, `MOST_UNDER_WAY` runs in progress, and at most
   `MOST_PAGES` pages and `MOST_ROWS` rows of a chain. `floor` represents everything older: runs
   that started then or before are accounted for.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

from cdi_exporter.ledger.catch_up import Chain
from cdi_exporter.ledger.identity import (
    Finishes,
    Identity,
    as_known,
    by_identity,
    match,
    newer_version,
    position,
)
from cdi_exporter.ledger.saved import LedgerState
from cdi_exporter.ledger.summary import NOTHING_OLDER, HistorySummary, Older, summarise
from cdi_exporter.model import Counters, HistoryPage, Run

KEPT_RUNS = 24
"""Finished runs kept: more than two pages, and enough for the typical values."""

MOST_PAGES = 200
"""Most pages of a chain: 2,000 runs, a week of runs every 5 minutes. A longer one is cut, which
counts as a gap."""

MOST_ROWS = 10 * MOST_PAGES
"""Most rows of a chain, for pages with more than 10 rows."""

MOST_UNDER_WAY = 100
"""Most runs in progress that are remembered. Braze refuses to start a run while another one is in
progress, so more than a few stuck ones are unusual. The oldest are given up, each as a gap."""

ABANDONED_AFTER = 7 * 86_400.0
"""Seconds after which a run that is still marked as running is given up: a week, longer than any
sync takes."""

OVERLOOKED_EVERY = 300.0
"""Seconds between two searches for a run in progress that newer runs have overtaken: each may cost
several requests."""


@dataclass(slots=True, eq=False)
class IntegrationLedger:
    """The ledger of one integration.

    If `floor` is minus infinity from the start, the runs that exist at the first sight count, too:
    for an integration that was missing from an earlier complete list, and is therefore new.
    """

    floor: float | None = None
    """Runs that started then or before are accounted for; None before the first sight."""
    runs: list[Run] = field(default_factory=list)
    """The newest finished runs that are accounted for, oldest first."""
    under_way: list[Run] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    history_start: float | None = None
    older: Older = NOTHING_OLDER
    chain: Chain | None = None
    """Rows that do not reach known runs yet; continued by older pages."""
    lookback: Chain | None = None
    """A settled chain that is continued only to find runs in progress behind it."""
    undated: Run | None = None
    undated_running: int = 0
    looked: float = -math.inf
    """When runs behind newer ones were last searched for."""
    _first_seen: float = math.inf
    _summary: HistorySummary | None = None

    def state(self) -> LedgerState:
        """What must outlive the process."""
        return LedgerState(
            runs=tuple(self.runs),
            under_way=tuple(self.under_way),
            counters=self.counters,
            seen=self.floor is not None,
            floor=_finite(self.floor),
            first_seen=_finite(self._first_seen),
            history_start=self.history_start,
            older=self.older,
            chain=self.chain.state() if self.chain else None,
            chase=self.lookback.state() if self.lookback else None,
            undated=self.undated,
            undated_running=self.undated_running,
        )

    @classmethod
    def restore(cls, state: LedgerState) -> "IntegrationLedger":
        """The ledger with this state."""
        return cls(
            floor=-math.inf if state.seen and state.floor is None else state.floor,
            runs=[*state.runs],
            under_way=[*state.under_way],
            counters=state.counters,
            history_start=state.history_start,
            older=state.older,
            chain=Chain.restore(state.chain) if state.chain else None,
            lookback=Chain.restore(state.chase) if state.chase else None,
            undated=state.undated,
            undated_running=state.undated_running,
            _first_seen=math.inf if state.first_seen is None else state.first_seen,
        )

    # Reading

    def read_newest(self, page: HistoryPage, now: float) -> list[Run]:
        """Apply the newest page of the history; return the runs that it counted."""
        self._summary = None
        self.undated, self.undated_running = page.undated, page.undated_running
        if self.floor is None:
            self._first_sight(page, now)
            return []
        page = self._as_known(page)
        chain = self.chain or Chain()
        cursor, pages = chain.cursor, chain.pages
        touches = any(run.identity in chain.rows for run in page.runs)
        chain.add(page, self._accounted)
        if touches and cursor is not None:
            chain.cursor, chain.pages = cursor, pages
        else:
            chain.pages = 1
        return self._advance(chain, page, now)

    def read_older(self, page: HistoryPage, now: float) -> list[Run]:
        """Apply the page of `next_cursor`; return the runs that it counted."""
        self._summary = None
        page = self._as_known(page)
        if self.chain is not None:
            self.chain.add(page, self._accounted)
            return self._advance(self.chain, page, now)
        if self.lookback is not None:
            behind = self._behind(page, self.lookback)
            self.lookback.add(page, self._accounted)
            counted = self._settle(by_identity(behind), now)
            if self.lookback.first:
                self._find_running_at_first_sight(self.lookback, page)
            else:
                self._find_missing_running(self.lookback, page)
            return counted
        return []

    def _as_known(self, page: HistoryPage) -> HistoryPage:
        chains = [each for each in (self.chain, self.lookback) if each is not None]
        accounted = self._accounted
        identities = {run.identity for run in accounted}

        def is_known(identity: Identity) -> bool:
            return identity in identities or any(identity in each.rows for each in chains)

        finishes = [Finishes(accounted), *(each.finishes for each in chains)]
        return replace(page, runs=as_known(page.runs, is_known, finishes))

    def _behind(self, page: HistoryPage, lookback: Chain) -> list[Run]:
        """The rows that a lookback may account for: known runs, and runs older than all known.

        If many runs began meanwhile, the page has some that no chain has reached yet. Counting
        them here would make them known, and would end the next chain too early. Rows of earlier
        pages of the lookback are already accounted for, and perhaps forgotten.
        """
        known = {run.identity for run in self._accounted}
        floor = -math.inf if self.floor is None else self.floor
        return [
            run
            for run in page.runs
            if run.identity in known
            or (position(run) <= floor and run.identity not in lookback.rows)
        ]

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next older page; None if no older page is needed."""
        chain = self.chain or self.lookback
        return chain.cursor if chain else None

    def restart_chain(self) -> None:
        """Forget the cursor, which Braze no longer accepts; the rows stay."""
        self.lookback = None
        if self.chain is not None:
            self.chain.cursor = None

    @property
    def catching_up(self) -> bool:
        """Whether there are runs that cannot be counted yet."""
        return self.chain is not None

    def overlooked(self, now: float) -> bool:
        """Whether a run in progress behind a newer one should have ended already."""
        reading_on = self.chain is not None or self.lookback is not None
        if now < self.looked + OVERLOOKED_EVERY or not self.under_way or reading_on:
            return False
        known = self.summary
        ended = now - (known.typical_duration or 0.0)
        return any(
            run.start is not None and run.start < min(ended, known.newest_start)
            for run in self.under_way
        )

    def expire(self, now: float) -> None:
        """Give up the runs that have been marked as running for too long."""
        given_up = [run for run in self.under_way if _is_abandoned(run, now)]
        if given_up:
            self._give_up(given_up)

    def _first_sight(self, page: HistoryPage, now: float) -> None:
        self.floor = min((position(run) for run in page.runs), default=-math.inf)
        self._first_seen = now
        for run in page.runs:
            self._note_start(run)
            if run.finished:
                self.runs.append(run)
            elif not _is_abandoned(run, now):
                self.under_way.append(run)
        self._prune()
        chain = Chain(cursor=page.next_cursor, pages=1, first=True, floor=self.floor)
        self._find_running_at_first_sight(chain, page)

    def _find_running_at_first_sight(self, chain: Chain, page: HistoryPage) -> None:
        """After the first sight, continue while pages show runs that newer ones have overtaken."""
        overtaken = any(not run.finished for run in page.runs[1 if chain.pages == 1 else 0 :])
        room = chain.pages < MOST_PAGES and len(self.under_way) < MOST_UNDER_WAY
        more = overtaken and chain.cursor is not None and room
        self.lookback = chain if more else None

    def _advance(self, chain: Chain, page: HistoryPage, now: float) -> list[Run]:
        """Settle a chain to which `page` was just added, or keep it for older pages."""
        ended = chain.cursor is None
        cut = chain.pages >= MOST_PAGES or len(chain.rows) >= MOST_ROWS
        connected = self._connects(page)
        if not (connected or ended or cut):
            self.chain = chain
            return []
        self.chain = None
        lost = not connected and bool(chain.rows) and not (ended and self._is_whole(chain))
        counted = self._settle(chain.rows, now)
        if lost:
            self.counters = replace(self.counters, gaps=self.counters.gaps + 1)
        if not cut:
            self._start_lookback(chain, page, now)
        return counted

    def _connects(self, page: HistoryPage) -> bool:
        """Whether the page reaches runs that were finished and known before."""
        floor = -math.inf if self.floor is None else self.floor
        known = {run.identity for run in self.runs}
        reached = any(run.identity in known for run in page.runs)
        return reached or max(map(position, page.runs), default=math.inf) <= floor

    def _is_whole(self, chain: Chain) -> bool:
        """Whether a chain that reached the end of the history lacks nothing.

        Known runs that it lacks may be among rows that could not be identified.
        """
        if chain.blind:
            return True
        known = self._accounted
        if not known:
            return self.floor == -math.inf or self._first_seen == math.inf
        return any(run.identity in chain.rows for run in known)

    def _start_lookback(self, chain: Chain, page: HistoryPage, now: float) -> None:
        """After a chain was settled, search for runs in progress behind it if necessary."""
        due = self.overlooked(now)
        chain.wanted = frozenset(
            run.identity for run in self.under_way if run.identity not in chain.rows
        )
        if due or not chain.wanted:
            self.looked = now
        if due or chain.cursor is None:
            self._find_missing_running(chain, page)

    def _find_missing_running(self, chain: Chain, page: HistoryPage) -> None:
        """Keep the chain while runs in progress may be behind it; give up those that are gone.

        If rows could not be identified, a run that was not found may be among them.
        """
        hidden = [
            run
            for run in self.under_way
            if run.identity in chain.wanted and run.identity not in chain.rows
        ]
        newest = max((position(run) for run in page.runs), default=-math.inf)
        gone = [run for run in hidden if chain.cursor is None or newest < position(run)]
        if gone and not chain.blind:
            self._give_up(gone)
        more = len(hidden) > len(gone) and chain.pages < MOST_PAGES
        self.lookback = chain if more else None

    # Counting

    def _settle(self, rows: dict[Identity, list[Run]], now: float) -> list[Run]:
        """Account for rows that provably connect to the known runs."""
        accounted = by_identity(self._accounted)
        newer: dict[int, Run | None] = {}
        older: list[Run] = []
        counted: list[Run] = []
        for identity, given in rows.items():
            for old, new in match(accounted.get(identity, ()), given):
                self._note_start(new)
                if old is not None:
                    ended = new.finished and not old.finished
                    # A run in progress that has ended moves to the finished ones.
                    newer[id(old)] = None if ended else newer_version(old, new)
                    if not ended:
                        continue
                elif self._is_older(new):
                    older.append(new)
                    continue
                if new.finished:
                    counted.append(new)
                elif not _is_abandoned(new, now):
                    self.under_way.append(new)
        self.runs = _replaced(self.runs, newer)
        self.under_way = _replaced(self.under_way, newer)
        self.older = self.older.note(older)
        counted.sort(key=lambda run: run.order)
        self.runs += counted
        self.counters = _count(self.counters, counted)
        self._prune()
        return counted

    def _is_older(self, run: Run) -> bool:
        """Whether an unknown finished run is so old that it is already accounted for."""
        search = self.lookback if self.lookback is not None and self.lookback.first else None
        hidden = search is not None and position(run) <= search.floor
        in_progress_then = hidden and run.order > self._first_seen
        accounted = self.floor is not None and position(run) <= self.floor
        return run.finished and accounted and not in_progress_then

    @property
    def _accounted(self) -> list[Run]:
        return [*self.runs, *self.under_way]

    def _give_up(self, runs: Sequence[Run]) -> None:
        given_up: dict[int, Run | None] = {id(run): None for run in runs}
        self.under_way = _replaced(self.under_way, given_up)
        self.counters = replace(self.counters, gaps=self.counters.gaps + len(runs))
        self._summary = None

    def _prune(self) -> None:
        """Keep the newest runs, and those with the identity of a run in progress."""
        if len(self.under_way) > MOST_UNDER_WAY:
            self._give_up(sorted(self.under_way, key=position)[:-MOST_UNDER_WAY])
        self.runs.sort(key=lambda run: run.order)
        under_way = {run.identity for run in self.under_way}
        dropped = self.runs[:-KEPT_RUNS]
        self.runs = [run for run in dropped if run.identity in under_way] + self.runs[-KEPT_RUNS:]
        folded = [run for run in dropped if run.identity not in under_way]
        if folded:
            self.older = self.older.fold(folded)
            self.floor = max(
                -math.inf if self.floor is None else self.floor, *map(position, folded)
            )

    def _note_start(self, run: Run) -> None:
        if run.start is not None:
            self.history_start = min(self.history_start or run.start, run.start)

    # Summary

    @property
    def summary(self) -> HistorySummary:
        """The summary of the runs, including rows of a chain that do not count yet."""
        if self._summary is None:
            self._summary = self._summarise()
        return self._summary

    def _summarise(self) -> HistorySummary:
        return summarise(
            self._effective_runs(),
            self.older,
            history_start=self.history_start,
            undated=self.undated,
            undated_running=self.undated_running,
            keep=KEPT_RUNS,
        )

    def _effective_runs(self) -> list[Run]:
        """The known runs, in the newest version, with those of a chain that is not settled."""
        accounted = self._accounted
        if self.chain is None:
            return accounted
        met = self.chain.rows
        runs = [run for run in accounted if run.identity not in met]
        by_name = by_identity(run for run in accounted if run.identity in met)
        for identity, rows in met.items():
            known = by_name.get(identity)
            if known is None:
                runs += rows
                continue
            pairs = match(known, rows)
            updated = {id(old) for old, _ in pairs if old is not None}
            runs += [newer_version(old, new) for old, new in pairs]
            runs += [run for run in known if id(run) not in updated]
        return runs


def _is_abandoned(run: Run, now: float) -> bool:
    return run.order < now - ABANDONED_AFTER


def _replaced(runs: Sequence[Run], newer: dict[int, Run | None]) -> list[Run]:
    """The runs after those in `newer`, by `id`, were replaced or, if None, removed."""
    found = (newer.get(id(run), run) for run in runs)
    return [run for run in found if run is not None]


def _finite(time: float | None) -> float | None:
    return time if time is not None and math.isfinite(time) else None


def _count(counters: Counters, runs: Sequence[Run]) -> Counters:
    """The counters with these runs.

    Durations are added one by one, so that the sum does not depend on how pages group the runs.
    """
    if not runs:
        return counters
    statuses = Counter(run.status.value for run in runs)
    durations = [run.duration for run in runs if run.duration is not None]
    return replace(
        counters,
        **{status: getattr(counters, status) + count for status, count in statuses.items()},
        rows_synced=counters.rows_synced + sum(run.rows_synced or 0 for run in runs),
        rows_failed=counters.rows_failed + sum(run.rows_failed or 0 for run in runs),
        duration_sum=reduce(add, durations, counters.duration_sum),
        duration_count=counters.duration_count + len(durations),
    )
