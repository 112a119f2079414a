"""The checks of a request: rate limit, headers and users, in this order."""

import asyncio
import base64
from collections.abc import Mapping
from pathlib import Path

import bcrypt
import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cdi_exporter.web.security.guard import Limiter, Security, guarded

HASH = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
USERS = f"basic_auth_users: {{alice: '{HASH}'}}\n"
ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:wonderland").decode()}
HEADERS = (
    "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: strict}}\n"
)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Served:
    """An application protected by a web configuration file that a test can change."""

    def __init__(self, folder: Path, content: str) -> None:
        self.file, self.clock = folder / "web.yml", Clock()
        self.file.write_text(content)
        self.security = Security(str(self.file), self.clock, self.clock)

        async def hello(request: object) -> PlainTextResponse:
            return PlainTextResponse("hello", headers={"Content-Security-Policy": "lax"})

        routes = [Route("/", hello), Route("/-/healthy", hello)]
        self._app = guarded(Starlette(routes=routes), self.security)

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())


def test_without_users_authentication_is_off(tmp_path: Path) -> None:
    """An empty file requires no password."""
    answer = Served(tmp_path, "").get()
    assert (answer.status_code, answer.text) == (200, "hello")
    assert answer.headers["Content-Security-Policy"] == "lax"


def test_with_users_other_clients_are_refused(tmp_path: Path) -> None:
    """The response is the same as the toolkit's, on every path, with the configured headers."""
    served = Served(tmp_path, USERS + HEADERS)
    for path in ("/", "/-/healthy", "/nowhere"):
        answer = served.get(path)
        assert (answer.status_code, answer.text) == (401, "Unauthorized\n")
        assert answer.headers["WWW-Authenticate"] == "Basic"
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "deny"
    assert served.get(headers=ALICE).text == "hello"
    assert served.get("/-/healthy", ALICE).status_code == 200
    assert served.get("/nowhere", ALICE).status_code == 404


def test_a_configured_header_replaces_the_header_of_the_page(tmp_path: Path) -> None:
    """The header is sent once."""
    answer = Served(tmp_path, HEADERS).get()
    assert answer.headers.get_list("Content-Security-Policy") == ["strict"]


def test_the_rate_limit_comes_first(tmp_path: Path) -> None:
    """Requests over the limit get 429 without the configured headers, even with a password."""
    served = Served(tmp_path, USERS + HEADERS + "rate_limit: {interval: 1s, burst: 2}\n")
    assert [served.get().status_code for _ in range(3)] == [401, 401, 429]
    answer = served.get(headers=ALICE)
    assert (answer.status_code, answer.text) == (429, "Too Many Requests\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Frame-Options" not in answer.headers
    served.clock.now += 1
    assert [served.get(headers=ALICE).status_code for _ in range(2)] == [200, 429]


def test_tokens_refill_one_per_interval_up_to_the_burst() -> None:
    """A burst of 0 refuses everything. An interval of 0 or less allows everything."""
    clock = Clock()
    limiter = Limiter(10, 3, clock)
    assert [limiter.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 25
    assert [limiter.take() for _ in range(3)] == [True, True, False]
    clock.now += 5
    assert limiter.take()
    clock.now += 1000
    assert [limiter.take() for _ in range(4)] == [True, True, True, False]
    assert not Limiter(1, 0, clock).take()
    assert all(Limiter(0, 0, clock).take() for _ in range(100))
    assert all(Limiter(-1, 1, clock).take() for _ in range(100))


def test_a_change_is_seen_by_the_next_request(tmp_path: Path) -> None:
    """Users, headers and limit change at once. Without users the exporter is open."""
    served = Served(tmp_path, USERS)
    assert served.get().status_code == 401
    served.file.write_text(HEADERS)
    answer = served.get()
    assert (answer.status_code, answer.headers["X-Frame-Options"]) == (200, "deny")
    served.file.write_text("rate_limit: {interval: 1s}\n")
    assert served.get().status_code == 429
    served.file.write_text(USERS)
    assert [served.get().status_code, served.get(headers=ALICE).status_code] == [401, 200]


def test_the_limit_is_not_reset_by_another_change(tmp_path: Path) -> None:
    """Changing the file gives no new tokens."""
    served = Served(tmp_path, "rate_limit: {interval: 1s, burst: 1}\n")
    assert [served.get().status_code, served.get().status_code] == [200, 429]
    served.file.write_text("rate_limit: {interval: 1s, burst: 1}\n" + HEADERS)
    assert served.get().status_code == 429
