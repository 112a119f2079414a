"""Request statistics: counters for the metrics, and the most recent requests."""

import math

import pytest

from cdi_exporter.braze.budget import RateLimitHeaders
from cdi_exporter.braze.stats import DURATION_BUCKETS, REMEMBERED, RequestStats
from cdi_exporter.model import RequestRecord

LISTED, HISTORY = "integrations", "job_sync_status"


def exchange(number: int = 0, code: str = "200", seconds: float = 0.1) -> RequestRecord:
    """The record of a history request."""
    return RequestRecord(float(number), HISTORY, "abc", code, seconds)


def test_requests_are_counted_by_endpoint_and_code() -> None:
    """The series of code 200 starts at 0, so that a failure ratio can be computed."""
    stats = RequestStats()
    for code in ("200", "503", "503", "timeout"):
        stats.count(exchange(code=code))
    headers = RateLimitHeaders()
    shown = {name: each.snapshot(headers).requests for name, each in stats.endpoints.items()}
    assert shown == {LISTED: {"200": 0}, HISTORY: {"200": 1, "503": 2, "timeout": 1}}


def test_durations_are_a_cumulative_histogram() -> None:
    """A duration equal to a bound is in that bucket. The last bucket counts all."""
    stats = RequestStats()
    durations = [0.0, DURATION_BUCKETS[0], DURATION_BUCKETS[1], DURATION_BUCKETS[1] + 1e-9, 1e9]
    for seconds in durations:
        stats.count(exchange(seconds=seconds))
    snapshot = stats.endpoints[HISTORY].snapshot(RateLimitHeaders())
    buckets = dict(snapshot.duration_buckets)
    assert (
        buckets[DURATION_BUCKETS[0]],
        buckets[DURATION_BUCKETS[1]],
        buckets[DURATION_BUCKETS[2]],
    ) == (2, 3, 4)
    assert snapshot.duration_buckets[-1] == (math.inf, 5)
    assert snapshot.duration_sum == pytest.approx(sum(durations))


def test_rate_limit_headers_are_shown_as_received() -> None:
    """A missing value is not shown as 0."""
    endpoint = RequestStats().endpoints[HISTORY]
    headers = endpoint.snapshot(RateLimitHeaders(100, 0, 1.5e9))
    assert (headers.limit, headers.remaining, headers.reset) == (100, 0, 1.5e9)
    silent = endpoint.snapshot(RateLimitHeaders())
    assert (silent.limit, silent.remaining, silent.reset) == (None, None, None)


def test_only_the_last_requests_are_recorded() -> None:
    """The memory use does not grow with the number of requests."""
    stats = RequestStats()
    for number in range(3 * REMEMBERED):
        stats.count(exchange(number))
    assert [each.at for each in stats.recent] == list(range(2 * REMEMBERED, 3 * REMEMBERED))


def test_a_snapshot_stays_as_it_was() -> None:
    """Later requests do not change an existing snapshot."""
    stats = RequestStats()
    before = stats.endpoints[HISTORY].snapshot(RateLimitHeaders())
    stats.count(exchange())
    assert before.requests == {"200": 0}
    assert before.duration_buckets[-1] == (math.inf, 0)
