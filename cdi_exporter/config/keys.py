"""Where a workspace's API key comes from: the configuration, the environment or a file."""

import re
from collections.abc import Mapping
from typing import NoReturn, Self

from cdi_exporter.config.mistakes import (
    RedactedError,
    copied_with_more,
    holds_api_key,
    show_value,
)
from cdi_exporter.config.secret import Secret
from cdi_exporter.files import FIRST_PATIENCE, Files, Watched, reason_of
from cdi_exporter.pem import without_mark

LONGEST_KEY = 4096
"""Characters of a key: Braze's keys have 36, so this leaves room for longer ones."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of a variable. Other text may be the key itself, so it is not shown."""

_SOME_KEY = "expected a Braze REST API key"


class KeySource:
    """A fixed API key, or a file with one, which may be replaced while the exporter runs.

    While the file is missing, unreadable or without a valid key, the last valid key stays in use.
    Two sources are equal if they have the same fixed key or the same path. Raises RedactedError if
    the file has no valid key at the start.
    """

    def __init__(self, fixed: Secret | None = None, *, file: str | None = None) -> None:
        self.file = file
        self._fixed = fixed
        self._watched: Watched[Secret] | None = None
        if file is not None:
            self._watched = Watched(lambda files: _from_file(file, files))
            self._watched.wait(FIRST_PATIENCE)
            if self._watched.value is None:
                raise RedactedError(self.problem or "")

    @property
    def known(self) -> Secret:
        """The last valid key."""
        key = self._watched.value if self._watched else self._fixed
        assert key is not None  # noqa: S101 -- without a key, the constructor raises
        return key

    @property
    def problem(self) -> str | None:
        """Why the newest content of the file is not in use; None if it is."""
        error = self._watched.problem if self._watched else None
        if error is None or isinstance(error, RedactedError):
            return None if error is None else str(error)
        why = f"cannot be read ({reason_of(error)})"
        return f"{_named(self.file or '')} {why}; expected a file that contains the key"

    async def refresh(self) -> None:
        """Check whether the file has a new key, without waiting long for it."""
        if self._watched:
            await self._watched.refresh()

    def __repr__(self) -> str:
        return f"KeySource({self._fixed or '<file>'})"

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        msg = "a key is not written to anything"
        raise TypeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySource) and (other._fixed, other.file) == (
            self._fixed,
            self.file,
        )

    def __hash__(self) -> int:
        return hash((self._fixed, self.file))


def inline_key(text: str) -> KeySource:
    """A key that is given as text. Raises RedactedError if it is not valid."""
    return KeySource(_checked(text, "the key"))


def key_from_environment(name: str, environ: Mapping[str, str]) -> KeySource:
    """The key in an environment variable. Raises RedactedError if it is not valid."""
    value = environ.get(name, "")
    is_name = _VARIABLE.fullmatch(name) and not holds_api_key(name)
    shown = "the environment variable" + (f" {name}" if is_name else "")
    if not value.strip():
        state = "is empty" if name in environ else "is not set"
        msg = f"{shown} {state}; expected the name of a variable that contains a Braze REST API key"
        raise RedactedError(msg)
    return KeySource(_checked(value, f"the key in {shown}"))


def _from_file(path: str, files: Files) -> Secret:
    try:
        content = files.read(path, 2 * LONGEST_KEY)
    except ValueError:
        problem = "is not a possible file name"
        msg = f"{_named(path)} {problem}; expected the path of a file that contains the key"
        raise RedactedError(msg) from None
    if not content.strip():
        msg = f"{_named(path)} is empty; expected it to contain the key"
        raise RedactedError(msg)
    what = f"the key in {_named(path)}"
    try:
        text = without_mark(content).decode("latin-1")
    except UnicodeDecodeError:
        msg = f"{what} is not text; {_SOME_KEY}"
        raise RedactedError(msg) from None
    return _checked(text, what)


def _named(path: str) -> str:
    return " ".join(("the file", show_value(path))).strip()


def _checked(text: str, what: str) -> Secret:
    """The key without surrounding spaces. Raises RedactedError if it is not valid."""
    key = text.strip().removeprefix("\ufeff").strip()
    if key.lower().startswith("bearer "):
        msg = f'{what} starts with "Bearer"; expected only the key'
        raise RedactedError(msg)
    problem = None
    if not key:
        problem = "is empty"
    elif copied := copied_with_more(key):
        problem = copied
    elif len(key) > LONGEST_KEY:
        problem = f"is longer than {LONGEST_KEY} characters"
    elif not all("!" <= char <= "~" for char in key):
        problem = "contains spaces, control characters or non-ASCII characters"
    if problem:
        msg = f"{what} {problem}; {_SOME_KEY}"
        raise RedactedError(msg)
    return Secret(key)
