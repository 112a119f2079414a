"""Basic authentication: which users are admitted, and the cost of a flood of wrong passwords."""

import asyncio
import base64
import random
import threading

import bcrypt
import pytest

from cdi_exporter.config.secret import Secret
from cdi_exporter.threads import Busy
from cdi_exporter.web.security.users import (
    MOST_RESULTS,
    MOST_WAITING,
    Authenticator,
    credentials,
    matches,
    unmatchable_hash,
)


def hashed(password: bytes, cost: int = 4) -> Secret:
    return Secret(bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode())


def basic(user: bytes, password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user + b":" + password)


USERS = {b"alice": hashed(b"wonderland"), b"d\xc3\xa9": hashed(b"x" * 72)}


class Counting:
    """Counts comparisons with a fixed result. Holds wrong passwords until `go` is set."""

    def __init__(self, *right: bytes) -> None:
        self._right = right
        self.comparisons: list[tuple[str, bytes]] = []
        self.done = 0
        self.go, self.held = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, hashed: str, password: bytes) -> bool:
        self.comparisons.append((hashed, password))
        right = password in self._right
        if not self.go.is_set():
            self.held.set()
        assert right or self.go.wait(60)
        self.done += 1
        return right


@pytest.mark.parametrize(
    ("authorization", "admitted"),
    [
        (basic(b"alice", b"wonderland"), True),
        (b"bAsIc" + basic(b"alice", b"wonderland")[5:], True),
        (basic("dé".encode(), b"x" * 72 + b" and what bcrypt does not look at"), True),
        (basic(b"alice", b"Wonderland"), False),
        (basic(b"alice", b""), False),
        (basic(b"alice", b"won\0derland"), False),
        (basic(b"Alice", b"wonderland"), False),
        (basic(b"", b""), False),
        (basic(b"bob", b"wonderland"), False),
        (basic(b"bob", b"fakepassword"), False),
        (b"Basic " + base64.b64encode(b"alice"), False),
        (b"Basic !!!", False),
        (b"Basic", False),
        (b"Bearer wonderland", False),
        (b"", False),
        (None, False),
    ],
)
def test_only_a_user_with_the_right_password_is_admitted(
    authorization: bytes | None, admitted: bool
) -> None:
    """The second result comes from the cache."""

    async def ask() -> list[bool]:
        authenticator = Authenticator()
        return [await authenticator.admits(USERS, authorization) for _ in range(2)]

    assert asyncio.run(ask()) == [admitted] * 2


def test_a_password_may_hold_a_colon() -> None:
    """The first colon ends the user name."""
    assert credentials(basic(b"alice", b"a:b")) == (b"alice", b"a:b")


def test_hashes_of_all_bcrypt_versions_are_accepted() -> None:
    """Go treats `2`, `2a`, `2b`, `2x` and `2y` alike. An invalid hash matches no password."""
    rest = hashed(b"secret").reveal().removeprefix("$2b")
    for version in ("$2", "$2a", "$2b", "$2x", "$2y"):
        assert matches(version + rest, b"secret")
        assert not matches(version + rest, b"Secret")
    for wrong in ("", "secret", "$2y$10$short", "$2y" + rest + "more", "$2y" + rest[:-1]):
        assert not matches(wrong, b"secret")


def test_different_comparisons_have_different_cache_keys() -> None:
    """The parts of two comparisons may be equal when they are concatenated."""

    async def ask() -> bool:
        authenticator = Authenticator(Counting(b"b"))
        hash_of_b = Secret("$2b$04$" + "b" * 53)
        assert await authenticator.admits({b"a": hash_of_b}, basic(b"a", b"b"))
        shifted = {b"a" + hash_of_b.reveal()[:3].encode(): Secret(hash_of_b.reveal()[3:])}
        user = next(iter(shifted))
        return await authenticator.admits(shifted, basic(user, b"not b"))

    assert not asyncio.run(ask())


def test_a_changed_hash_is_compared_again() -> None:
    """A result for the old hash does not apply to the new one."""

    async def ask() -> list[bool]:
        authenticator = Authenticator()
        authorization = basic(b"alice", b"wonderland")
        return [
            await authenticator.admits({b"alice": each}, authorization)
            for each in (USERS[b"alice"], hashed(b"other"), USERS[b"alice"])
        ]

    assert asyncio.run(ask()) == [True, False, True]


