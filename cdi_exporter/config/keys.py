"""The source of a workspace's API key: the configuration, the environment or a file."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
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
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of a variable. Anything else may be the key itself under the wrong name."""

_SOME_KEY = "expected a Braze REST API key"


class KeyMistake(RedactedError):
    """A key that cannot be read or sent; the message shows no part of it."""


class KeySource(ABC):
    """Where a key comes from; sources of the same key in the same place are equal."""

    file: str | None = None
    """The file that the key is in."""

    @property
    @abstractmethod
    def known(self) -> Secret:
        """The key that was read last. A source is only made if there is a key."""

    @property
    def problem(self) -> str | None:
        """Why the newest content of the file is not in use; None if it is."""
        return None

    def read(self) -> Secret:
        """The key as it is now. May wait for the file: not on the event loop."""
        return self.known

    async def refresh(self) -> None:  # noqa: B027 -- only a file can change
        """Check whether the file has a new key, without waiting long for it."""


@dataclass(frozen=True, slots=True)
class InlineKey(KeySource):
    """A key in the configuration, or in the environment at the start; it never changes."""

    secret: Secret

    @property
    def known(self) -> Secret:
        """The key."""
        return self.secret


class FileKey(KeySource):
    """A key in a file, for rotation without a restart. Raises KeyMistake if it has none.

    While the file is missing, hangs or holds no key, the key that was read last stays in use.
    """

    def __init__(self, path: str) -> None:
        self.file = path
        self._watched = Watched(self._load)
        self._watched.wait(FIRST_PATIENCE)
        if self._watched.value is None:
            raise KeyMistake(self.problem or "")

    def _load(self, files: Files) -> Secret:
        return _from_file(self.file or "", files)

    @property
    def known(self) -> Secret:
        """The key that was read last."""
        assert self._watched.value is not None  # noqa: S101 -- the constructor sees to it
        return self._watched.value

    @property
    def problem(self) -> str | None:
        """Why the newest content of the file is not in use; None if it is."""
        error = self._watched.problem
        if error is None or isinstance(error, KeyMistake):
            return None if error is None else str(error)
        return _unreadable(self.file or "", error)

    def read(self) -> Secret:
        """The key as the file has it now; the old one while the file has none."""
        self._watched.wait()
        return self.known

    async def refresh(self) -> None:
        """Check whether the file has a new key, without waiting long for it."""
        await self._watched.refresh()

    def __repr__(self) -> str:
        return "FileKey(<file>)"

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        msg = "a key is not written to anything"
        raise TypeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileKey) and other.file == self.file

    def __hash__(self) -> int:
        return hash(self.file)


def inline_key(text: str) -> InlineKey:
    """A key that is known already. Raises KeyMistake if it cannot be sent."""
    return InlineKey(_checked(text, "the key"))


def key_from_environment(name: str, environ: Mapping[str, str]) -> InlineKey:
    """The key in an environment variable. Raises KeyMistake."""
    value = environ.get(name, "")
    shown = "the environment variable" + (f" {name}" if _is_name(name) else "")
    if not value.strip():
        state = "is empty" if name in environ else "is not set"
        msg = f"{shown} {state}; expected the name of a variable that contains a Braze REST API key"
        raise KeyMistake(msg)
    return InlineKey(_checked(value, f"the key in {shown}"))


def _is_name(name: str) -> bool:
    return _VARIABLE.fullmatch(name) is not None and not holds_api_key(name)


def _from_file(path: str, files: Files) -> Secret:
    try:
        content = files.read(path, 2 * LONGEST_KEY)
    except ValueError:
        problem = "is not a possible file name"
        msg = f"{_named(path)} {problem}; expected the path of a file that contains the key"
        raise KeyMistake(msg) from None
    if not content.strip():
        msg = f"{_named(path)} is empty; expected it to contain the key"
        raise KeyMistake(msg)
    what = f"the key in {_named(path)}"
    try:
        return _checked(without_mark(content).decode("latin-1"), what)
    except UnicodeDecodeError:
        msg = f"{what} is not text; {_SOME_KEY}"
        raise KeyMistake(msg) from None


def _named(path: str) -> str:
    return " ".join(("the file", show_value(path))).strip()


def _unreadable(path: str, error: Exception) -> str:
    return (
        f"{_named(path)} cannot be read ({reason_of(error)}); expected a file that contains the key"
    )


def _checked(text: str, what: str) -> Secret:
    key = text.strip().removeprefix("\ufeff").strip()
    if not key:
        msg = f"{what} is empty; {_SOME_KEY}"
        raise KeyMistake(msg)
    if problem := copied_with_more(key):
        msg = f"{what} {problem}; {_SOME_KEY}"
        raise KeyMistake(msg)
    if key.lower().startswith("bearer "):
        msg = f'{what} starts with "Bearer"; expected only the key'
        raise KeyMistake(msg)
    if len(key) > LONGEST_KEY:
        msg = f"{what} is longer than {LONGEST_KEY} characters; {_SOME_KEY}"
        raise KeyMistake(msg)
    if not all("!" <= char <= "~" for char in key):
        msg = f"{what} contains spaces, control characters or non-ASCII characters; {_SOME_KEY}"
        raise KeyMistake(msg)
    return Secret(key)
