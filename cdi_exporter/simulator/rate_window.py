"""The rate limit of one endpoint."""

WINDOW = 60.0
"""Seconds in which `limit` requests are allowed."""


class RateWindow:
    """A limit per minute of the clock. A rejected request does not count."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._since, self._admitted = 0.0, 0

    def remaining(self, now: float) -> int:
        """The requests that are still allowed."""
        return max(0, self.limit - (self._admitted if now // WINDOW * WINDOW == self._since else 0))

    def admit(self, now: float) -> bool:
        """Whether one more request is allowed; if so, it counts."""
        if self.remaining(now) < 1:
            return False
        since = now // WINDOW * WINDOW
        self._since, self._admitted = since, 1 + (self._admitted if since == self._since else 0)
        return True

    def reset(self, now: float) -> float:
        """When the minute ends."""
        return now // WINDOW * WINDOW + WINDOW
