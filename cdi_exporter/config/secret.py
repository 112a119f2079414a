"""API keys: where they come from, and a wrapper that never shows them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

SHOWN = "<secret>"


class Secret:
    """A text that prints as `<secret>` however it is written."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    def __str__(self) -> str:
        return SHOWN

    def __format__(self, specification: str) -> str:
        return SHOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("secret", self._text))

    def __reduce__(self) -> NoReturn:
        msg = "a secret is not written to anything"
        raise TypeError(msg)


class KeyMistake(ValueError):
    """A key cannot be had or used; says why without showing it."""


class KeySource:
    """Where a workspace's key comes from; `read` gives it as it is now."""

    def read(self) -> Secret:
        """The key. Raises KeyMistake where there is none to begin with."""
        raise NotImplementedError


class InlineKey(KeySource):
    """A key that stands in the configuration, or stood in the environment at the start."""

    def __init__(self, text: str) -> None:
        self._secret = _checked(text)

    def read(self) -> Secret:
        """The same key at all times."""
        return self._secret


class FileKey(KeySource):
    """A key in a file, read again when its content may have changed.

    Missing, empty or unusable in the middle of a rotation: the old key stays.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self._secret = _from_file(path)

    def read(self) -> Secret:
        """The key as the file has it now."""
        stamp = _stamp(self.path)
        if stamp is not None and stamp != self._stamp:
            try:
                self._secret = _from_file(self.path)
            except KeyMistake:
                return self._secret
            self._stamp = stamp
        return self._secret


def inline_key(text: str) -> KeySource:
    """A key that is known already. Raises KeyMistake where it cannot be sent."""
    return InlineKey(text)


def key_from_environment(name: str, environ: Mapping[str, str]) -> KeySource:
    """The key in an environment variable. Raises KeyMistake."""
    if not environ.get(name, "").strip():
        msg = f"the environment variable {name} is not set or empty"
        raise KeyMistake(msg)
    return InlineKey(environ[name])


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 -- called for each request
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


def _from_file(path: str) -> Secret:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise KeyMistake(msg) from error
    except UnicodeDecodeError as error:
        raise KeyMistake(_UNSENDABLE) from error
    if not text.strip():
        msg = "the file is empty"
        raise KeyMistake(msg)
    return _checked(text)


_UNSENDABLE = "the key holds characters that no API key has (spaces, control or non-ASCII ones)"


def _checked(text: str) -> Secret:
    key = text.strip()
    if not key:
        msg = "the key is empty"
        raise KeyMistake(msg)
    if not all("!" <= char <= "~" for char in key):
        raise KeyMistake(_UNSENDABLE)
    return Secret(key)
