"""How many requests the exporter will make in a minute, and how soon it sees a change. Pure.

The list is read at each refresh, ten integrations a page. A history is read when a run has
finished, and where nothing happened for 15 minutes. What the model leaves out: older pages
after an outage, reads that come a little too early, retries.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

PAGE = 10
"""Integrations on a page of the list."""

AUDIT_EVERY = 900.0
"""Seconds after which a history is read although nothing changed."""

AUDIT_SHARE = 0.1
"""The part of the history budget that such reads may take."""

ASSUMED_INTERVAL = 900.0
"""Seconds between runs where nothing is known of an integration's."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests per minute, beside those that the exporter allows itself; times in seconds."""

    list_requests: float
    list_budget: int
    history_requests: float
    history_budget: int
    refresh_interval: float
    """From one refresh to the next: the scrape interval, or longer where the budget is short."""
    shortest_interval: float
    """The shortest scrape interval that brings anything."""
    seen_within: float | None
    """The longest that a finished run may stay unseen; None where the histories lag behind."""
    interval_assumed: int = 0
    """Integrations whose time between runs is not known."""

    @property
    def affordable(self) -> bool:
        """Whether the budget allows a refresh at each scrape, and each history in time."""
        return self.refresh_interval <= self.shortest_interval or not self.limited

    @property
    def limited(self) -> bool:
        """Whether the exporter would ask more if it might."""
        return (
            self.list_requests >= self.list_budget or self.history_requests >= self.history_budget
        )


def cost(
    intervals: Iterable[float | None],
    *,
    listed: int,
    scrape_interval: float,
    min_interval: float,
    list_budget: int,
    history_budget: int,
    by_list: bool = True,
) -> Cost:
    """The cost of watching integrations with these typical seconds between runs.

    `listed` is how many the whole list has, watched or not. Budgets are in requests per
    minute. Without the list (`by_list` False) each refresh reads each history.
    """
    typical = [*intervals]
    pages = max(1, -(-listed // PAGE))
    asked, budget = (pages, list_budget) if by_list else (max(1, len(typical)), history_budget)
    budget_interval = 60.0 * asked / budget if asked > budget else 0.0
    refresh = _refreshed_every(max(scrape_interval, budget_interval), scrape_interval, min_interval)
    refresh = max(refresh, 60.0 * asked / budget)
    reads = _reads(typical, history_budget) if by_list else 60.0 * len(typical) / refresh
    late = by_list and reads > history_budget
    return Cost(
        list_requests=60.0 * pages / refresh if by_list else 0.0,
        list_budget=list_budget,
        history_requests=min(reads, float(history_budget)),
        history_budget=history_budget,
        refresh_interval=refresh,
        shortest_interval=max(min_interval, 60.0 * asked / budget),
        seen_within=None if late else refresh,
        interval_assumed=sum(1 for each in typical if each is None),
    )


def _refreshed_every(wanted: float, scrape_interval: float, min_interval: float) -> float:
    """Scrapes that come sooner than 0.9 minimum intervals after a refresh share it."""
    if scrape_interval >= 0.9 * min_interval:
        return wanted
    return scrape_interval * math.ceil(round(0.9 * min_interval / scrape_interval, 9))


def _reads(intervals: list[float | None], budget: int) -> float:
    """Histories read in a minute: one for each run, and what is read for safety's sake."""
    known = [each for each in intervals if each]
    typical = sum(known) / len(known) if known else ASSUMED_INTERVAL
    audit = max(AUDIT_EVERY, 60.0 * len(intervals) / (AUDIT_SHARE * budget))
    return sum(60.0 / min(each or typical, audit) for each in intervals)
