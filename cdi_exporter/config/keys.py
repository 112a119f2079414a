"""The source of a workspace's API key: the configuration, the environment or a file."""

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
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of a variable. Anything else may be the key itself under the wrong name."""

_SOME_KEY = "expected a Braze REST API key"


class KeySource:
    """A key in the configuration, or in the environment at the start; it never changes.

    Sources of the same key in the same place are equal.
    """

    file: str | None = None
    """The file that the key is in."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    @property
    def known(self) -> Secret:
        """The key that was read last. A source is only made if there is a key."""
        return self._secret

    @property
    def problem(self) -> str | None:
        """Why the newest content of the file is not in use; None if it is."""
        return None

    async def refresh(self) -> None:
        """Check whether the file has a new key, without waiting long for it."""

    def __repr__(self) -> str:
        return f"KeySource({self._secret})"

    def __eq__(self, other: object) -> bool:
        return type(other) is KeySource and other._secret == self._secret

    def __hash__(self) -> int:
        return hash(self._secret)


class FileKey(KeySource):
    """A key in a file, for rotation without a restart. Raises RedactedError if it has none.

    While the file is missing, hangs or holds no key, the key that was read last stays in use.
    """

    def __init__(self, path: str) -> None:
        self.file = path
        self._watched = Watched(lambda files: _from_file(path, files))
        self._watched.wait(FIRST_PATIENCE)
        if self._watched.value is None:
            raise RedactedError(self.problem or "")

    @property
    def known(self) -> Secret:
        """The key that was read last."""
        assert self._watched.value is not None  # noqa: S101 -- the constructor sees to it
        return self._watched.value

    @property
    def problem(self) -> str | None:
        """Why the newest content of the file is not in use; None if it is."""
        error = self._watched.problem
        if error is None or isinstance(error, RedactedError):
            return None if error is None else str(error)
        why = f"cannot be read ({reason_of(error)})"
        return f"{_named(self.file or '')} {why}; expected a file that contains the key"

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


def inline_key(text: str) -> KeySource:
    """A key that is known already. Raises RedactedError if it cannot be sent."""
    return KeySource(_checked(text, "the key"))


def key_from_environment(name: str, environ: Mapping[str, str]) -> KeySource:
    """The key in an environment variable. Raises RedactedError."""
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
    """The key without what surrounds it. Raises RedactedError if it cannot be one."""
    key = text.strip().removeprefix("\ufeff").strip()
    problem = None
    if not key:
        problem = "is empty"
    elif copied := copied_with_more(key):
        problem = copied
    elif key.lower().startswith("bearer "):
        msg = f'{what} starts with "Bearer"; expected only the key'
        raise RedactedError(msg)
    elif len(key) > LONGEST_KEY:
        problem = f"is longer than {LONGEST_KEY} characters"
    elif not all("!" <= char <= "~" for char in key):
        problem = "contains spaces, control characters or non-ASCII characters"
    if problem:
        msg = f"{what} {problem}; {_SOME_KEY}"
        raise RedactedError(msg)
    return Secret(key)
