"""The validated settings, as values; defaults stand here and nowhere else."""

import re
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache

from cdi_exporter.config.keys import KeySource

MOST_WORKSPACES = 500
"""Workspaces of a configuration: far more than a company has. Each has connections of its own."""

MOST_INTEGRATIONS = 20_000
"""Integrations that one workspace may name: with 80 requests a minute, reading each takes hours."""

MOST_PATTERNS = 100
"""Patterns of `include`, `exclude` and `stale_after`, each: every name is compared with all."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests per minute and workspace, as Braze documents them."""

    integrations: int = 50
    job_sync_status: int = 100


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a workspace is refreshed; times in seconds."""

    min_interval: float = 10.0
    request_timeout: float = 10.0
    rate_limit_share: float = 0.8
    rate_limits: RateLimits = field(default_factory=RateLimits)


@dataclass(frozen=True, slots=True)
class StaleAfter:
    """The user's own word on when an integration is late; `after` None means never."""

    match: str
    after: float | None


@dataclass(frozen=True, slots=True)
class ConfiguredIntegration:
    """An integration that the user named."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """One workspace. `endpoint` is a base URL without a trailing slash.

    `integrations` None means that they are discovered; else `include` and `exclude` have been
    applied to those that the user listed.
    """

    name: str
    endpoint: str
    key: KeySource
    integrations: tuple[ConfiguredIntegration, ...] | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    stale_after: tuple[StaleAfter, ...] = ()
    ca_file: str | None = None
    refresh: Refresh = field(default_factory=Refresh)

    def selects(self, integration_id: str, name: str | None) -> bool:
        """Whether `include` and `exclude` leave the integration in."""
        if self.include and not any(_matches(p, integration_id, name) for p in self.include):
            return False
        return not any(_matches(pattern, integration_id, name) for pattern in self.exclude)

    def stale_after_for(self, integration_id: str, name: str | None) -> StaleAfter | None:
        """The first rule that matches the integration."""
        rules = (rule for rule in self.stale_after if _matches(rule.match, integration_id, name))
        return next(rules, None)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the configuration says."""

    workspaces: tuple[WorkspaceConfig, ...]


def _matches(pattern: str, integration_id: str, name: str | None) -> bool:
    """Whether a glob pattern fits the ID or the name, each as a whole; case counts."""
    compiled = _compiled(pattern)
    return bool(compiled.match(integration_id) or (name is not None and compiled.match(name)))


@lru_cache(maxsize=10 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled once: `fnmatch` itself remembers fewer patterns than a configuration may have."""
    return re.compile(translate(pattern))
