"""What requests come to: counted for the metrics, the last ones remembered."""

import math

import pytest

from cdi_exporter.braze.budget import RateLimitHeaders
from cdi_exporter.braze.stats import DURATION_BUCKETS, REMEMBERED, RequestStats
from cdi_exporter.model import RequestRecord

LISTED, HISTORY = "integrations", "job_sync_status"


def exchange(number: int = 0, code: str = "200", seconds: float = 0.1) -> RequestRecord:
    """A request for a history."""
    return RequestRecord(float(number), HISTORY, "abc", code, seconds)


def test_requests_are_counted_by_endpoint_and_code() -> None:
    """The success is there from 0 on, so that a rate of failures has what to be a part of."""
    stats = RequestStats()
    for code in ("200", "503", "503", "timeout"):
        stats.count(exchange(code=code))
    said = RateLimitHeaders()
    shown = {name: each.snapshot(said).requests for name, each in stats.endpoints.items()}
    assert shown == {LISTED: {"200": 0}, HISTORY: {"200": 1, "503": 2, "timeout": 1}}


def test_durations_are_a_cumulative_histogram() -> None:
    """A duration that equals a bound is within it, and the last bucket has them all."""
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
    """Nothing said is nothing shown, never 0."""
    endpoint = RequestStats().endpoints[HISTORY]
    said = endpoint.snapshot(RateLimitHeaders(100, 0, 1.5e9))
    assert (said.limit, said.remaining, said.reset) == (100, 0, 1.5e9)
    silent = endpoint.snapshot(RateLimitHeaders())
    assert (silent.limit, silent.remaining, silent.reset) == (None, None, None)


def test_only_the_last_requests_are_recorded() -> None:
    """However long it runs, the memory stays the same."""
    stats = RequestStats()
    for number in range(3 * REMEMBERED):
        stats.count(exchange(number))
    assert [each.at for each in stats.recent] == list(range(2 * REMEMBERED, 3 * REMEMBERED))


def test_a_snapshot_stays_as_it_was() -> None:
    """What is counted later does not show in it."""
    stats = RequestStats()
    before = stats.endpoints[HISTORY].snapshot(RateLimitHeaders())
    stats.count(exchange())
    assert before.requests == {"200": 0}
    assert before.duration_buckets[-1] == (math.inf, 0)
