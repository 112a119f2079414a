"""What failed reads say about the histories of a workspace as a whole. Pure."""

from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    Unauthorized,
)

MOST_FAILED_READS = 3
"""Reads in a row that may fail before the rest is left to the next refresh: a few failures are
chance, and each read of an API that is down takes a timeout."""

REFUSALS = (BadRequest, Unauthorized, Forbidden, NotFound)
"""Errors that say that a history may not be read, or that there is none."""


class HistoryAccess:
    """Whether histories can be read: by the key, and at the moment.

    A history that is refused while others are read is its integration's own problem.
    """

    def __init__(self) -> None:
        self.pages = 0
        """Pages read since the start."""
        self.denied: ApiError | None = None
        """Why the key may read no history, while that is so."""
        self._failed_in_a_row = 0
        """Reads that failed for no reason of the integration's own."""
        self._last_error: ApiError | None = None
        self._refused: set[str] = set()
        """Integrations whose histories were refused, since one was read."""
        self._over_in = 0
        """The last refresh in which nothing more is to be read."""

    @property
    def unavailable(self) -> ApiError | None:
        """Why nothing more is read before the next refresh."""
        return self._last_error if self._failed_in_a_row >= MOST_FAILED_READS else None

    def is_over(self, refresh_number: int) -> bool:
        """Whether reads wait for the next refresh: too many failed, or the key was refused."""
        return self.unavailable is not None or self._over_in == refresh_number

    def start_refresh(self) -> None:
        """Try again what failed."""
        self._failed_in_a_row = 0

    def page_read(self) -> bool:
        """Note that a page was read; whether that ends a denial."""
        was_denied = self.denied is not None
        self.pages += 1
        self._failed_in_a_row = 0
        self._refused.clear()
        if was_denied:
            self.denied, self._over_in = None, 0
        return was_denied

    def is_refused(
        self, identifier: str, error: ApiError, refresh_number: int, integrations: int
    ) -> bool:
        """Whether a failure says that the key may read no history, of so many `integrations`.

        It does if none was ever read, or if several in a row are refused.
        """
        if not isinstance(error, Unauthorized | Forbidden):
            return False
        self._refused.add(identifier)
        several = not self.pages or len(self._refused) >= min(MOST_FAILED_READS, integrations)
        if several or isinstance(error, Unauthorized):
            self._over_in = refresh_number
        if not several and self.denied is None:
            return False
        self.denied = error
        return True

    def failed(self, error: ApiError) -> None:
        """Note a read that failed, whether for a reason of the integration's own or not."""
        if error.retryable or isinstance(error, InvalidResponse):
            self._failed_in_a_row += 1
            self._last_error = error


def is_own_problem(error: ApiError, denied: ApiError | None) -> bool:
    """Whether a failed read concerns one integration only."""
    if isinstance(error, Forbidden):
        return denied is None
    return isinstance(error, BadRequest | NotFound)
