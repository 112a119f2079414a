"""The request budget of one endpoint: what may be asked now, and what must wait.

Three bounds hold at once:

- Of `share x limit` slots each is taken by one request and is free again 60 s after that
  request's *end*. So at most as many start in any 60 s, and also at most as many reach
  the server in any 60 s, however long a connection takes: a request reaches the server
  between its start and its end.
- What the server says can only lower that: nothing starts while `X-RateLimit-Remaining`, less
  the requests under way, is at most `(1 - share) x X-RateLimit-Limit`, until the reset. The
  newest answer counts, whether it says more or less than the one before. Of answers to requests
  that were under way together nobody knows which is the newest: all of them count.
- After a 429 nothing starts before `Retry-After`, the reset, or a backoff is over.

Until the first answer says what an earlier process has left of the limit, one request at
a time is under way. Clock: a monotonic one, in seconds; the reset, which is a time of the
server's clock, is compared with the `Date` of the same answer, unless that is doubtful.
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
"""Seconds of the documented rate limits."""

SPENT_FOR = WINDOW + 0.1
"""Seconds for which a slot stays taken after its request: clocks and timers are not exact."""

INSTANT = 1e-6
"""Seconds that are not waited for: a timer cannot tell them from now."""

CLOCKS_AGREE = 30.0
"""Seconds by which two differences between the clocks may differ and still be the same one: a
`Date` is in whole seconds, and as old as its answer was under way (10 s by default)."""

JUMP_BELIEVED_AFTER = 3
"""Answers that must agree on a new difference: one odd gateway, or one answer that was altered
twice, is not enough, and three answers come within a scrape or two."""

FIRST_BELIEVED = 86_400.0
"""Seconds of difference that the first answer alone may show: clocks that were never set are
off by years, those of a wrong time zone by hours."""

LONGEST_WAIT = 3_600.0
"""Seconds after which an announced reset is doubted and one request tried."""

LOOKS_EVERY = 1.0
"""Seconds between two looks at requests that another budget has under way."""

FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0
"""Seconds to wait after a 429 that names no time: five windows at most, since it may be temporary.
"""

UNREPORTED = 6
"""Of so many slots one may be taken between two reports of what is spent: whoever reads a report
must count as many more. A leader reports every second or two while it sends requests."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an exporter that shares its budget with others may take of it."""

    part: float = 1.0
    """Of the share."""
    least: int = 1
    """Slots that it has in any case."""
    until: float = math.inf
    """Loop seconds from which on nothing may start."""


WHOLE = Allowance()
NOTHING = Allowance(part=0.0, least=0)


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """What is spent of a budget, for the exporter that spends it next."""

    ages: tuple[float | None, ...]
    """For each slot the seconds since its request ended; None if it may still be under way, and
    for each that may be taken before the next report."""
    started: int
    """Requests that had started."""


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """What an answer says of the rate limit; times are Unix seconds of the server's clock."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_after: float | None = None
    """Seconds from the answer on."""
    date: float | None = None
    """When the server says that it answered."""

    @classmethod
    def read(cls, headers: Mapping[str, str], now: float) -> "RateLimitHeaders":
        """Read them leniently: what is not a number counts as absent. `now` is the server's time.

        An answer with an `Age` comes from a cache: its `Date` is not the time of now.
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
        """Seconds from the answer to the reset; None if it names none.

        `server` is what the server's clock shows as far as is known. If the `Date` of the answer
        is far from that, one of them is wrong: then what fits a window counts.
        """
        if self.reset is None:
            return None
        waits = [self.reset - server]
        if self.date is not None:
            waits.append(self.reset - self.date)
        if abs(waits[0] - waits[-1]) > CLOCKS_AGREE:
            waits = [wait for wait in waits if 0 < wait <= WINDOW + 1] or [WINDOW]
            return max(waits)
        return min(LONGEST_WAIT, max(0.0, waits[-1]))


