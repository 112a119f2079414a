"""How many requests watching takes in a minute, and how soon it shows a change. Pure.

The list is read at each refresh. A history is read when a run has finished, and re-checked if
none has for a while. Not included: older pages after an outage, and retries.
"""

import math
from collections.abc import Sequence

from cdi_exporter.braze.wire import PAGE_SIZE
from cdi_exporter.check.report import Cost, Load
from cdi_exporter.workspace.refresher import FORBIDDEN_FOR
from cdi_exporter.workspace.schedule import recheck_interval

ASSUMED_INTERVAL = 3_600.0
"""Seconds between the runs of an integration if nothing is known of any."""


def cost(
    intervals: Sequence[float | None],
    *,
    listed: int | None,
    scrape_interval: float,
    min_interval: float,
    list_budget: int,
    history_budget: int,
) -> Cost:
    """The cost of watching integrations with these typical seconds between runs.

    `listed` is how many the whole list has, watched or not; None where the key may not read
    it, so that each refresh reads each history. The budgets are requests per minute.
    """
    # Scrapes that come sooner than 0.9 minimum intervals after a refresh share it.
    shared = max(1, math.ceil(round(0.9 * min_interval / scrape_interval, 9)))
    wanted = scrape_interval * shared
    if listed is None:
        refresh = max(wanted, 60.0 * max(1, len(intervals)) / history_budget)
        lists, reads = 60.0 / FORBIDDEN_FOR, 60.0 * len(intervals) / refresh
    else:
        pages = max(1, math.ceil(listed / PAGE_SIZE))
        refresh = max(wanted, 60.0 * pages / list_budget)
        lists, reads = 60.0 * pages / refresh, _reads(intervals, refresh, history_budget)
    return Cost(
        integrations=Load(round(lists, 2), list_budget),
        job_sync_status=Load(round(reads, 2), history_budget),
        refresh_interval_seconds=round(refresh, 3),
        keeps_up=reads <= history_budget and refresh <= wanted,
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
