"""Reads the web configuration, reloads it when its files change, and applies it to requests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cdi_exporter.config.forms import Reader, is_valid
from cdi_exporter.config.mistakes import show_kind
from cdi_exporter.config.secret import Secret
from cdi_exporter.config.yaml_lines import KeyPath, YamlData, read_yaml
from cdi_exporter.errors import ConfigError
from cdi_exporter.files import FIRST_PATIENCE, Files, Watched, reason_of
from cdi_exporter.threads import Busy
from cdi_exporter.web.delivery import Headers, gone, with_headers
from cdi_exporter.web.security.sections import SECTIONS, TYPED, TlsSection, WebConfigFile
from cdi_exporter.web.security.tls import TLS, Read, ServerContext, server_context
from cdi_exporter.web.security.users import Authenticator

log = structlog.get_logger()

_TOO_MANY = PlainTextResponse(
    "Too Many Requests\n", 429, headers={"X-Content-Type-Options": "nosniff"}
)
_UNAUTHORIZED = PlainTextResponse(
    "Unauthorized\n",
    401,
    headers={"WWW-Authenticate": "Basic", "X-Content-Type-Options": "nosniff"},
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The content of the file. Without users, authentication is off."""

    tls: ServerContext | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: Mapping[bytes, Secret] = field(default_factory=dict)
    """bcrypt hashes by user name."""
    interval: float = 0.0
    """Seconds per request of the rate limit; 0: no limit."""
    burst: int = 0
    """Requests that the rate limit allows at once."""


def _secret(path: KeyPath) -> bool:
    """Whether a value is secret: an inline private key, or a hash of a user."""
    return path == (TLS, "key") or path[:1] == ("basic_auth_users",)


def load(path: str, read: Read) -> Policy:
    """The policy of a file; raises ConfigError with a line for each error.

    `read` returns the content of the file, and of the files that it names; it raises OSError.
    """
    yaml = read_yaml(path, is_secret=_secret, toolkit=True, read=read)
    found = Reader(path, yaml, SECTIONS, {})
    data = _as_written(yaml, yaml.data, ()) if yaml.data is not None else {}
    if not isinstance(data, dict):
        found.add((), f"{show_kind(data)}; expected a mapping")
        data = {}
    values = found.mapping(WebConfigFile, data, ())
    section = values.get(TLS, {})
    # The certificates are checked even if the rest of the file is invalid, to report all errors.
    tls = TlsSection(**section) if is_valid(section) else TlsSection()
    context = server_context(tls, read, found) if tls.on else None
    found.stop()
    rate = values.get("rate_limit", {})
    return Policy(
        tls=context,
        headers=values.get("http_server_config", {}).get("headers", ()),
        users=values.get("basic_auth_users", {}),
        interval=rate.get("interval", 0.0),
        burst=rate.get("burst", 0),
    )


def _as_written(yaml: YamlData, value: Any, path: KeyPath) -> Any:
    """The data with each plain value as the text in the file, except those of `TYPED`."""
    if isinstance(value, dict):
        return {key: _as_written(yaml, each, (*path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_written(yaml, each, (*path, i)) for i, each in enumerate(value)]
    written = yaml.written.get(path)
    if value is None or written is None or TYPED.intersection(path[-1:]):
        return value
    return written


class Limiter:
    """A token bucket: each request takes one token.

    One token is added per `interval` seconds, up to `burst`; the bucket is full at first.
    """

    def __init__(self, interval: float, burst: int, monotonic: Callable[[], float]) -> None:
        self._interval, self._burst, self._monotonic = interval, burst, monotonic
        self._tokens, self._counted = float(burst), monotonic()

    def take(self) -> bool:
        """Whether there was a token for this request."""
        if self._interval <= 0:
            return True
        now = self._monotonic()
        added = (now - self._counted) / self._interval
        self._tokens, self._counted = min(self._tokens + added, self._burst), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Security:
    """The current policy of the file at `path`.

    Each request and each new connection uses the newest policy. If a change is invalid, or a file
    cannot be read any more, the last valid policy stays: the error is logged once, and
    `reload_successful` is False until the files are valid again. `wall` returns Unix seconds,
    `monotonic` the seconds for the rate limit.
    """

    def __init__(
        self, path: str, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        """Load the file; raises ConfigError if it is invalid."""
        self._path, self._wall, self._monotonic = path, wall, monotonic
        self._with_tls: bool | None = None
        self._watched = Watched(self._load)
        self._watched.wait(FIRST_PATIENCE)
        if self._watched.value is None:
            raise ConfigError(self._error_lines(self._watched.problem))
        self._policy = self._watched.value
        self._with_tls = self._policy.tls is not None
        self._problem: Exception | None = None
        self.limiter = Limiter(self._policy.interval, self._policy.burst, monotonic)
        self.users = Authenticator()
        self.reloaded = wall()

    @property
    def reload_successful(self) -> bool:
        """Whether the newest content of the files is valid, and is the current policy."""
        return self._watched.problem is None

    async def policy(self) -> Policy:
        """The current policy, after a check for changed files. Changes and errors are logged."""
        await self._watched.refresh()
        policy, problem = self._watched.value, self._watched.problem
        if str(problem) != str(self._problem):
            for line in self._error_lines(problem):
                log.error("web configuration reload failed", problem=line)
        recovered = problem is None and self._problem is not None
        self._problem = problem
        before = self._policy
        if policy is not None and (policy is not before or recovered):
            if (policy.interval, policy.burst) != (before.interval, before.burst):
                self.limiter = Limiter(policy.interval, policy.burst, self._monotonic)
            self._policy, self.reloaded = policy, self._wall()
            log.info("web configuration reloaded")
        return self._policy

    @property
    def tls(self) -> Callable[[], Awaitable[ServerContext]] | None:
        """A function that returns the TLS context for a new connection; None without TLS."""
        return self._context if self._policy.tls else None

    async def _context(self) -> ServerContext:
        # `_load` refuses a change that switches TLS off.
        return cast(ServerContext, (await self.policy()).tls)

    def _load(self, files: Files) -> Policy:
        policy = load(self._path, files.read)
        if self._with_tls not in (None, policy.tls is not None):
            change = "on" if policy.tls else "off"
            raise ConfigError([f"{self._path}: TLS is switched {change}; this needs a restart"])
        return policy

    def _error_lines(self, problem: Exception | None) -> tuple[str, ...]:
        if problem is None:
            return ()
        if isinstance(problem, ConfigError):
            return problem.mistakes
        return (f"{self._path}: cannot be read ({reason_of(problem)}); expected a YAML file",)


def guarded(app: ASGIApp, security: Security) -> ASGIApp:
    """The application behind the rate limit, the headers and the authentication, in this order."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        policy = await security.policy()
        if not security.limiter.take():
            await _TOO_MANY(scope, receive, send)
            return
        send = with_headers(send, policy.headers)
        given: Headers = scope["headers"]
        authorization = next((value for name, value in given if name == b"authorization"), None)
        try:
            admitted = not policy.users or await security.users.admits(
                policy.users, authorization, lambda: gone(scope)
            )
        except Busy:
            await _TOO_MANY(scope, receive, send)
            return
        await (app if admitted else _UNAUTHORIZED)(scope, receive, send)

    return answer
