"""The headers that the file may set on each answer."""

import re
from collections.abc import Mapping
from typing import Final

HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""Their values where only some are possible; the spelling of both counts."""

_LINE_ENDS = re.compile(r"[\r\n]+")


def problem(name: str, value: str) -> str | None:
    """What is wrong with a header."""
    if name not in HEADERS:
        known = ", ".join(HEADERS)
        return f'HTTP header "{name}" can not be configured; expected one of {known}'
    values = HEADERS[name]
    if values and value not in values:
        quoted = " ".join(f'"{each}"' for each in values)
        return f'invalid value for {name}. Expected one of: [{quoted}], but got: "{value}"'
    if not all(char.isprintable() and char <= "\xff" for char in on_one_line(value)):
        return f"invalid value for {name}; expected text that a header can hold"
    return None


def on_one_line(value: str) -> str:
    """The value as it is sent: YAML's line ends are spaces."""
    return _LINE_ENDS.sub(" ", value).strip()
