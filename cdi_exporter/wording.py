"""Formats durations, ages, counts, percentages and statuses for people."""

import math
from datetime import UTC, datetime

from cdi_exporter.model import Status

GLYPHS = {
    Status.SUCCESS: "✔",
    Status.RUNNING: "▶",
    Status.PARTIAL: "◐",
    Status.ERROR: "✖",
    Status.CONFIG_ERROR: "⚙",
    Status.UNKNOWN: "?",
}
"""A symbol for each status, which is shown next to the word."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float) -> str:
    """A duration in at most two units: `850 ms`, `1.4 s`, `45 s`, `12 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return "forever"
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole >= 600:
        whole = round(whole / 60) * 60
    if whole >= 2 * 86_400:
        whole = round(whole / 3_600) * 3_600
    place = next(index for index, (unit, _) in enumerate(_UNITS) if whole >= unit)
    parts = []
    for unit, name in _UNITS[place : place + 2]:
        count, whole = divmod(whole, unit)
        if count:
            parts.append(f"{count:,} {name}")
    return " ".join(parts)


def moment(seconds: float) -> str:
    """A moment relative to now: `3 min ago`, `in 5 min`, `now`. `seconds` is its age."""
    if abs(seconds) < 1:
        return "now"
    words = duration(round(abs(seconds)))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def count(number: int) -> str:
    """A number with thousands separators: `12,345`."""
    return f"{number:,}"


def percent(ratio: float) -> str:
    """A ratio as a percentage; one that is close to 0 % or 100 % is not rounded to it."""
    value = ratio * 100
    if 0 < value < 0.1:
        return "<0.1 %"
    if 99.9 < value < 100:
        return ">99.9 %"
    return f"{value:.1f}".removesuffix(".0") + " %"


def things(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun in singular or plural: `1 run`, `3 runs`."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def utc(timestamp: float | None) -> datetime | None:
    """Unix seconds as a UTC datetime; None if absent or out of its range."""
    if timestamp is None:
        return None
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (ValueError, OverflowError, OSError):
        return None
