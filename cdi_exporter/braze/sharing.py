"""What all workspaces with the same API key share: the budgets, the places, the server's clock.

The key is Braze's only name for a workspace, so the budget is that of the key. When a key is
replaced, what the old one has spent goes on to count: the new one is mostly of the same
workspace in Braze, whose limit it is.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol, Self

from cdi_exporter.braze.budget import (
    Allowance,
    Budget,
    BudgetReport,
    RateLimitHeaders,
    ServerClock,
    Slot,
)
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.clock import Clock
from cdi_exporter.config import Secret
from cdi_exporter.model import Endpoint, Within

MOST_AT_ONCE = 10
"""Requests of a workspace that may be under way together."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a workspace's configuration allows: requests per minute by endpoint, and the share."""

    limits: dict[Endpoint, int]
    share: float


Age = Annotated[float, Within(-3600.0, 3600.0)]
"""Seconds since a request ended; negative if it may end only in the future."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What is spent of the budgets of one key, by endpoint; as `BudgetReport.ages`."""

    integrations: tuple[Age | None, ...]
    job_sync_status: tuple[Age | None, ...]

    @classmethod
    def of(cls, reports: Mapping[Endpoint, BudgetReport]) -> "Spending":
        """Ages in tenths of a second: no request becomes older than it is."""
        ages = {
            endpoint.value: tuple(age and math.floor(10 * age) / 10 for age in report.ages)
            for endpoint, report in reports.items()
        }
        return cls(**ages)


@dataclass(frozen=True, slots=True)
class KeyAt:
    """A key, and the base URL that it is sent to."""

    base_url: str
    key: Secret


class KeyBudgets:
    """What the requests with one key share."""

    def __init__(self, clock: Clock, bounds: Bounds) -> None:
        self.server_clock = ServerClock()
        self.places = asyncio.Semaphore(MOST_AT_ONCE)
        self.budgets = {
            endpoint: Budget(
                limit,
                bounds.share,
                monotonic=clock.monotonic,
                server=lambda: clock.wall() + self.server_clock.ahead,
                rng=clock.rng,
            )
            for endpoint, limit in bounds.limits.items()
        }

    def configure(self, several: Iterable[Bounds]) -> None:
        """Keep to what each of the workspaces allows; what the budgets know stays."""
        bounds = [*several]
        for endpoint, budget in self.budgets.items():
            budget.configured = min(each.limits[endpoint] for each in bounds)
            budget.share = min(each.share for each in bounds)

    def remember(self, other: "KeyBudgets") -> None:
        """Count what was spent with another key."""
        if other is self:
            return
        for endpoint, budget in self.budgets.items():
            budget.remember(other.budgets[endpoint])

    def allow(self, allowance: Allowance) -> None:
        """Take no more than this of the budgets from now on."""
        for budget in self.budgets.values():
            budget.allow(allowance)

    @property
    def allowance(self) -> Allowance:
        """What may be taken of the budgets."""
        return self.budgets[Endpoint.HISTORY].allowance

    def report(self) -> dict[Endpoint, BudgetReport]:
        """What is spent of the budgets, for the exporter that spends them next."""
        return {endpoint: budget.report() for endpoint, budget in self.budgets.items()}

    def note_reported(self, reports: Mapping[Endpoint, BudgetReport]) -> None:
        """Go on: other exporters know of `reports` by now."""
        for endpoint, report in reports.items():
            self.budgets[endpoint].note_reported(report)

    def assume(self, spending: Spending | None, age: float, under_way_for: float) -> None:
        """Count what another exporter reported `age` seconds ago; everything if that is unknown.

        What may still be under way ends within `under_way_for` seconds.
        """
        for endpoint, budget in self.budgets.items():
            unknown = (0.0,) * budget.slots
            ages = getattr(spending, endpoint.value) if spending else unknown
            budget.assume([None if one is None else one + age for one in ages], under_way_for)

    def wake(self) -> None:
        """Wake all waiters, so that each checks whether it still wants a slot."""
        for budget in self.budgets.values():
            budget.wake()

    @property
    def spent(self) -> bool:
        """Whether requests of the last minute are to be remembered."""
        return any(budget.spent() for budget in self.budgets.values())


