"""Durations, ages, counts and percentages as text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 ms"),
        (0.2794, "279 ms"),
        (0.9996, "1 s"),
        (1.44, "1.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (87, "1 min 27 s"),
        (600, "10 min"),
        (629, "10 min"),
        (3_600, "1 h"),
        (3_599, "1 h"),
        (7_500, "2 h 5 min"),
        (86_399, "1 d"),
        (3 * 86_400 + 4 * 3_600 + 100, "3 d 4 h"),
        (5_000 * 86_400, "5,000 d"),
        (math.inf, "forever"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    """Small units of a long duration are left out."""
    assert wording.duration(seconds) == words


@given(st.floats(0, 1e12))
def test_any_duration_is_one_or_two_numbers_with_units(seconds: float) -> None:
    """No number is as large as the next unit."""
    words = wording.duration(seconds).split()
    assert len(words) in (2, 4)
    assert set(words[1::2]) <= {"ms", "s", "min", "h", "d"}
    limits = {"ms": 1_000, "s": 60, "min": 60, "h": 24, "d": math.inf}
    for number, unit in zip(words[::2], words[1::2], strict=True):
        assert 0 <= float(number.replace(",", "")) < limits[unit]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "now"), (-0.4, "now"), (61, "1 min 1 s ago"), (-300, "in 5 min")]
)
def test_a_moment_is_in_the_past_or_the_future(seconds: float, words: str) -> None:
    """The past is written with "ago", the future with "in"."""
    assert wording.moment(seconds) == words


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0, "0 %"),
        (0.0000001, "<0.1 %"),
        (0.1344, "13.4 %"),
        (0.5, "50 %"),
        (0.99999, ">99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_0_or_100_percent(ratio: float, words: str) -> None:
    """One failed row of a million is not 0 %."""
    assert wording.percent(ratio) == words


def test_counts_have_thousands_separators() -> None:
    """The noun follows the number."""
    assert wording.things(1, "run") == "1 run"
    assert wording.things(12_345, "run") == "12,345 runs"
    assert wording.things(0, "is", "are") == "0 are"


@pytest.mark.parametrize("timestamp", [None, 1e30, -1e30, math.inf, math.nan])
def test_a_time_outside_the_calendar_is_none(timestamp: float | None) -> None:
    """A strange time from the API must not break the page."""
    assert wording.utc(timestamp) is None