class ServerClock:
    """How far the server's clock is ahead of this machine's, as its answers show."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds; negative if it is behind."""
        self._known = False
        self._jumps: list[float] = []

    def note(self, ahead: float) -> None:
        """An answer shows this difference; a jump counts once several in a row agree on it."""
        if self._known and abs(ahead - self.ahead) <= CLOCKS_AGREE:
            self.ahead, self._jumps = ahead, []
            return
        if self._jumps and abs(ahead - self._jumps[-1]) > CLOCKS_AGREE:
            self._jumps = []
        self._jumps.append(ahead)
        first = not self._known and abs(ahead) <= FIRST_BELIEVED
        if first or len(self._jumps) >= JUMP_BELIEVED_AFTER:
            self.ahead, self._known, self._jumps = ahead, True, []


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one request in the budget, from its start until a minute after its end."""

    started: int
    """Its place in the order of all starts and ends."""
    waited: float = 0.0
    """Seconds that it took to get."""
    ended: float | None = None
    """Loop seconds; None while it is under way."""


@dataclass(slots=True)
class _Remainder:
    """What an answer says is left of the limit."""

    came: int
    """Its place in the order of all starts and ends."""
    remaining: int
    """Not counting the requests that ended since without saying anything."""
    reset: float
    """Loop seconds."""


_order = count()
"""Of all starts and ends; times may be equal."""


class Budget:
    """The budget of one endpoint of one API key.

    `limit` is in requests per minute, `share` in (0, 1]. `monotonic` and `server` give
    seconds, the latter of the server's clock; `rng` gives the jitter of the backoff.
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
        """Of another budget, which may have been spent for the same workspace."""
        self._answered = False
        self._remainders: list[_Remainder] = []
        """Of the newest answer, and of those whose requests were under way together with its."""
        self._blocked_until = -math.inf
        self._refusals = 0
        self._started = 0
        """Requests that have started since the beginning."""
        self._reported: BudgetReport | None = None
        """What was last reported to other exporters; None while nothing has to be."""
        self._waiters: list[asyncio.Event] = []
        """One for each request that waits for a slot, in turn; set when things have changed."""

    @property
    def slots(self) -> int:
        """Requests that may start in any 60 s, at least 1, as far as plans are made with it."""
        return max(1, self._slots)

    @property
    def _slots(self) -> int:
        """Requests that may start in any 60 s; the server's limit counts where it is lower."""
        limit = min(self.configured, self.last.limit or self.configured)
        return max(self.allowance.least, allowed(limit, self.share * self.allowance.part))

    @property
    def under_way(self) -> int:
        """Requests that have started and not ended."""
        return len(self._running)

    @property
    def used(self) -> float:
        """The share of the slots that requests of the last minute hold."""
        return len(self.spent()) / self.slots

    def remember(self, other: "Budget") -> None:
        """Count what another budget has spent, once: it may have been spent for the same workspace.

        What it has under way goes on to count here when it ends.
        """
        known = {id(slot) for slot in self.spent()}
        self._others += [slot for slot in other.spent() if id(slot) not in known]

    async def acquire_while(self, wanted: Callable[[], bool]) -> Slot | None:
        """Wait in line for a slot, and take it; `release` or `cancel` gives it back.

        None if it is not `wanted` any more, which `wake` makes it look at.
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
                await _set_within(woken, wait)
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
        """Give the slot back, with the headers of the answer if there was one.

        Of an answer that is `foreign`, not Braze's, only a refusal counts.
        """
        now = self._monotonic()
        slot.ended = now
        self._running.discard(slot)
        self._ended.append(slot)
        if headers is not None and not foreign:
            self._answered = True
            self._note_limit(slot, headers, now)
        else:
            for each in self._remainders:
                each.remaining -= 1
        if refused:
            self._refuse(headers or RateLimitHeaders(), now)
        elif headers is not None and not foreign:
            self._refusals = 0
        if self._waiters:
            self._waiters[0].set()

    def cancel(self, slot: Slot) -> None:
        """Give a slot back that no request was made with."""
        slot.ended = -math.inf
        self._running.discard(slot)
        if self._waiters:
            self._waiters[0].set()

    def delay(self) -> float:
        """Seconds until a request may start, as far as is known; infinite: until another ends."""
        now = self._monotonic()
        self._expire(now)
        wait = max(0.0, self._blocked_until - now, self._free_in(now))
        taken = len(self._running) + sum(1 for slot in self._others if slot.ended is None)
        for each in self._remainders:
            if each.remaining - taken <= self._kept():
                wait = max(wait, each.reset - now)
        if not self._answered and self._running:
            wait = math.inf
        if now >= self.allowance.until:
            wait = math.inf
        elif self._unreported >= self._most_unreported:
            wait = max(wait, LOOKS_EVERY)
        return wait

    # Where other exporters spend it, too

    @property
    def is_open(self) -> bool:
        """Whether requests may start at all: not after the lead was lost, nor while following."""
        return self._slots > 0 and self._monotonic() < self.allowance.until

    @property
    def _unreported(self) -> int:
        """Requests that started since the last report; 0 if nobody reports."""
        return self._started - self._reported.started if self._reported else 0

    @property
    def _most_unreported(self) -> int:
        return -(-self.slots // UNREPORTED)

    def allow(self, allowance: Allowance) -> None:
        """Take no more than this from now on; until a given time only what is reported."""
        self.allowance = allowance
        if allowance.until == math.inf:
            self._reported = None
        elif self._reported is None:
            self._reported = BudgetReport((), self._started)
        self.wake()

    def report(self) -> BudgetReport:
        """What is spent, and what may be spent before the next report."""
        now = self._monotonic()
        spent = [None if slot.ended is None else now - slot.ended for slot in self.spent()]
        return BudgetReport((*spent, *[None] * self._most_unreported), self._started)

    def note_reported(self, report: BudgetReport) -> None:
        """Go on: others know of `report` by now."""
        self._reported = report
        self.wake()

    def assume(self, ages: Sequence[float | None], under_way_for: float) -> None:
        """Count what another exporter has spent, by the seconds since its requests ended.

        What may still be under way ends within `under_way_for` seconds.
        """
        now = self._monotonic()
        for age in ages:
            ended = now + under_way_for if age is None else now - age
            self._others.append(Slot(next(_order), ended=ended))

    def spent(self) -> list[Slot]:
        """The slots that are taken: under way, or ended less than a minute ago."""
        self._expire(self._monotonic())
        return [*self._running, *self._ended, *self._others]

    def _expire(self, now: float) -> None:
        """Forget what is over: slots after their minute, remainders after their reset."""
        over = now - SPENT_FOR
        while self._ended and (self._ended[0].ended or 0.0) <= over:
            self._ended.popleft()
        if self._others:
            self._others = [slot for slot in self._others if _end(slot) > over]
        if self._remainders:
            self._remainders = [each for each in self._remainders if now < each.reset]

    def _free_in(self, now: float) -> float:
        """Seconds until a slot is free."""
        place = len(self._running) + len(self._ended) + len(self._others) - self._slots
        if place < 0:
            return 0.0
        ended: Sequence[Slot] = self._ended
        if self._others:
            both = (*self._ended, *self._others)
            ended = sorted((each for each in both if each.ended is not None), key=_end)
        if place < len(ended):
            return _end(ended[place]) + SPENT_FOR - now
        # The end of a request of another budget wakes nobody here.
        return LOOKS_EVERY if any(each.ended is None for each in self._others) else math.inf

    def _note_limit(self, slot: Slot, headers: RateLimitHeaders, now: float) -> None:
        if headers.limit is not None or headers.remaining is not None:
            self.last = headers
        if headers.remaining is None:
            return
        wait = headers.wait(self._server())
        reset = now + (WINDOW if wait is None else wait)
        # What came before this request started is older. What came while it was under way may
        # have been sent before or after this: requests overtake each other.
        self._remainders = [each for each in self._remainders if each.came > slot.started]
        self._remainders.append(_Remainder(next(_order), headers.remaining, reset))

    def _kept(self) -> int:
        """What is left to other tools with the same workspace."""
        limit = self.last.limit or self.configured
        return limit - allowed(limit, self.share)

    def _refuse(self, headers: RateLimitHeaders, now: float) -> None:
        again = now < self._blocked_until  # it was under way when another one was refused
        if not again:
            self._refusals += 1
        wait = headers.retry_after
        if wait is None:
            wait = headers.wait(self._server())
        if not wait and not again:
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._refusals - 1, 16))
            wait = backoff * self._rng.uniform(0.5, 1.0)
        self._blocked_until = max(self._blocked_until, now + min(LONGEST_WAIT, wait or 0.0))


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if math.isinf(seconds) else seconds):
            await event.wait()


def allowed(limit: int, share: float) -> int:
    """`share x limit` in whole requests, without the error of binary fractions."""
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
    """The seconds of a Retry-After, which may be an HTTP date (RFC 9110, section 10.2.3)."""
    seconds = _number(text)
    if seconds is None and (moment := _http_date(text)) is not None:
        seconds = max(0.0, moment - since)
    return seconds


def _http_date(text: str | None) -> float | None:
    """An HTTP date as Unix seconds; one form has no zone and means UTC (RFC 9110, 5.6.7)."""
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
