"""What the workspaces with the same API key share: request budgets and the server's clock.

Braze limits requests per workspace, and the key is all that identifies a workspace in Braze. So
the budgets belong to the key. When a key is replaced, the requests that were sent with the old
key still count: the new key usually belongs to the same workspace in Braze.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

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
"""Requests with one key that may be in progress at the same time. More would not be faster."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A workspace's rate limits, in requests per minute by endpoint, and its share of them."""

    limits: dict[Endpoint, int]
    share: float


Age = Annotated[float, Within(-3600.0, 3600.0)]
"""Seconds since a request ended; negative if it may end only in the future."""


@dataclass(frozen=True, slots=True)
class Spending:
    """The slots in use of one key's budgets, by endpoint, as exporters report it to each other.

    Each field has the format of `BudgetReport.ages`.
    """

    integrations: tuple[Age | None, ...]
    job_sync_status: tuple[Age | None, ...]

    @classmethod
    def of(cls, reports: Mapping[Endpoint, BudgetReport]) -> "Spending":
        """Round the ages down to tenths of a second, so that no request seems older than it is."""
        ages = {
            endpoint.value: tuple(age and math.floor(10 * age) / 10 for age in report.ages)
            for endpoint, report in reports.items()
        }
        return cls(**ages)


class KeyBudgets:
    """The budgets of one key, by endpoint, and what else the clients with this key share."""

    def __init__(self, clock: Clock, bounds: Bounds, key: tuple[str, Secret] | None = None) -> None:
        self.key = key
        """The workspace URL and the key; None if the budgets are not registered."""
        self.bounds: dict[object, Bounds] = {}
        """The bounds of each client with this key."""
        self.server_clock = ServerClock()
        self.places = asyncio.Semaphore(MOST_AT_ONCE)
        """Limits the number of concurrent requests."""
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

    def configure(self) -> None:
        """Apply the lowest bounds of all clients; requests that were sent still count."""
        for endpoint, budget in self.budgets.items() if self.bounds else ():
            budget.configured = min(each.limits[endpoint] for each in self.bounds.values())
            budget.share = min(each.share for each in self.bounds.values())

    def leave(self, client: object) -> None:
        """Remove a client; the requests that it sent still count for a minute."""
        self.bounds.pop(client, None)
        self.configure()

    def remember(self, other: "KeyBudgets") -> None:
        """Count the requests that were sent with another key."""
        if other is self:
            return
        for endpoint, budget in self.budgets.items():
            budget.remember(other.budgets[endpoint])

    def allow(self, allowance: Allowance) -> None:
        """Limit what this exporter may use of the budgets from now on."""
        for budget in self.budgets.values():
            budget.allow(allowance)

    @property
    def allowance(self) -> Allowance:
        """What this exporter may use of the budgets."""
        return self.budgets[Endpoint.HISTORY].allowance

    def report(self) -> dict[Endpoint, BudgetReport]:
        """The slots in use, for the exporter that uses the budgets next."""
        return {endpoint: budget.report() for endpoint, budget in self.budgets.items()}

    def note_reported(self, reports: Mapping[Endpoint, BudgetReport]) -> None:
        """Allow further requests, because other exporters can now read `reports`."""
        for endpoint, report in reports.items():
            self.budgets[endpoint].note_reported(report)

    def assume(self, spending: Spending | None, age: float, running_for: float) -> None:
        """Count what another exporter reported `age` seconds ago; None counts as a full budget.

        Its requests that may still be in progress end within `running_for` seconds.
        """
        for endpoint, budget in self.budgets.items():
            unknown = (0.0,) * budget.slots
            ages = getattr(spending, endpoint.value) if spending else unknown
            budget.assume([None if one is None else one + age for one in ages], running_for)

    def wake(self) -> None:
        """Wake all waiters, so that each checks whether it still wants a slot."""
        for budget in self.budgets.values():
            budget.wake()

    @property
    def spent(self) -> bool:
        """Whether any slot is in use."""
        return any(budget.spent() for budget in self.budgets.values())


class RequestPermit:
    """The right to send one request: a slot of a budget, and a place among concurrent requests.

    As a context manager, and with `close`, it gives back what it still holds.
    """

    def __init__(self, holder: object, endpoint: Endpoint, stats: RequestStats) -> None:
        self.holder, self.endpoint, self.stats = holder, endpoint, stats
        self.key: Secret | None = None
        """The only key that may be sent with this permit: the slot is from its budget."""
        self._held: tuple[KeyBudgets, Slot] | None = None

    def take(self, shared: KeyBudgets, slot: Slot) -> None:
        """Hold a slot, and the place that was acquired for it."""
        self._held = shared, slot

    def release(
        self, headers: RateLimitHeaders | None, *, refused: bool = False, foreign: bool = False
    ) -> None:
        """Give back slot and place after a request; the arguments are those of `Budget.release`."""
        if self._held is not None:
            (shared, slot), self._held = self._held, None
            shared.places.release()
            shared.budgets[self.endpoint].release(slot, headers, refused=refused, foreign=foreign)

    def close(self) -> None:
        """Give back slot and place if no request was sent."""
        if self._held is not None:
            (shared, slot), self._held = self._held, None
            shared.places.release()
            shared.budgets[self.endpoint].cancel(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Register:
    """The budgets of each key in use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._budgets: list[KeyBudgets] = []

    def enter(
        self, client: object, before: KeyBudgets, key: tuple[str, Secret], bounds: Bounds
    ) -> KeyBudgets:
        """The budgets that a client uses from now on: those of its workspace URL and key.

        `before` are those that it used so far.
        """
        shared = before if before.key == key else self._change_key(client, before, key, bounds)
        shared.bounds[client] = bounds
        shared.configure()
        return shared

    def _change_key(
        self, client: object, before: KeyBudgets, key: tuple[str, Secret], bounds: Bounds
    ) -> KeyBudgets:
        shared = next((each for each in self._budgets if each.key == key), None)
        if shared is None and [*before.bounds] == [client]:
            # The usual rotation: no other client has the old key or the new one.
            before.key = key
            return before
        before.leave(client)
        # Budgets without a client are needed only as long as their requests count.
        self._budgets = [
            each for each in self._budgets if each.bounds or each.spent or each is shared
        ]
        if shared is None:
            shared = KeyBudgets(self._clock, bounds, key)
            shared.allow(before.allowance)
            self._budgets.append(shared)
        shared.remember(before)
        return shared