class RequestPermit:
    """The right to one request with one key: a slot of its budget, and a place among those at once.

    It gives back what it still holds as a context manager, and with `close`.
    """

    def __init__(self, holder: object, endpoint: Endpoint, stats: RequestStats) -> None:
        self.holder, self.endpoint, self.stats = holder, endpoint, stats
        self.key: Secret | None = None
        """The key whose budget the slot is of: no other may be sent with it."""
        self._shared: KeyBudgets | None = None
        self._slot: Slot | None = None

    def take(self, shared: KeyBudgets, slot: Slot, key: Secret) -> None:
        """Hold a slot, and the place that was acquired with it."""
        self._shared, self._slot, self.key = shared, slot, key

    def release(
        self, headers: RateLimitHeaders | None, *, refused: bool = False, foreign: bool = False
    ) -> None:
        """The request is over; the budget takes note of the answer's headers."""
        shared, slot = self._shared, self._slot
        if shared is not None and slot is not None:
            self._shared = self._slot = None
            shared.places.release()
            shared.budgets[self.endpoint].release(slot, headers, refused=refused, foreign=foreign)

    def close(self) -> None:
        """Give back what no request was made with; nothing if a request was made."""
        shared, slot = self._shared, self._slot
        if shared is not None and slot is not None:
            self._shared = self._slot = None
            shared.places.release()
            shared.budgets[self.endpoint].cancel(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Member(Protocol):
    """A workspace's client, as far as it shares."""

    bounds: Bounds
    shared: KeyBudgets


class Register:
    """Which workspaces have which key, and so share what."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shared: dict[KeyAt, KeyBudgets] = {}
        self._keys: dict[Member, KeyAt] = {}

    def key_of(self, member: Member) -> KeyAt | None:
        """The key with which a client was entered last."""
        return self._keys.get(member)

    def enter(self, member: Member, key_at: KeyAt) -> None:
        """Give a client what those with its key share; it may have had another key before."""
        before = self._keys.get(member)
        if before != key_at:
            self._move(member, before, key_at)
        self._configure(key_at)

    def leave(self, member: Member) -> None:
        """A client is not used any more; what it spent is remembered for a minute."""
        key_at = self._keys.pop(member, None)
        if key_at is not None:
            self._configure(key_at)

    def _move(self, member: Member, before: KeyAt | None, key_at: KeyAt) -> None:
        self._keys[member] = key_at
        former = self._shared.get(before) if before else None
        same_place = before is not None and before.base_url == key_at.base_url
        replaced = former is not None and same_place and not self._members(before)
        if before is not None and replaced and key_at not in self._shared:
            # The usual rotation: the budget goes on under the new key.
            self._shared[key_at] = self._shared.pop(before)
            return
        self._forget_spent()
        shared = self._shared.get(key_at)
        if shared is None:
            shared = self._shared[key_at] = KeyBudgets(self._clock, member.bounds)
            shared.allow(member.shared.allowance)
        if former is not None and same_place:
            shared.remember(former)
        if before is not None:
            self._configure(before)
        member.shared = shared

    def _members(self, key_at: KeyAt | None) -> list[Member]:
        return [member for member, its in self._keys.items() if its == key_at]

    def _configure(self, key_at: KeyAt) -> None:
        members = self._members(key_at)
        if members:
            self._shared[key_at].configure(member.bounds for member in members)

    def _forget_spent(self) -> None:
        """Forget keys that nobody has and whose requests are more than a minute ago."""
        held = set(self._keys.values())
        for key_at in [*self._shared]:
            if key_at not in held and not self._shared[key_at].spent:
                del self._shared[key_at]
