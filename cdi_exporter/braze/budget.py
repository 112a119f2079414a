"""The request budget of one endpoint: what may be asked now, and what must wait.

Three bounds hold at once:

- Of `share x limit` slots each is taken by one request and is free again 60 s after that
  request's *end*. So at most as many start in any 60 s, and also at most as many reach
  the server in any 60 s, however long a connection takes: a request reaches the server
  between its start and its end.
- The server's word counts downwards: nothing starts while `X-RateLimit-Remaining`, less
  the requests under way, is at most `(1 - share) x X-RateLimit-Limit`, until the reset.
- After a 429 nothing starts before `Retry-After`, the reset, or a backoff is over.

Until the first answer tells what an earlier process has left of the limit, one request at
a time is under way. Clock: a monotonic one, in seconds; the reset, which is a time of the
server's clock, is compared with the `Date` of the same answer.
"""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

WINDOW = 60.0
"""Seconds of the documented rate limits."""

SPENT_FOR = WINDOW + 0.1
"""Seconds for which a slot stays taken after its request: clocks and timers are not exact."""

INSTANT = 1e-6
"""Seconds that are not waited for: a timer cannot tell them from now."""

LONGEST_WAIT = 3_600.0
"""Seconds after which an announced reset is doubted and one request tried."""

FIRST_BACKOFF = 5.0
LONGEST_BACKOFF = 300.0


@dataclass(frozen=True, slots=True)
class RateLimitHeaders:
    """What an answer says of the rate limit; times are Unix seconds of the server's clock."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    retry_after: float | None = None
    """Seconds from the answer on."""
    date: float | None = None

    @classmethod
    def read(cls, headers: Mapping[str, str], now: float) -> "RateLimitHeaders":
        """Read them leniently: what is no number is not said. `now` is Unix time here."""
        date = _http_date(headers.get("date"))
        retry = _seconds(headers.get("retry-after"), date or now)
        if retry is None:
            retry = _seconds(headers.get("x-ratelimit-retry-after"), date or now)
        return cls(
            limit=_count(headers.get("x-ratelimit-limit")),
            remaining=_count(headers.get("x-ratelimit-remaining")),
            reset=_number(headers.get("x-ratelimit-reset")),
            retry_after=retry,
            date=date,
        )

    def wait(self, now: float) -> float | None:
        """Seconds from the answer to the reset; None where it names none."""
        if self.reset is None:
            return None
        return min(LONGEST_WAIT, max(0.0, self.reset - (self.date or now)))


class Budget:
    """The budget of one endpoint of one API key.

    `limit` is in requests per minute, `share` in (0, 1]. `monotonic` and `wall` give
    seconds; `rng` gives the jitter of the backoff.
    """

    def __init__(
        self,
        limit: int,
        share: float,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.share = share
        self.configured = limit
        self.last = RateLimitHeaders()
        self._monotonic, self._wall, self._rng = monotonic, wall, rng
        self._ended: deque[float] = deque()
        self.under_way = 0
        """Requests that have started and not ended."""
        self._told = False
        self._remaining: int | None = None
        """The lowest that the server said in this window, not knowing of those under way."""
        self._reset = -math.inf
        self._blocked_until = -math.inf
        self._refusals = 0
        self._dissolved = False
        self._changed = asyncio.Event()
        self._queue = asyncio.Lock()

    @property
    def slots(self) -> int:
        """Requests that may start in any 60 s; the server's limit counts where it is lower."""
        limit = min(self.configured, self.last.limit or self.configured)
        return max(1, allowed(limit, self.share))

    @property
    def used(self) -> float:
        """The share of the slots that requests of the last minute hold."""
        self.delay()
        return (self.under_way + len(self._ended)) / self.slots

    def used_since(self, moment: float) -> float:
        """The share of the slots that requests hold which are under way or ended since then."""
        ended = sum(1 for end in reversed(self._ended) if end >= moment)
        return (self.under_way + ended) / self.slots

    async def acquire(self) -> float:
        """Wait for a slot, in turn, and take it; the seconds that it took.

        Each call is followed by one of `release`.
        """
        began = self._monotonic()
        async with self._queue:
            while (wait := self.delay()) > INSTANT:
                self._changed.clear()
                await _wait(self._changed, wait)
            self.under_way += 1
        return self._monotonic() - began

    def release(self, headers: RateLimitHeaders | None = None, *, refused: bool = False) -> None:
        """Give the slot back, with what the answer said; without one it stays unknown."""
        now = self._monotonic()
        self.under_way -= 1
        self._ended.append(now)
        if headers is not None:
            self._told = True
            self._listen(headers, now)
        elif self._remaining is not None:
            self._remaining -= 1
        if refused:
            self._refuse(headers or RateLimitHeaders(), now)
        elif headers is not None:
            self._refusals = 0
        self._changed.set()

    def forgo(self) -> None:
        """Give a slot back that no request was made with."""
        self.under_way -= 1
        self._changed.set()

    def dissolve(self) -> None:
        """Let go whoever waits: no request is made with a slot of this budget any more."""
        self._dissolved = True
        self._changed.set()

    def delay(self) -> float:
        """Seconds until a request may start as things stand; infinite: until another ends."""
        if self._dissolved:
            return 0.0
        now = self._monotonic()
        while self._ended and self._ended[0] <= now - SPENT_FOR:
            self._ended.popleft()
        wait = max(0.0, self._blocked_until - now)
        taken = self.under_way + len(self._ended)
        if taken >= self.slots:
            place = taken - self.slots
            free = self._ended[place] + SPENT_FOR if place < len(self._ended) else math.inf
            wait = max(wait, free - now)
        if now >= self._reset:
            self._remaining = None
        if self._remaining is not None and self._remaining - self.under_way <= self._kept():
            wait = max(wait, self._reset - now)
        if not self._told and self.under_way:
            wait = math.inf
        return wait

    def _listen(self, headers: RateLimitHeaders, now: float) -> None:
        if headers.limit is not None or headers.remaining is not None:
            self.last = headers
        if headers.remaining is None:
            return
        wait = headers.wait(self._wall())
        reset = now + (WINDOW if wait is None else wait)
        if self._remaining is None or reset > self._reset + 1.0:
            self._remaining, self._reset = headers.remaining, reset
        self._remaining = min(self._remaining, headers.remaining)

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
            wait = headers.wait(self._wall())
        if not wait and not again:
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(self._refusals - 1, 16))
            wait = backoff * self._rng.uniform(0.5, 1.0)
        self._blocked_until = max(self._blocked_until, now + min(LONGEST_WAIT, wait or 0.0))


def allowed(limit: int, share: float) -> int:
    """`share x limit` in whole requests, without the error of binary fractions."""
    return math.floor(round(share * limit, 9))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else seconds):
            await event.wait()
    except TimeoutError:
        pass


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
