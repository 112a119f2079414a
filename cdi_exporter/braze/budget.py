"""The request budget of one endpoint and one API key: when the next request may start.

Three limits apply together:

- There are `share x limit` slots. Each request takes one, which becomes free 60 s after the *end*
  of the request. So in any 60 s, at most that many requests start, and at most that many reach
  Braze, however long a connection takes: a request reaches Braze between its start and its end.
- Braze's headers can only lower that. No request starts while `X-RateLimit-Remaining` minus the
  requests in progress is at most `(1 - share) x X-RateLimit-Limit`, until the reset. The newest
  response counts. The order of responses to simultaneous requests is unknown: all of them count.
- After a 429, no request starts before `Retry-After`, the reset or a backoff has passed.

Until the first response shows how much of the limit an earlier process has used, requests are sent
one at a time. Times are seconds of a monotonic clock. The reset is a time of Braze's clock. It is
compared with the `Date` header of the same response, unless that seems wrong.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import count

WINDOW = 60.0
"""Seconds to which Braze's documented rate limits apply."""

SPENT_FOR = WINDOW + 0.1
"""Seconds for which a slot stays in use after its request. Clocks and timers are not exact."""

INSTANT = 1e-6
"""A wait of fewer seconds counts as none: timers are not that exact."""

SAME_WITHIN = 30.0
"""Seconds by which two measurements of the same clock difference may deviate. A `Date` has whole
seconds, and may be as old as the response took (10 s by default)."""

CONFIRMATIONS = 3
"""Consecutive responses that must agree before a new clock difference is used. One gateway with a
wrong clock, or one response altered twice, is not enough. Three arrive within a scrape or two."""

LARGEST_FIRST = 86_400.0
"""Largest clock difference, in seconds, that the first response can establish. A wrong time zone
makes a difference of hours, a clock that was never set one of years."""

LONGEST_WAIT = 3_600.0
"""Seconds after which one request is sent even if the announced reset is later: the announcement
may be wrong."""

CHECK_EVERY = 1.0
"""Seconds between checks for events that wake no waiter, such as the end of a request of another
budget."""

FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0
"""Seconds to wait after the first 429 that names no time, and after many. The longest wait is five
windows, because the cause may be temporary."""

UNREPORTED = 6
"""Between two reports to other exporters, at most one of this many slots is taken. An exporter that
reads a report must assume that all of these are in use. The leader reports every one or two
seconds while it sends requests."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much of a budget this exporter may use, if it shares the budget with other exporters."""

    part: float = 1.0
    """Part of the configured share."""
    least: int = 1
    """Slots that it has at least."""
    until: float = math.inf
    """Event loop time after which no request may start."""


WHOLE = Allowance()
NOTHING = Allowance(part=0.0, least=0)


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """The slots in use of a budget, for the exporter that uses it next."""

    ages: tuple[float | None, ...]
    """Seconds since the request of each slot ended. None for a request that may be in progress, and
    for each one that may start before the next report."""
    started: int
    """Number of requests started so far."""


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """The rate limit headers of a response. Times are Unix seconds of Braze's clock."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_after: float | None = None
    """Seconds after the response."""
    date: float | None = None
    """Time of the response according to its `Date` header."""

    @classmethod
    def read(cls, headers: Mapping[str, str], now: float) -> "RateLimitHeaders":
        """Parse the headers. Invalid values count as absent. `now` is Braze's time.

        The `Date` of a response with an `Age` header is ignored: a cache has stored it.
        """
        date = _http_date(headers.get("date"))
        retry = _seconds(headers.get("retry-after"), date or now)
        if retry is None:
            retry = _seconds(headers.get("x-ratelimit-retry-after"), date or now)
        return cls(
            limit=_count(headers.get("x-ratelimit-limit")),
            remaining=_count(headers.get("x-ratelimit-remaining")),
            reset=_number(headers.get("x-ratelimit-reset")),
            retry_after=retry,
            date=None if "age" in headers else date,
        )

    def wait(self, server: float) -> float | None:
        """Seconds from the response to the reset; None without a reset.

        `server` is the estimated time of Braze's clock. If it differs much from the `Date` of the
        response, one of the two is wrong: only a wait of at most one window is plausible then.
        """
        if self.reset is None:
            return None
        waits = [self.reset - server]
        if self.date is not None:
            waits.append(self.reset - self.date)
        if abs(waits[0] - waits[-1]) > SAME_WITHIN:
            waits = [wait for wait in waits if 0 < wait <= WINDOW + 1] or [WINDOW]
            return max(waits)
        return min(LONGEST_WAIT, max(0.0, waits[-1]))


class ServerClock:
    """The difference between Braze's clock and this machine's, measured from responses."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds by which Braze's clock is ahead; negative if it is behind."""
        self._known = False
        self._jumps: list[float] = []

    def note(self, ahead: float) -> None:
        """Add the difference that a response shows.

        A jump is accepted only when several consecutive responses agree.
        """
        if self._known and abs(ahead - self.ahead) <= SAME_WITHIN:
            self.ahead, self._jumps = ahead, []
            return
        if self._jumps and abs(ahead - self._jumps[-1]) > SAME_WITHIN:
            self._jumps = []
        self._jumps.append(ahead)
        first = not self._known and abs(ahead) <= LARGEST_FIRST
        if first or len(self._jumps) >= CONFIRMATIONS:
            self.ahead, self._known, self._jumps = ahead, True, []


