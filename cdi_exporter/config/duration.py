"""Durations as Prometheus writes them."""

import re

UNITS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_DECIMAL_SECONDS = re.compile(r"(\d+\.\d+)s", re.ASCII)
EXPECTED = "a duration such as 10s, 1h30m or 500ms"
LONGEST_TEXT = 50
LONGEST = 100 * UNITS["y"]


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `1h30m`; decimal seconds (`0.5s`) and `0` are accepted too.

    Raises ValueError for anything else.
    """
    match = _PATTERN.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    decimal = _DECIMAL_SECONDS.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if decimal:
        seconds = float(decimal[1])
    elif text == "0":
        seconds = 0.0
    elif match and text:
        *large, thousandths = (int(part or 0) for part in match.groups())
        seconds = sum(map(float.__mul__, UNITS.values(), map(float, large))) + thousandths / 1000
    else:
        msg = f"expected {EXPECTED}"
        raise ValueError(msg)
    if seconds > LONGEST:
        msg = "expected a duration below 100y"
        raise ValueError(msg)
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest way to write so many seconds, in whole milliseconds."""
    left = round(seconds * 1000)
    written = ""
    for unit, size in UNITS.items():
        count, left = divmod(left, round(size * 1000))
        written += f"{count}{unit}" if count else ""
    return (written + (f"{left}ms" if left else "")) or "0s"
