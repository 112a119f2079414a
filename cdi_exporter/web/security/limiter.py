"""The rate limit: a bucket of tokens, of which each request takes one."""

from collections.abc import Callable

from cdi_exporter.web.security.policy import Rate


class Limiter:
    """One token comes per interval, until there are `burst`; it begins full."""

    def __init__(self, rate: Rate, monotonic: Callable[[], float]) -> None:
        self.rate, self._monotonic = rate, monotonic
        self._tokens, self._counted = float(rate.burst), monotonic()

    def take(self) -> bool:
        """Whether there was a token for this request."""
        if self.rate.interval <= 0:
            return True
        now = self._monotonic()
        come = (now - self._counted) / self.rate.interval
        self._tokens, self._counted = min(self._tokens + come, self.rate.burst), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
