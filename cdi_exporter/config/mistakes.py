"""The wording of configuration errors. Each is one line, and no line shows a secret.

    config.yml:12: workspaces[1].endpoint: "http://rest.example.com" uses plain http; expected …

A check raises either `expected …` or `is …; expected …`: the end of a sentence about the value.
"""

import json
import re
from collections.abc import Iterable

from cdi_exporter.config.yaml_lines import KeyPath
from cdi_exporter.errors import ConfigError

LONGEST_SHOWN = 100
"""Characters of a value that an error shows, so that the error fits one line."""

LONGEST_EXAMINED = 1_000
"""A longer text is not shown at all. Searching it for secrets would take long, and a text that is
cut before an `@` would show a password."""

MOST_SHOWN = 100
"""Errors reported at once: the first ones are the most useful, and the log stays readable."""

SHORTEST_SECRET = 8
"""Shorter secrets occur in messages by chance. Replacing them would reveal them."""

_ASSIGNS_A_SECRET = re.compile(
    r"(key|secret|token|passw\w*|credentials?|authori[sz]ation)[\"']?\s*[=:]|bearer\s",
    re.IGNORECASE,
)
"""The name of a secret together with the secret, such as `token=…` or `Authorization: …`."""

_REFERENCE = re.compile(r"\$(\{.*\}|[A-Z_][A-Z0-9_]*)")
# A key that a person would choose; others may be an API key.
_WORD = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]?")
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class RedactedError(ValueError):
    """The error of a value that must not be shown, because it may be a secret."""


def copied_with_more(text: str) -> str | None:
    """The error of a value that was copied with shell syntax; None if it was not."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return "is in quotes, which are part of the value"
    if _REFERENCE.fullmatch(text):
        return "is a reference to a variable, which is not replaced by its value"
    return None


def holds_api_key(text: str) -> bool:
    """Whether the text contains a UUID, which is the format of Braze's API keys."""
    return _UUID.search(text) is not None


def show_path(path: KeyPath) -> str:
    """A key path such as `workspaces[1].endpoint`, without parts that may be secrets."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += ("." if shown else "") + (part if _WORD.fullmatch(part) else "…")
    return shown


def show_value(value: object, written: str | None = None) -> str:
    """A short description of a value; empty if the value must not be shown.

    `written` is the text of a number or a boolean in the file.
    """
    match value:
        case None:
            return "nothing"
        case str():
            return _quoted(value)
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
    plain = str(value) if written is None else written
    return plain if len(plain) <= LONGEST_SHOWN and plain.isprintable() else ""


def show_kind(value: object) -> str:
    """A description of a value that should be a list or a mapping."""
    return show_value(value) if value is None or isinstance(value, dict | list) else "plain text"


def phrase(shown: str, text: str) -> str:
    """An error with the value that was found, if that is shown, and what is wrong with it."""
    if not shown:
        return text
    return f"{shown}; {text}" if text.startswith("expected") else f"{shown} {text}"


def one_line(text: str) -> str:
    """The text with its unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def raise_mistakes(lines: Iterable[str], secrets: Iterable[str] = ()) -> None:
    """Raise ConfigError if there are any lines. `secrets` are removed from the lines.

    Duplicate lines are dropped. Lines after the first `MOST_SHOWN` are only counted.
    """
    each = [*dict.fromkeys(lines)]
    safe = each[:MOST_SHOWN]
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            safe = [line.replace(secret, "<secret>") for line in safe]
    safe = [*map(one_line, safe)]
    if len(each) > MOST_SHOWN:
        safe.append(f"… and {len(each) - MOST_SHOWN:,} more errors")
    if safe:
        raise ConfigError(safe)


def _quoted(text: str) -> str:
    """The text in quotes, without the user and password of a URL; empty if it may be a secret."""
    if len(text) > LONGEST_EXAMINED or holds_api_key(text) or _ASSIGNS_A_SECRET.search(text):
        return ""
    before, at, after = text.rpartition("@")
    scheme, separator, _ = before.partition("://")
    shown = f"{scheme}{separator}…@{after}" if separator else f"{'…@' if at else ''}{after}"
    if len(shown) > LONGEST_SHOWN:
        shown = shown[:LONGEST_SHOWN] + "…"
    return json.dumps(shown, ensure_ascii=False)
