"""The web configuration in force, read again when a file has changed."""

from collections.abc import Awaitable, Callable

import structlog

from cdi_exporter.errors import ConfigError
from cdi_exporter.files import FIRST_PATIENCE, Files, Watched, reason_of
from cdi_exporter.web.security.limiter import Limiter
from cdi_exporter.web.security.load import load
from cdi_exporter.web.security.policy import Policy
from cdi_exporter.web.security.tls import ServerContext
from cdi_exporter.web.security.users import Authenticator

log = structlog.get_logger()


class Security:
    """What the file at `path` asks for.

    Each request and each new connection ask for the policy, and see a change at once. A
    broken change, or a file that cannot be read any more, keeps what was in force: it is logged
    once, and `reload_successful` is False until the files are right again. `wall` gives Unix
    seconds, `monotonic` those that the rate limit counts.
    """

    def __init__(
        self, path: str, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        """Raises ConfigError."""
        self._path, self._wall, self._monotonic = path, wall, monotonic
        self._with_tls: bool | None = None
        self._watched = Watched(self._load)
        self._watched.wait(FIRST_PATIENCE)
        if self._watched.value is None:
            raise ConfigError(self._mistakes(self._watched.problem))
        self._policy = self._watched.value
        self._with_tls = self._policy.tls is not None
        self._problem: Exception | None = None
        self.limiter = Limiter(self._policy.rate, monotonic)
        self.users = Authenticator()
        self.reloaded = wall()

    @property
    def reload_successful(self) -> bool:
        """Whether the newest content of the files is in force."""
        return self._watched.problem is None

    async def policy(self) -> Policy:
        """What is in force now."""
        await self._watched.refresh()
        self._take_over()
        return self._policy

    @property
    def tls(self) -> Callable[[], Awaitable[ServerContext]] | None:
        """The way to the context for a new connection; None if plain HTTP is served."""
        return self._context if self._policy.tls else None

    async def _context(self) -> ServerContext:
        context = (await self.policy()).tls
        if context is None:  # pragma: no cover -- a change to that is refused
            raise ConfigError([f"{self._path}: no TLS"])
        return context

    def _load(self, files: Files) -> Policy:
        policy = load(self._path, files.read)
        if self._with_tls not in (None, policy.tls is not None):
            change = "on" if policy.tls else "off"
            raise ConfigError([f"{self._path}: TLS is switched {change}; that takes a restart"])
        return policy

    def _take_over(self) -> None:
        """See what has become of the files since the last request."""
        policy, problem = self._watched.value, self._watched.problem
        if problem is not self._problem and str(problem) != str(self._problem):
            for mistake in self._mistakes(problem):
                log.error("web configuration not loaded", problem=mistake)
        recovered = problem is None and self._problem is not None
        self._problem = problem
        if policy is None or (policy is self._policy and not recovered):
            return
        if policy.rate != self._policy.rate:
            self.limiter = Limiter(policy.rate, self._monotonic)
        self._policy, self.reloaded = policy, self._wall()
        log.info("web configuration loaded")

    def _mistakes(self, problem: Exception | None) -> tuple[str, ...]:
        if problem is None:
            return ()
        if isinstance(problem, ConfigError):
            return problem.mistakes
        return (f"{self._path}: cannot be read ({reason_of(problem)}); expected a YAML file",)