@dataclass(eq=False, slots=True)
class Slot:
    """One request in the budget, from its start until a minute after its end."""

    started: int
    """Position in the order of all starts and ends."""
    waited: float = 0.0
    """Seconds that the request waited for the slot."""
    ended: float | None = None
    """Event loop time; None while the request is in progress."""


@dataclass(slots=True)
class _Remainder:
    """The rest of the limit according to one response."""

    came: int
    """Position of the response in the order of all starts and ends."""
    remaining: int
    """`X-RateLimit-Remaining`, minus the requests that have ended since without these headers."""
    reset: float
    """Event loop time."""


_order = count()
"""Numbers all starts and ends, because two may have the same time."""


class Budget:
    """The request budget of one endpoint and one API key.

    `limit` is in requests per minute, `share` in (0, 1]. `monotonic` and `server` return seconds
    of the event loop and of Braze's clock. `rng` provides the jitter of the backoff.
    """

    def __init__(
        self,
        limit: int,
        share: float,
        *,
        monotonic: Callable[[], float],
        server: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.share = share
        self.configured = limit
        self.allowance = WHOLE
        self.last = RateLimitHeaders()
        self._monotonic, self._server, self._rng = monotonic, server, rng
        self._running: set[Slot] = set()
        self._ended: deque[Slot] = deque()
        self._others: list[Slot] = []
        """Slots of other budgets that may belong to the same workspace in Braze."""
        self._answered = False
        self._remainders: list[_Remainder] = []
        """Of the newest response, and of responses to requests that overlapped with its request."""
        self._blocked_until = -math.inf
        self._refusals = 0
        self._started = 0
        """Number of requests started so far."""
        self._reported: BudgetReport | None = None
        """The last report to other exporters; None if no reports are needed."""
        self._waiters: list[asyncio.Event] = []
        """One event for each waiting request, in order of arrival; set to make it check again."""

    @property
    def slots(self) -> int:
        """Requests that may start in any 60 s, for estimates: at least 1."""
        return max(1, self._slots)

    @property
    def _slots(self) -> int:
        """Requests that may start in any 60 s: of the lower of the two limits, and possibly 0."""
        limit = min(self.configured, self.last.limit or self.configured)
        return max(self.allowance.least, allowed(limit, self.share * self.allowance.part))

    @property
    def running(self) -> int:
        """Number of requests in progress."""
        return len(self._running)

    @property
    def used(self) -> float:
        """The slots in use as a part of all slots."""
        return len(self.spent()) / self.slots

    def remember(self, other: "Budget") -> None:
        """Count the slots in use of another budget, which may be for the same workspace in Braze.

        Slots that are counted already are not added. Requests that the other budget has in progress
        count here until a minute after their end.
        """
        known = {*self.spent()}
        self._others += [slot for slot in other.spent() if slot not in known]

    async def acquire_while(self, wanted: Callable[[], bool]) -> Slot | None:
        """Wait in line for a slot and take it; `release` or `cancel` gives it back.

        Returns None if `wanted` becomes false, which is checked again after each `wake`.
        """
        began = self._monotonic()
        woken = asyncio.Event()
        self._waiters.append(woken)
        try:
            while wanted():
                wait = self.delay() if self._waiters[0] is woken else math.inf
                if wait <= INSTANT:
                    return self._take(self._monotonic() - began)
                woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if math.isinf(wait) else wait):
                        await woken.wait()
            return None
        finally:
            self._waiters.remove(woken)
            if self._waiters:
                self._waiters[0].set()

    def wake(self) -> None:
        """Wake all waiters, so that each checks whether it still wants a slot."""
        for woken in self._waiters:
            woken.set()

    def _take(self, waited: float) -> Slot:
        slot = Slot(next(_order), waited)
        self._started += 1
        self._running.add(slot)
        return slot

    def release(
        self,
        slot: Slot,
        headers: RateLimitHeaders | None = None,
        *,
        refused: bool = False,
        foreign: bool = False,
    ) -> None:
        """Note that the request of a slot has ended, with the headers of the response, if any.

        `refused` means a 429. `foreign` means that the response is not from Braze: its headers
        count only if it is a refusal.
        """
        now = self._monotonic()
        slot.ended = now
        self._running.discard(slot)
        self._ended.append(slot)
        if headers is None or foreign:
            for each in self._remainders:
                each.remaining -= 1
        else:
            self._answered = True
            self._note_limit(slot, headers, now)
            if not refused:
                self._refusals = 0
        if refused:
            self._refuse(headers or RateLimitHeaders(), now)
        if self._waiters:
            self._waiters[0].set()

    def cancel(self, slot: Slot) -> None:
        """Give back a slot for which no request was sent."""
        slot.ended = -math.inf
        self._running.discard(slot)
        if self._waiters:
            self._waiters[0].set()

    def delay(self) -> float:
        """Seconds until a request may start; infinite if that depends on another event."""
        now = self._monotonic()
        self._expire(now)
        if now >= self.allowance.until or (self._running and not self._answered):
            return math.inf
        wait = max(0.0, self._blocked_until - now, self._free_in(now))
        limit = self.last.limit or self.configured
        kept = limit - allowed(limit, self.share)  # for other tools with the same workspace
        taken = len(self._running) + sum(1 for slot in self._others if slot.ended is None)
        for each in self._remainders:
            if each.remaining - taken <= kept:
                wait = max(wait, each.reset - now)
        if self._reported and self._started - self._reported.started >= self._most_unreported:
            wait = max(wait, CHECK_EVERY)
        return wait

    # Budgets that several exporters share

    @property
    def is_open(self) -> bool:
        """Whether requests may start at all: not without a valid lease, if exporters share it."""
        return self._slots > 0 and self._monotonic() < self.allowance.until

    @property
    def _most_unreported(self) -> int:
        """Requests that may start between two reports."""
        return -(-self.slots // UNREPORTED)

    def allow(self, allowance: Allowance) -> None:
        """Limit what this exporter may use; if the allowance ends, reports are needed as well."""
        self.allowance = allowance
        if allowance.until == math.inf:
            self._reported = None
        elif self._reported is None:
            self._reported = BudgetReport((), self._started)
        self.wake()

    def report(self) -> BudgetReport:
        """The slots in use, and those that may be taken before the next report."""
        now = self._monotonic()
        spent = [None if slot.ended is None else now - slot.ended for slot in self.spent()]
        return BudgetReport((*spent, *[None] * self._most_unreported), self._started)

    def note_reported(self, report: BudgetReport) -> None:
        """Allow further requests, because other exporters can now read `report`."""
        self._reported = report
        self.wake()

    def assume(self, ages: Sequence[float | None], running_for: float) -> None:
        """Count the slots of another exporter; `ages` are those of its `BudgetReport`.

        Its requests that may still be in progress end within `running_for` seconds.
        """
        now = self._monotonic()
        for age in ages:
            ended = now + running_for if age is None else now - age
            self._others.append(Slot(next(_order), ended=ended))

    def spent(self) -> list[Slot]:
        """The slots in use: their requests are in progress, or ended less than a minute ago."""
        self._expire(self._monotonic())
        return [*self._running, *self._ended, *self._others]

    def _expire(self, now: float) -> None:
        """Forget slots a minute after their requests."""
        over = now - SPENT_FOR
        while self._ended and (self._ended[0].ended or 0.0) <= over:
            self._ended.popleft()
        if self._others:
            self._others = [slot for slot in self._others if _end(slot) > over]

    def _free_in(self, now: float) -> float:
        """Seconds until a slot is free; infinite if a request must end first."""
        place = len(self._running) + len(self._ended) + len(self._others) - self._slots
        if place < 0:
            return 0.0
        ended: Sequence[Slot] = self._ended
        if self._others:
            both = (*self._ended, *self._others)
            ended = sorted((each for each in both if each.ended is not None), key=_end)
        if place < len(ended):
            return _end(ended[place]) + SPENT_FOR - now
        # A request of another budget wakes no waiter of this one when it ends.
        return CHECK_EVERY if any(each.ended is None for each in self._others) else math.inf

    def _note_limit(self, slot: Slot, headers: RateLimitHeaders, now: float) -> None:
        if headers.limit is not None or headers.remaining is not None:
            self.last = headers
        if headers.remaining is None:
            return
        wait = headers.wait(self._server())
        reset = now + (WINDOW if wait is None else wait)
        # Responses that came before this request started are older. Of those that came while it
        # was in progress, Braze may have sent each before or after this one.
        self._remainders = [each for each in self._remainders if each.came > slot.started]
        self._remainders.append(_Remainder(next(_order), headers.remaining, reset))

    def _refuse(self, headers: RateLimitHeaders, now: float) -> None:
        again = now < self._blocked_until  # sent before another request was refused
        if not again:
            self._refusals += 1
        wait = headers.retry_after
        if wait is None:
            wait = headers.wait(self._server())
        if not wait and not again:
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._refusals - 1, 16))
            wait = backoff * self._rng.uniform(0.5, 1.0)
        if wait:
            self._blocked_until = max(self._blocked_until, now + min(LONGEST_WAIT, wait))


def allowed(limit: int, share: float) -> int:
    """`share x limit`, rounded down, without binary errors: 0.7 x 90 is 63, not 62."""
    return math.floor(round(share * limit, 9))


def _end(slot: Slot) -> float:
    return math.inf if slot.ended is None else slot.ended


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _count(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _seconds(text: str | None, since: float) -> float | None:
    """The value of Retry-After in seconds; it may be an HTTP date (RFC 9110, section 10.2.3)."""
    seconds = _number(text)
    if seconds is None and (moment := _http_date(text)) is not None:
        seconds = max(0.0, moment - since)
    return seconds


def _http_date(text: str | None) -> float | None:
    """An HTTP date as Unix seconds. A form without a time zone means UTC (RFC 9110, 5.6.7)."""
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
