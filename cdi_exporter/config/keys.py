"""Where a workspace's API key comes from: the configuration, the environment or a file."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from cdi_exporter.config.mistakes import Unshown
from cdi_exporter.config.secret import Secret

LONGEST_KEY = 4096
_SOME_KEY = "expected a REST API key of Braze"


class KeyMistake(Unshown):
    """A key cannot be had or cannot be sent; says why without showing anything of it."""


class KeySource(ABC):
    """Where a key comes from; sources that give the same key from the same place are equal."""

    @abstractmethod
    def read(self) -> Secret:
        """The key as it is now. Never fails: a source is only made where there is a key."""


@dataclass(frozen=True, slots=True)
class InlineKey(KeySource):
    """A key that stands in the configuration, or stood in the environment at the start."""

    secret: Secret

    def read(self) -> Secret:
        """The same key at all times."""
        return self.secret


class FileKey(KeySource):
    """A key in a file, for rotation without a restart. Raises KeyMistake where it has none.

    The file is read each time, which costs about as much as asking for its times and sees
    also what those do not tell: two writes within one tick of the file system's clock. A
    symbolic link is followed each time, since Kubernetes swaps the link.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._latest = _from_file(path)

    def read(self) -> Secret:
        """The key as the file has it now; the old one while the file is missing or no key."""
        with suppress(KeyMistake):
            self._latest = _from_file(self.path)
        return self._latest

    def __repr__(self) -> str:
        return "FileKey(<file>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileKey) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


def inline_key(text: str) -> InlineKey:
    """A key that is known already. Raises KeyMistake where it cannot be sent."""
    return InlineKey(_checked(text))


def key_from_environment(name: str, environ: Mapping[str, str]) -> InlineKey:
    """The key in an environment variable. Raises KeyMistake."""
    value = environ.get(name, "")
    if not value.strip():
        msg = (
            "the environment variable of this name is not set or empty; expected the name of one "
            "that holds a REST API key of Braze"
        )
        raise KeyMistake(msg)
    return inline_key(value)


def _from_file(path: str) -> Secret:
    try:
        content = _content(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        msg = f"the file cannot be read ({reason}); expected a file that holds the key"
        raise KeyMistake(msg) from error
    except ValueError:
        msg = "is no possible file name; expected the path of a file that holds the key"
        raise KeyMistake(msg) from None
    if not content.strip():
        msg = "the file is empty; expected the key in it"
        raise KeyMistake(msg)
    return _checked(content.decode("latin-1"))


def _content(path: str) -> bytes:
    """The first bytes of a plain file; never waits, as reading a pipe would."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            reason = "not a plain file"
            raise OSError(0, reason)
        return os.read(descriptor, 2 * LONGEST_KEY)
    finally:
        os.close(descriptor)


def _checked(text: str) -> Secret:
    key = text.strip()
    if not key:
        msg = f"the key is empty; {_SOME_KEY}"
        raise KeyMistake(msg)
    if len(key) > LONGEST_KEY:
        msg = f"the key is longer than {LONGEST_KEY} characters; {_SOME_KEY}"
        raise KeyMistake(msg)
    if not all("!" <= char <= "~" for char in key):
        msg = f"the key holds spaces, control or non-ASCII characters; {_SOME_KEY}"
        raise KeyMistake(msg)
    return Secret(key)
