"""The right to one request."""

from types import TracebackType
from typing import Self

from cdi_exporter.braze.budget import RateLimitHeaders, Slot
from cdi_exporter.braze.sharing import KeyBudgets
from cdi_exporter.braze.stats import RequestStats
from cdi_exporter.config import Secret
from cdi_exporter.model import Endpoint


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
