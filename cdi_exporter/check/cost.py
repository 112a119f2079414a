"""How many requests watching takes in a minute, and how soon it shows a change. Pure.

The list is read at each refresh. A history is read when a run has finished, and re-checked if
none has for a while. Not included: older pages after an outage, and retries.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.check.report import Cost, Load
from cdi_exporter.workspace.refresher import FORBIDDEN_FOR
from cdi_exporter.workspace.schedule import recheck_interval

ASSUMED_INTERVAL = 3_600.0
"""Seconds between the runs of an integration if nothing is known of any."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the exporter may ask: seconds, and requests per minute of each endpoint."""

    scrape_interval: float
    min_interval: float
    list_budget: int
    history_budget: int

    @property
    def wanted(self) -> float:
        """Seconds from one refresh to the next where the budget is large enough.

        Scrapes that come sooner than 0.9 minimum intervals after a refresh share it.
        """
        shared = math.ceil(round(0.9 * self.min_interval / self.scrape_interval, 9))
        return self.scrape_interval * max(1, shared)

    def possible(self, requests: int, budget: int) -> float:
        """The same where each refresh takes so many requests of a budget."""
        return max(self.wanted, 60.0 * requests / budget)


def cost(intervals: Sequence[float | None], pace: Pace, *, listed: int | None) -> Cost:
    """The cost of watching integrations with these typical seconds between runs.

    `listed` is how many the whole list has, watched or not; None where the key may not read
    it, so that each refresh reads each history.
    """
    if listed is None:
        refresh = pace.possible(max(1, len(intervals)), pace.history_budget)
        lists, reads = 60.0 / FORBIDDEN_FOR, 60.0 * len(intervals) / refresh
    else:
        pages = max(1, math.ceil(listed / PAGE_SIZE))
        refresh = pace.possible(pages, pace.list_budget)
        lists, reads = 60.0 * pages / refresh, _reads(intervals, refresh, pace.history_budget)
    return Cost(
        integrations=Load(round(lists, 2), pace.list_budget),
        job_sync_status=Load(round(reads, 2), pace.history_budget),
        refresh_interval_seconds=round(refresh, 3),
        keeps_up=reads <= pace.history_budget and refresh <= pace.wanted,
        intervals_assumed=sum(1 for each in intervals if not each),
    )


def _reads(intervals: Sequence[float | None], refresh: float, budget: int) -> float:
    """Histories read in a minute: one for each run that a refresh shows, and re-checks between."""
    known = [each for each in intervals if each]
    typical = sum(known) / len(known) if known else ASSUMED_INTERVAL
    recheck = recheck_interval(len(intervals), budget)

    def reads(interval: float) -> float:
        return 60.0 * (1 + math.floor(interval / recheck)) / interval

    return sum(reads(max(refresh, each or typical)) for each in intervals)
