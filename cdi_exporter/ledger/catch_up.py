"""The pages of a history that a catch-up reads, from the newest row back to known runs."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cdi_exporter.ledger.identity import Finishes, Identity, by_identity, match, newer_version
from cdi_exporter.ledger.saved import ChainState
from cdi_exporter.model import HistoryPage, Run


@dataclass(slots=True)
class Chain:
    """Consecutive pages, read from the newest row on."""

    rows: dict[Identity, list[Run]] = field(default_factory=dict)
    cursor: str | None = None
    """The cursor of the next page; None at the end of the history."""
    pages: int = 0
    wanted: frozenset[Identity] = frozenset()
    """Runs in progress that the chain did not contain when it was settled."""
    first: bool = False
    """Whether it started at the first sight, to find runs in progress behind the first page."""
    floor: float = -math.inf
    """The oldest start on the first page: runs that it does not show started then or before."""
    blind: bool = False
    """Whether a page had rows that may be any run: then a run that was not found may be one."""
    finishes: Finishes = field(default_factory=Finishes)
    """The finishes of all rows."""

    def add(self, page: HistoryPage, known: Iterable[Run]) -> None:
        """Add a page; a newer row of a run replaces the older one.

        If several `known` runs share an identity, one page may show one of them and the next page
        another.
        """
        shared = Counter(run.identity for run in known)
        for identity, given in by_identity(page.runs).items():
            met = self.rows.get(identity, [])
            pairs = match(met, given, room=shared[identity])
            updated = {id(old) for old, _ in pairs if old is not None}
            rows = [newer_version(old, new) for old, new in pairs]
            rows += [run for run in met if id(run) not in updated]
            self._replace(identity, rows)
        self.blind = self.blind or page.unidentified > 0
        self.cursor = page.next_cursor
        self.pages += 1

    def _replace(self, identity: Identity, rows: list[Run]) -> None:
        for run in self.rows.get(identity, ()):
            self.finishes.remove(run)
        for run in rows:
            self.finishes.add(run)
        self.rows[identity] = rows

    def state(self) -> ChainState:
        """What must outlive the process."""
        return ChainState(
            runs=tuple(run for rows in self.rows.values() for run in rows),
            cursor=self.cursor,
            pages=self.pages,
            wanted=tuple(sorted(self.wanted)),
            first=self.first,
            floor=self.floor if math.isfinite(self.floor) else None,
            blind=self.blind,
        )

    @classmethod
    def restore(cls, state: ChainState) -> "Chain":
        """The chain with this state."""
        return cls(
            by_identity(state.runs),
            state.cursor,
            state.pages,
            frozenset(state.wanted),
            state.first,
            -math.inf if state.floor is None else state.floor,
            state.blind,
            Finishes(state.runs),
        )
