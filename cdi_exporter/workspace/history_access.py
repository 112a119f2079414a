"""Whether the histories of a workspace can be read, judged by the reads that failed. Pure."""

from cdi_exporter.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    Unauthorized,
)

MOST_FAILED_READS = 3
"""Failed reads in a row after which the rest waits for the next refresh: fewer may be chance, and
each read of an API that is down takes a timeout."""

REFUSALS = (BadRequest, Unauthorized, Forbidden, NotFound)
"""Errors of a history that may not be read or does not exist."""


class HistoryAccess:
    """Whether the key may read histories, and whether the endpoint works.

    A history that is refused while others can be read is a problem of that integration only.
    """

    def __init__(self) -> None:
        self.pages = 0
        """Pages read since the start."""
        self.denied: ApiError | None = None
        """Why the key may not read any history; None if it may."""
        self._failed_in_a_row = 0
        """Failed reads for which the integration is not the cause."""
        self._last_error: ApiError | None = None
        self._refused: set[str] = set()
        """Integrations whose histories were refused since one was last read."""
        self._over_in = 0
        """The last refresh that stopped reading histories."""

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
        """Whether a failure shows that the key may not read any of so many `integrations`.

        It does if no history was ever read, or if several in a row are refused.
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
        """Note a read that failed for any other reason."""
        if error.retryable or isinstance(error, InvalidResponse):
            self._failed_in_a_row += 1
            self._last_error = error


def is_own_problem(error: ApiError, denied: ApiError | None) -> bool:
    """Whether a failed read concerns only one integration."""
    if isinstance(error, Forbidden):
        return denied is None
    return isinstance(error, BadRequest | NotFound)