def test_a_flood_of_wrong_passwords_does_not_delay_known_users() -> None:
    """While wrong passwords wait, a password that was right before is admitted at once."""
    compare = Counting(b"wonderland")

    async def ask() -> int:
        authenticator = Authenticator(compare)
        assert await authenticator.admits(USERS, basic(b"alice", b"wonderland"))
        compare.go.clear()
        flood = [
            asyncio.create_task(authenticator.admits(USERS, basic(b"alice", b"%d" % n)))
            for n in range(50)
        ]
        assert await asyncio.to_thread(compare.held.wait, 60)
        for _ in range(100):
            assert await authenticator.admits(USERS, basic(b"alice", b"wonderland"))
            await asyncio.sleep(0)
        at_once = len(compare.comparisons) - compare.done
        compare.go.set()
        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert answers[:MOST_WAITING] == [False] * MOST_WAITING
        assert all(isinstance(each, Busy) for each in answers[MOST_WAITING:])
        return at_once

    assert asyncio.run(ask()) == 1
    assert len(compare.comparisons) == 1 + MOST_WAITING


def test_no_password_is_compared_for_a_client_that_is_gone() -> None:
    """If the clients of a flood disconnect, the next client is served at once."""
    compare = Counting(b"wonderland")

    async def ask() -> None:
        authenticator = Authenticator(compare)
        compare.go.clear()
        flood = [
            asyncio.create_task(
                authenticator.admits(USERS, basic(b"alice", b"%d" % n), gone=lambda: True)
            )
            for n in range(MOST_WAITING - 1)
        ]
        first = asyncio.create_task(authenticator.admits(USERS, basic(b"alice", b"wonderland")))
        compare.go.set()
        assert await first
        assert not any(await asyncio.gather(*flood))

    asyncio.run(ask())
    assert len(compare.comparisons) == 1


def test_the_same_wrong_password_is_compared_once() -> None:
    """This applies to concurrent requests as well."""
    compare = Counting()

    async def ask() -> list[bool]:
        authenticator = Authenticator(compare)
        authorization = basic(b"alice", b"wrong")
        return await asyncio.gather(
            *(authenticator.admits(USERS, authorization) for _ in range(20))
        )

    assert asyncio.run(ask()) == [False] * 20
    assert len(compare.comparisons) == 1


def test_an_unknown_user_takes_as_long_as_a_known_one() -> None:
    """The password is compared with a hash of the most common cost that matches no password."""
    users = {name: hashed(b"x", cost) for name, cost in ((b"a", 5), (b"b", 4), (b"c", 5))}
    compare = Counting(b"any")

    async def ask() -> bool:
        return await Authenticator(compare).admits(users, basic(b"nobody", b"any"))

    assert not asyncio.run(ask())
    ((against, _),) = compare.comparisons
    assert against == unmatchable_hash(users)
    assert against.startswith("$2b$05$")
    assert not matches(against, b"any")
    assert unmatchable_hash({b"a": Secret("no hash at all")}).startswith("$2b$10$")


def test_results_are_forgotten_at_random_and_wrong_ones_first() -> None:
    """At most a hundred results are kept. A flood of wrong passwords removes no right one."""
    compare = Counting(b"wonderland")

    async def ask() -> int:
        authenticator = Authenticator(compare, random.Random(1))
        assert await authenticator.admits(USERS, basic(b"alice", b"wonderland"))
        for n in range(3 * MOST_RESULTS):
            await authenticator.admits(USERS, basic(b"alice", b"%d" % n))
            assert len(authenticator._results) <= MOST_RESULTS
        compared = len(compare.comparisons)
        assert await authenticator.admits(USERS, basic(b"alice", b"wonderland"))
        return len(compare.comparisons) - compared

    assert asyncio.run(ask()) == 0


def test_a_failed_password_comparison_does_not_delay_others() -> None:
    """The error reaches the client of that comparison. The next comparison is made."""

    def fails(hashed: str, password: bytes) -> bool:
        raise MemoryError

    async def ask() -> None:
        authenticator = Authenticator(fails)
        for _ in range(2):
            with pytest.raises(MemoryError):
                await authenticator.admits(USERS, basic(b"alice", b"x"))

    asyncio.run(ask())
