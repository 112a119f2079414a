"""The web configuration in force, read anew when a file has changed."""

from collections.abc import Callable, Sequence

import structlog

from cdi_exporter.errors import ConfigError
from cdi_exporter.web.security.files import Files
from cdi_exporter.web.security.limiter import Limiter
from cdi_exporter.web.security.load import load
from cdi_exporter.web.security.policy import Policy
from cdi_exporter.web.security.tls import ServerContext
from cdi_exporter.web.security.users import Authenticator

log = structlog.get_logger()


class Security:
    """What the file at `path` asks for.

    Each request and each new connection ask for the policy, and see a change at once. A
    broken change keeps what was in force: it is logged once, and `reload_successful` is
    False until the files are right again. `wall` gives Unix seconds, `monotonic` those that
    the rate limit counts.
    """

    def __init__(
        self, path: str, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        """Raises ConfigError."""
        self._path, self._wall, self._monotonic = path, wall, monotonic
        self._files = Files()
        self._policy = load(path, self._files.read)
        self.limiter = Limiter(self._policy.rate, monotonic)
        self.users = Authenticator()
        self.reload_successful = True
        self.reloaded = wall()

    def policy(self) -> Policy:
        """What is in force now."""
        if self._files.changed():
            self._reload()
        return self._policy

    @property
    def tls(self) -> Callable[[], ServerContext] | None:
        """The way to the context for a new connection; None where plain HTTP is served."""
        return self._context if self._policy.tls else None

    def _context(self) -> ServerContext:
        context = self.policy().tls
        if context is None:  # pragma: no cover -- a change to that is refused
            raise ConfigError([f"{self._path}: no TLS"])
        return context

    def _reload(self) -> None:
        self._files = Files()
        try:
            policy = load(self._path, self._files.read)
        except ConfigError as error:
            self._reject(error.mistakes)
            return
        if (policy.tls is None) != (self._policy.tls is None):
            change = "on" if policy.tls else "off"
            self._reject([f"{self._path}: TLS is switched {change}; that takes a restart"])
            return
        if policy.rate != self._policy.rate:
            self.limiter = Limiter(policy.rate, self._monotonic)
        self._policy = policy
        self.reload_successful, self.reloaded = True, self._wall()
        log.info("web configuration loaded")

    def _reject(self, mistakes: Sequence[str]) -> None:
        self.reload_successful = False
        for mistake in mistakes:
            log.error("web configuration not loaded", problem=mistake)
