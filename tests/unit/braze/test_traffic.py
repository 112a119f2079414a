"""What requests come to: counted for the metrics, the last ones remembered."""

import math

import pytest

from cdi_exporter.braze.budget import RateLimitHeaders
from cdi_exporter.braze.traffic import BOUNDS, REMEMBERED, Exchange, Traffic

LISTED, HISTORY = "integrations", "job_sync_status"


def exchange(number: int = 0, code: str = "200", seconds: float = 0.1) -> Exchange:
    """A request for a history."""
    return Exchange(float(number), HISTORY, "abc", code, seconds)


def test_requests_are_counted_by_endpoint_and_code() -> None:
    """The success is there from 0 on, so that a rate of failures has what to be a part of."""
    traffic = Traffic((LISTED, HISTORY))
    for code in ("200", "503", "503", "timeout"):
        traffic.count(exchange(code=code))
    said = RateLimitHeaders()
    shown = {name: each.snapshot(said).requests for name, each in traffic.endpoints.items()}
    assert shown == {LISTED: {"200": 0}, HISTORY: {"200": 1, "503": 2, "timeout": 1}}


def test_durations_are_a_cumulative_histogram() -> None:
    """A duration that equals a bound is within it, and the last bucket has them all."""
    traffic = Traffic((HISTORY,))
    durations = [0.0, BOUNDS[0], BOUNDS[1], BOUNDS[1] + 1e-9, 1e9]
    for seconds in durations:
        traffic.count(exchange(seconds=seconds))
    snapshot = traffic.endpoints[HISTORY].snapshot(RateLimitHeaders())
    buckets = dict(snapshot.duration_buckets)
    assert (buckets[BOUNDS[0]], buckets[BOUNDS[1]], buckets[BOUNDS[2]]) == (2, 3, 4)
    assert snapshot.duration_buckets[-1] == (math.inf, 5)
    assert snapshot.duration_sum == pytest.approx(sum(durations))


def test_the_servers_word_is_shown_as_it_was_said() -> None:
    """Nothing said is nothing shown, never 0."""
    endpoint = Traffic((HISTORY,)).endpoints[HISTORY]
    said = endpoint.snapshot(RateLimitHeaders(100, 0, 1.5e9))
    assert (said.limit, said.remaining, said.reset) == (100, 0, 1.5e9)
    silent = endpoint.snapshot(RateLimitHeaders())
    assert (silent.limit, silent.remaining, silent.reset) == (None, None, None)


def test_only_the_last_exchanges_are_remembered() -> None:
    """However long it runs, the memory stays the same."""
    traffic = Traffic((HISTORY,))
    for number in range(3 * REMEMBERED):
        traffic.count(exchange(number))
    assert [each.at for each in traffic.recent] == list(range(2 * REMEMBERED, 3 * REMEMBERED))


def test_a_snapshot_stays_as_it_was() -> None:
    """What is counted later does not show in it."""
    traffic = Traffic((HISTORY,))
    before = traffic.endpoints[HISTORY].snapshot(RateLimitHeaders())
    traffic.count(exchange())
    assert before.requests == {"200": 0}
    assert before.duration_buckets[-1] == (math.inf, 0)
