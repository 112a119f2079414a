"""Statistics of one workspace's requests, for the metrics and the status page."""

from bisect import bisect_left
from collections import Counter, deque
from itertools import accumulate

from cdi_exporter.braze.budget import RateLimitHeaders
from cdi_exporter.model import Endpoint, RequestRecord
from cdi_exporter.snapshot import EndpointSnapshot

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))
"""Upper bounds in seconds, from a fast response to three times the default `request_timeout`."""

REMEMBERED = 50
"""Requests that the status page lists: enough for a refresh of a few dozen integrations."""


class EndpointStats:
    """The requests of one workspace to one endpoint."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.requests: Counter[str] = Counter({"200": 0})
        self.budget_wait = 0.0
        self.invalid_items = 0
        self._buckets = [0] * len(DURATION_BUCKETS)
        self._seconds = 0.0

    def count(self, code: str, seconds: float) -> None:
        """Count a request that has ended."""
        self.requests[code] += 1
        self._buckets[bisect_left(DURATION_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def snapshot(self, limits: RateLimitHeaders) -> EndpointSnapshot:
        """The figures so far, with the rate limit headers of the last response."""
        return EndpointSnapshot(
            endpoint=self.endpoint,
            requests=dict(self.requests),
            duration_buckets=tuple(zip(DURATION_BUCKETS, accumulate(self._buckets), strict=True)),
            duration_sum=self._seconds,
            limit=limits.limit,
            remaining=limits.remaining,
            reset=limits.reset,
            budget_wait=self.budget_wait,
            invalid_items=self.invalid_items,
        )


class RequestStats:
    """The requests of one workspace: figures of each endpoint, and the last requests."""

    def __init__(self) -> None:
        self.endpoints: dict[str, EndpointStats] = {each: EndpointStats(each) for each in Endpoint}
        self.recent: deque[RequestRecord] = deque(maxlen=REMEMBERED)

    def count(self, request: RequestRecord) -> None:
        """Record a request that has ended."""
        self.endpoints[request.endpoint].count(request.code, request.seconds)
        self.recent.append(request)
