"""Parsing of the rate limit headers, which accepts malformed values."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.braze.budget import LONGEST_WAIT, RateLimitHeaders, allowed

NOW = 1_790_000_000.0
"""2026-09-21T14:13:20Z."""
DATE = "Mon, 21 Sep 2026 14:13:20 GMT"
LATER = "Mon, 21 Sep 2026 14:13:50 GMT"

NAMES = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-retry-after",
    "retry-after",
    "date",
]


def read(now: float = NOW, /, **headers: str) -> RateLimitHeaders:
    """Read headers as httpx passes them."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return RateLimitHeaders.read(httpx.Headers(sent), now)


def test_the_documented_headers() -> None:
    """Header names are not case-sensitive."""
    parsed = read(
        x_ratelimit_limit="50",
        X_RateLimit_Remaining="49",
        x_ratelimit_reset="1790000060",
        date=DATE,
    )
    assert parsed == RateLimitHeaders(50, 49, NOW + 60, None, NOW)


def test_missing_headers_give_no_limits() -> None:
    """A missing value is None."""
    assert read() == RateLimitHeaders()


@pytest.mark.parametrize("name", ["x_ratelimit_limit", "x_ratelimit_remaining"])
@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("50", 50),
        (" 50 ", 50),
        ("50.9", 50),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("many", None),
        ("50, 50", None),
        ("0x10", None),
        ("5" * 400, None),
    ],
)
def test_a_count_is_a_number_from_zero_on(name: str, text: str, count: int | None) -> None:
    """Any other text is treated as missing."""
    parsed = read(**{name: text})
    assert {parsed.limit, parsed.remaining} == {count, None}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "0"}, 0.0),
        ({"x_ratelimit_retry_after": "9"}, 9.0),
        ({"retry_after": "7", "x_ratelimit_retry_after": "9"}, 7.0),
        ({"retry_after": "soon", "x_ratelimit_retry_after": "9"}, 9.0),
        ({"retry_after": "", "x_ratelimit_retry_after": "9"}, 9.0),
        ({"retry_after": "-7"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": LATER, "date": DATE}, 30.0),
        ({"retry_after": LATER}, 30.0),
        ({"retry_after": DATE, "date": LATER}, 0.0),
    ],
)
def test_retry_after_is_read_in_all_forms(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is in seconds or an HTTP date. An invalid one does not hide the other header."""
    assert read(**headers).retry_after == seconds


@pytest.mark.parametrize("ahead", [-3600.0, -90.0, 0.0, 90.0, 3600.0])
def test_a_clock_difference_changes_no_wait(ahead: float) -> None:
    """The server's times are compared with the Date of the same answer."""
    parsed = read(NOW - ahead, retry_after=LATER, x_ratelimit_reset="1790000042", date=DATE)
    assert parsed.retry_after == 30
    assert parsed.wait(NOW - ahead) == 42


def test_without_a_date_this_clock_counts() -> None:
    """The local clock is used."""
    assert read(NOW + 2, x_ratelimit_reset="1790000042").wait(NOW + 2) == 40


@pytest.mark.parametrize(
    ("reset", "wait"), [("1789999999", 0.0), ("0", 0.0), ("1790000000000", LONGEST_WAIT)]
)
def test_a_reset_in_the_past_or_far_away(reset: str, wait: float) -> None:
    """A time in the past means no wait. The longest wait is an hour."""
    assert read(x_ratelimit_reset=reset, date=DATE).wait(NOW) == wait


@pytest.mark.parametrize(
    "text", [DATE, "Monday, 21-Sep-26 14:13:20 GMT", "Mon Sep 21 14:13:20 2026"]
)
@pytest.mark.usefixtures("local_zone")
def test_an_http_date_is_utc_wherever_this_runs(text: str) -> None:
    """These are the three forms of RFC 9110, section 5.6.7."""
    assert read(date=text).date == NOW


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text("019.,:-+e_ naifGMT\té٣") | st.integers().map(str) | st.floats().map(str),
    ),
    st.floats(0, 1e10),
)
def test_any_headers_are_read(headers: dict[str, str], now: float) -> None:
    """No header raises an exception, and each number is usable."""
    parsed = RateLimitHeaders.read(headers, now)
    wait = parsed.wait(now)
    assert wait is None or 0 <= wait <= LONGEST_WAIT
    assert parsed.retry_after is None or parsed.retry_after >= 0
    assert parsed.limit is None or 0 <= allowed(parsed.limit, 0.8) <= parsed.limit


@given(
    st.lists(
        st.sampled_from(
            ["Mon", ",", "21", "Sep", "2026", "14:13:20", "99", "+9999", "-0000", "GMT"]
        )
        | st.text("-+:0123456789", min_size=1, max_size=12),
        max_size=8,
    ).map(" ".join)
)
def test_any_near_date_is_read(text: str) -> None:
    """An impossible date is treated as missing."""
    date = read(date=text).date
    assert date is None or isinstance(date, float)


@pytest.mark.parametrize(
    ("limit", "share", "requests"),
    [(50, 0.8, 40), (100, 0.8, 80), (50, 0.1, 5), (100, 0.29, 29), (50, 1.0, 50), (10, 0.05, 0)],
)
def test_the_share_in_whole_requests(limit: int, share: float, requests: int) -> None:
    """The share is rounded down, without the error of a binary fraction."""
    assert allowed(limit, share) == requests
