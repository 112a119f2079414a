"""HTTP basic authentication against bcrypt hashes."""

import asyncio
import base64
import binascii
import hashlib
import random
import re
import statistics
from collections.abc import Callable, Mapping
from contextlib import suppress

import bcrypt

from cdi_exporter.config.secret import Secret
from cdi_exporter.threads import Busy, in_thread, result_of

Compare = Callable[[str, bytes], bool]

MOST_RESULTS = 100
"""Most remembered results of comparisons, as in the toolkit."""

MOST_WAITING = 8
"""Passwords that wait to be compared: one takes 50 to 100 ms at bcrypt's usual cost, so that a new
password is compared within a second."""

LONGEST_PASSWORD = 72
"""Bytes of a password that bcrypt uses; it ignores the rest."""

_HASH = re.compile(r"\$.[^$]?\$([0-9]{2})\$([./A-Za-z0-9]{53})")


class Authenticator:
    """Compares passwords with hashes, one at a time and in another thread.

    Results are remembered, so a flood of wrong passwords never delays a scrape whose password was
    already found right. `compare` takes a hash and a password.
    """

    def __init__(self, compare: Compare | None = None, rng: random.Random | None = None) -> None:
        self._compare = compare or matches
        self._rng = rng or random.SystemRandom()
        self._results: dict[bytes, bool] = {}
        self._waiting: dict[bytes, tuple[asyncio.Task[bool], list[Callable[[], bool]]]] = {}
        """Comparisons that wait or are in progress, with the clients that wait for them."""
        self._next = asyncio.Lock()

    async def admits(
        self,
        users: Mapping[bytes, Secret],
        authorization: bytes | None,
        gone: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Whether the header has the name of a user and the right password.

        An unknown user takes as long as a known one. If all waiting clients are `gone`, nothing is
        compared. Raises Busy if too many passwords wait.
        """
        claimed = credentials(authorization or b"")
        if claimed is None:
            return False
        user, password = claimed
        known = users.get(user)
        hashed = unmatchable_hash(users) if known is None else known.reveal()
        # A digest keeps passwords out of memory; hex keeps different comparisons apart.
        parts = (user, hashed.encode(), password[:LONGEST_PASSWORD])
        key = hashlib.sha256(b":".join(part.hex().encode() for part in parts)).digest()
        if key in self._results:
            return self._results[key]
        if key not in self._waiting:
            if len(self._waiting) >= MOST_WAITING:
                raise Busy
            task = asyncio.create_task(self._admits(key, hashed, password, known is not None))
            self._waiting[key] = (task, [])
        task, waiting = self._waiting[key]
        waiting.append(gone)
        return await result_of(task)

    async def _admits(self, key: bytes, hashed: str, password: bytes, known: bool) -> bool:
        try:
            async with self._next:
                if all(gone() for gone in self._waiting[key][1]):
                    return False
                right = await in_thread(lambda: self._compare(hashed, password)) and known
                self._remember(key, right)
                return right
        finally:
            del self._waiting[key]

    def _remember(self, key: bytes, result: bool) -> None:
        """Remember a result. If there are too many, forget a random tenth of the wrong ones."""
        if len(self._results) >= MOST_RESULTS:
            wrong = [each for each, right in self._results.items() if not right]
            forgotten = wrong or [*self._results]
            for each in self._rng.sample(forgotten, min(len(forgotten), MOST_RESULTS // 10)):
                del self._results[each]
        self._results[key] = result


def credentials(authorization: bytes) -> tuple[bytes, bytes] | None:
    """User and password from the header `Authorization`; None if it has none."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon else None


def matches(hashed: str, password: bytes) -> bool:
    """Whether the password has this hash, with any version letter of bcrypt.

    Go computes all versions like the current one, `2b`.
    """
    parts = _HASH.fullmatch(hashed)
    if parts is None:
        return False
    same = f"$2b${parts[1]}${parts[2]}"
    with suppress(ValueError):  # an invalid salt
        return bcrypt.checkpw(password[:LONGEST_PASSWORD], same.encode())
    return False


def unmatchable_hash(users: Mapping[bytes, Secret]) -> str:
    """A hash that no password matches, with the most frequent cost of the users' hashes."""
    costs = [_HASH.fullmatch(each.reveal()) for each in users.values()]
    cost = statistics.mode(sorted(parts[1] for parts in costs if parts) or ["10"])
    return f"$2b${cost}${'.' * 53}"
