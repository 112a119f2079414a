"""Durations in the notation of Prometheus, such as `1h30m`."""

import re

UNITS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000}
UNITS |= {"s": 1000, "ms": 1}
"""Milliseconds of each unit, in the order in which the units must be written."""

_WHOLE = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in UNITS))
_DECIMAL_SECONDS = re.compile(r"[0-9]+\.[0-9]+(?=s$)")

LONGEST_TEXT = 50
"""Characters: enough for every unit, and few enough that converting the digits is fast."""

LONGEST = 100 * UNITS["y"] // 1000
"""Seconds, as in the error message: far above any useful duration."""

EXPECTED = "a duration such as 10s, 1h30m or 500ms"


def parse_duration(text: str) -> float:
    """The seconds of a duration such as `1h30m`. Decimal seconds (`0.5s`) and `0` are allowed.

    As in Prometheus, each unit (y, w, d, h, m, s, ms) occurs at most once, the larger first.
    Raises ValueError for other text.
    """
    seconds: float | None = None
    if len(text) > LONGEST_TEXT:
        pass  # converting many digits takes long
    elif decimal := _DECIMAL_SECONDS.match(text):
        seconds = float(decimal[0])
    elif text == "0":
        seconds = 0.0
    elif text and (whole := _WHOLE.fullmatch(text)):
        counts = [int(count or 0) for count in whole.groups()]
        seconds = sum(map(int.__mul__, counts, UNITS.values())) / 1000
    if seconds is None or seconds > LONGEST:
        expected = f"expected {EXPECTED}"
        raise ValueError(expected if seconds is None else "is too long; expected at most 100y")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration in its shortest notation, rounded to milliseconds."""
    left = round(seconds * 1000)
    written = ""
    for unit, size in UNITS.items():
        count, left = divmod(left, size)
        written += f"{count}{unit}" if count else ""
    return written or "0s"
