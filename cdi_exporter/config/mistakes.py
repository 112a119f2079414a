"""Mistakes as lines: where they are, the value that was found, what is expected; never a secret.

    config.yml:12: workspaces[1].endpoint: "http://rest.example.com" is plain http; expected …

Text that validators raise is either `expected …` or `is …; expected …`: it completes a
sentence that begins with the value.
"""

import json
import re
from collections.abc import Iterable

from cdi_exporter.config.yaml_lines import KeyPath
from cdi_exporter.errors import ConfigError

LONGEST_SHOWN = 100
LONGEST_EXAMINED = 1_000
"""Of longer texts nothing is shown: looking for secrets in them takes long, and cutting a text off
before its `@` would show a password."""

MOST_SHOWN = 100
"""Lines in one go: the first ones say what is wrong, and a log is not flooded."""

SHORTEST_SECRET = 8
"""Shorter texts stand in messages by chance; taking them out would tell what they are."""

_ASSIGNS_A_SECRET = re.compile(
    r"(key|secret|token|passw\w*|credentials?|authori[sz]ation)[\"']?\s*[=:]|bearer\s",
    re.IGNORECASE,
)
"""A secret with its name, which somebody pasted together: `token=…`, `Authorization: …`."""

_REFERENCE = re.compile(r"\$(\{.*\}|[A-Z_][A-Z0-9_]*)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]?")
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


class RedactedError(ValueError):
    """What is wrong with a value that must not be shown, because it may be a secret."""


def copied_with_more(text: str) -> str | None:
    """What came with a value from a shell or an .env file; None if nothing did."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return "is in quotes, which are part of the value"
    if _REFERENCE.fullmatch(text):
        return "is a reference to a variable, which is not replaced by its value"
    return None


def is_word(key: str) -> bool:
    """Whether a key looks like one that a person would choose, and not like an API key."""
    return _WORD.fullmatch(key) is not None


def holds_api_key(text: str) -> bool:
    """Whether there is something in the text in the form of Braze's API keys, a UUID."""
    return _UUID.search(text) is not None


def show_path(path: KeyPath) -> str:
    """`workspaces[1].endpoint`; a key that could be a secret is left out."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += ("." if shown else "") + (part if is_word(part) else "…")
    return shown


def show_value(value: object, written: str | None = None) -> str:
    """A value in a few words; empty if it must not or cannot be shown.

    `written` is how a number or a truth value was spelt.
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
    """The kind of a value that should be a list or a mapping."""
    return show_value(value) if value is None or isinstance(value, dict | list) else "plain text"


def phrase(shown: str, text: str) -> str:
    """The value that was found and what is wrong with it."""
    if not shown:
        return text
    return f"{shown}; {text}" if text.startswith("expected") else f"{shown} {text}"


def one_line(text: str) -> str:
    """The text with everything escaped that is no printable character."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def raise_mistakes(lines: Iterable[str], secrets: Iterable[str] = ()) -> None:
    """Raise ConfigError if there are any lines, each once; `secrets` are taken out of them.

    After the first lines only the number of the others is told.
    """
    each = [*dict.fromkeys(lines)]
    safe = [one_line(_without(secrets, line)) for line in each[:MOST_SHOWN]]
    if len(each) > MOST_SHOWN:
        safe.append(f"… and {len(each) - MOST_SHOWN:,} more errors")
    if safe:
        raise ConfigError(safe)


def _without(secrets: Iterable[str], line: str) -> str:
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            line = line.replace(secret, "<secret>")
    return line


def _quoted(text: str) -> str:
    """The text in quotes, without the user part of a URL; empty if it may be a key."""
    if len(text) > LONGEST_EXAMINED or holds_api_key(text) or _ASSIGNS_A_SECRET.search(text):
        return ""
    shown = _without_user(text)
    if len(shown) > LONGEST_SHOWN:
        shown = shown[:LONGEST_SHOWN] + "…"
    return json.dumps(shown, ensure_ascii=False)


def _without_user(text: str) -> str:
    """The text without what comes before an `@`: in a URL, a user and a password."""
    before, at, after = text.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return f"{scheme}{separator}…@{after}" if separator else f"{'…@' if at else ''}{after}"
