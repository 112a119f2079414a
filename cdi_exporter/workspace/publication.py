"""Decides which counters a scrape may show, so that every run counts exactly once. Pure.

    read ──► counted ──► committed ──► shown
                              ▲
      a scraper received 0 ───┘

Every scraper sees each run once, because the counters that are shown rise only

1. after a scraper has received them at 0: Prometheus sees no increase in the first sample of a
   series;
2. once the state holds them: otherwise a crash would make them fall, and rise again.

The log also reports a run once: when condition 2 holds. Without a state, that is at once.

If exporters share the state, counters have no value before something of the integration is
committed: another exporter may have shown more than 0.
"""

from collections.abc import Sequence

from cdi_exporter.model import Counters, Run
from cdi_exporter.snapshot import NOTHING_COUNTED
from cdi_exporter.workspace.record import Knowledge


class Publication:
    """Which counters of one integration are counted, committed and received at 0.

    With `keeps_state`, counters are shown once they are committed. If the state is also `shared`
    with other exporters, not even 0 is shown before.
    """

    def __init__(self, *, keeps_state: bool = False, shared: bool = False) -> None:
        self.received_at_zero = False
        """Whether a scraper has received the counters at 0."""
        self.unsaved = False
        """Whether anything changed that may need a commit."""
        self._committed = NOTHING_COUNTED if keeps_state else None
        self._known = not shared
        """Whether it is known what the state has of it."""
        self._saved: Knowledge | None = None
        """What the journal was last given."""
        self._unreported: list[Run] = []
        """Counted runs that are not committed yet, in the order of counting."""
        self._reported = 0
        """How many runs were counted before these."""

    @classmethod
    def restore(
        cls, saved: Knowledge, committed: Knowledge | None, *, shared: bool = False
    ) -> "Publication":
        """The publication of an integration that was `saved`, and so far `committed`."""
        publication = cls(keeps_state=True, shared=shared)
        publication._saved = saved
        publication.received_at_zero = saved.zero_served
        if committed is not None:
            publication.commit(committed)
        return publication

    def visible(self, counted: Counters) -> Counters | None:
        """The counters that may be shown, given those `counted`; None if none may."""
        if not self._known:
            return None
        if not self.received_at_zero:
            return NOTHING_COUNTED
        return counted if self._committed is None else self._committed

    def is_behind(self, counted: Counters) -> bool:
        """Whether counters wait only for their commit."""
        if not self._known:
            return self.unsaved or self._saved is not None
        return self.received_at_zero and self._committed not in (None, counted)

    def receive(self) -> bool:
        """Note that a scraper has received the counters; whether that is the first time."""
        first, self.received_at_zero = not self.received_at_zero, True
        return first

    def count(self, runs: Sequence[Run]) -> None:
        """Note runs that were counted."""
        self._unreported += runs

    @property
    def counted_runs(self) -> int:
        """How many runs were counted since the start."""
        return self._reported + len(self._unreported)

    def report(self, counted_runs: int) -> list[Run]:
        """The runs to report now that the first `counted_runs` are committed."""
        number = max(0, counted_runs - self._reported)
        reported, self._unreported = self._unreported[:number], self._unreported[number:]
        self._reported += len(reported)
        return reported

    def save(self, knowledge: Knowledge) -> bool:
        """Note that the journal gets this; whether it differs from what it last got."""
        before, self._saved = self._saved, knowledge
        return before != knowledge

    def commit(self, knowledge: Knowledge) -> bool:
        """Note that this is committed; whether that may change what is shown."""
        first, self._known = not self._known, True
        if not knowledge.zero_served or self._committed is None:
            return first
        self._committed = knowledge.ledger.counters
        return True
