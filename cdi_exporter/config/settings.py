"""The settings, as the dataclasses from which the configuration file is read.

A field's docstring describes its key on the reference page and in the JSON Schema. Rules between
several keys are in `load`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Any

from cdi_exporter.config import values
from cdi_exporter.config.forms import INVALID, Form, Reader, Sections, list_of, mapping_of
from cdi_exporter.config.keys import KeySource, inline_key, key_from_environment
from cdi_exporter.config.mistakes import RedactedError
from cdi_exporter.config.yaml_lines import KeyPath
from cdi_exporter.model import Integration

MOST_WORKSPACES = 500
"""Far more workspaces than a company has. Each one has its own connections."""

MOST_INTEGRATIONS = 20_000
"""Integrations listed for one workspace. At 80 requests a minute, reading all takes hours."""

MOST_PATTERNS = 100
"""Patterns in each of `include`, `exclude` and `stale_after`. Every name is compared with all."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The documented limits of the workspace, in requests per minute."""

    integrations: Annotated[int, values.LIMIT] = 50
    """Requests per minute to the list of integrations."""
    job_sync_status: Annotated[int, values.LIMIT] = 100
    """Requests per minute to the histories of sync runs."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a workspace is refreshed.

    A key that a workspace does not set is taken from the `refresh` at the top of the file. A key
    that is in neither has its default.
    """

    # Durations are in seconds.
    min_interval: Annotated[float, values.DURATION] = 10.0
    """Scrapes closer together share one refresh."""
    request_timeout: Annotated[float, values.POSITIVE_DURATION] = 10.0
    """Timeout of one API request, from connecting to the last byte."""
    rate_limit_share: Annotated[float, values.SHARE] = 0.8
    """Share of the documented limits that the exporter may use, greater than 0 and at most 1. The
    rest is left to other tools that use the same workspace. Share times limit must be at least one
    request per minute."""
    rate_limits: Annotated[RateLimits, mapping_of(RateLimits)] = field(default_factory=RateLimits)
    """The documented limits. Change them if Braze gave you other limits."""


@dataclass(frozen=True, slots=True)
class StaleAfter:
    """A configured override of when integrations are late."""

    match: Annotated[str, values.PATTERN]
    """Glob pattern for the integration's name or ID."""
    # Seconds; None means never.
    after: Annotated[float | None, values.NEVER_OR_DURATION]
    """The age of the last delivery at which the integration is late; `never` for one that is not
    expected to run."""


@dataclass(frozen=True, slots=True)
class ConfiguredIntegration:
    """An integration that is named in the configuration."""

    id: Annotated[str, values.INTEGRATION_ID]
    """The ID: the last part of the integration's URL in the Braze dashboard."""
    name: Annotated[str | None, values.NAME] = None
    """Name to show instead of Braze's."""


def _read_integration(value: object, path: KeyPath, reader: Reader) -> Any:
    """The values of a mapping, or of an ID without a mapping around it."""
    if isinstance(value, str):
        return {"id": values.INTEGRATION_ID.read(value, path, reader)}
    if isinstance(value, dict):
        return reader.mapping(ConfiguredIntegration, value, path)
    expected = f"{values.EXPECTED_ID} (in quotes), or a mapping with id and name"
    reader.add_value(path, value, expected)
    return INVALID


_INTEGRATION = Form(
    "text or mapping",
    values.EXPECTED_ID,
    {"anyOf": [values.NAME.schema, mapping_of(ConfiguredIntegration).schema]},
    _read_integration,
)
_LISTED = list_of(_INTEGRATION, MOST_INTEGRATIONS, values.EXPECTED_INTEGRATIONS)
_INTEGRATIONS = Form(
    "`auto` or list",
    values.EXPECTED_INTEGRATIONS,
    {"anyOf": [{"const": "auto"}, _LISTED.schema]},
    lambda value, path, reader: None if value == "auto" else _LISTED.read(value, path, reader),
)
_PATTERNS = list_of(values.PATTERN, MOST_PATTERNS)


def _key_source(kind: str, description: str, make: Callable[[str, Reader], KeySource]) -> Form:
    """The form of a text that leads to an API key. Its errors never show the text."""

    def read(value: object, path: KeyPath, reader: Reader) -> Any:
        def source() -> KeySource:
            if not isinstance(value, str):
                msg = f"{values.EXPECTED_TEXT} (put it into quotes)"
                raise RedactedError(msg)
            return make(value, reader)

        return reader.attempt(source, value, path)

    schema = {"description": description, "type": "string", "minLength": 1}
    return Form(kind, values.EXPECTED_TEXT, schema, read)


def _resolve(path: str, reader: Reader) -> str:
    """A path relative to the directory of the configuration file, as in Prometheus."""
    return os.path.join(reader.directory, path)  # noqa: PTH118 -- "" stays ""


KEY_SOURCES = {
    "api_key": _key_source("text", "The REST API key itself.", lambda value, _: inline_key(value)),
    "api_key_env": _key_source(
        "text",
        "The name of the environment variable that contains the REST API key.",
        lambda value, reader: key_from_environment(value, reader.environ),
    ),
    "api_key_file": _key_source(
        "path",
        "The file that contains the REST API key. A new key in it is used by the next request. "
        "While the file cannot be used, the last good key stays in use.",
        lambda value, reader: KeySource(file=_resolve(value, reader)),
    ),
}
"""The keys that say where the API key is. A workspace has exactly one of them."""

_CA_FILE = Form(
    "path",
    "expected a path",
    values.TEXT_SCHEMA,
    lambda value, path, reader: reader.attempt(
        lambda: values.ca_file(_resolve(values.text(value), reader)), value, path
    ),
)


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """One Braze workspace. Exactly one of `api_key`, `api_key_env`, `api_key_file` is needed."""

    name: Annotated[str, values.NAME]
    """The value of the label `workspace`; unique."""
    # A base URL without a trailing slash.
    endpoint: Annotated[str, values.ENDPOINT]
    """The workspace's REST endpoint, with or without `https://` and a trailing slash. Plain
    `http://` is accepted only for loopback addresses."""
    key: Annotated[KeySource, KEY_SOURCES]
    # None if the integrations are discovered; else `include` and `exclude` have been applied.
    integrations: Annotated[tuple[ConfiguredIntegration, ...] | None, _INTEGRATIONS] = None
    """`auto` discovers the integrations, which needs the permission `cdi.integration_list`.
    Otherwise a list of IDs, or of mappings with `id` and `name`."""
    include: Annotated[tuple[str, ...], _PATTERNS] = ()
    """Glob patterns for names or IDs: watch only these integrations."""
    exclude: Annotated[tuple[str, ...], _PATTERNS] = ()
    """Glob patterns for names or IDs: do not watch these integrations."""
    stale_after: Annotated[
        tuple[StaleAfter, ...], list_of(mapping_of(StaleAfter), MOST_PATTERNS)
    ] = ()
    """Overrides of when integrations are late. The first match wins."""
    ca_file: Annotated[str | None, _CA_FILE] = None
    """File of PEM certificates to trust instead of the system's. Replaced certificates are used by
    the next request."""
    refresh: Annotated[Refresh, mapping_of(Refresh)] = field(default_factory=Refresh)
    """Overrides of the `refresh` at the top of the file."""

    def selects(self, integration_id: str, name: str | None) -> bool:
        """Whether `include` and `exclude` select the integration."""
        if self.include and not any(_matches(p, integration_id, name) for p in self.include):
            return False
        return not any(_matches(pattern, integration_id, name) for pattern in self.exclude)

    def watched(self, listed: Mapping[str, Integration]) -> dict[str, str]:
        """The names of the integrations to watch, by ID.

        `listed` has the integrations in the list of the API, by ID.
        """
        if self.integrations is None:
            names = {each.id: each.name or each.id for each in listed.values()}
            return {each: name for each, name in names.items() if self.selects(each, name)}
        names = {}
        for each in self.integrations:
            item = listed.get(each.id)
            names[each.id] = each.name or (item and item.name) or each.id
        return names

    def stale_after_for(self, integration_id: str, name: str | None) -> StaleAfter | None:
        """The first rule that matches the integration; None if there is none."""
        rules = (rule for rule in self.stale_after if _matches(rule.match, integration_id, name))
        return next(rules, None)


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration file of cdi-exporter."""

    refresh: Annotated[Refresh, mapping_of(Refresh)] = field(default_factory=Refresh, kw_only=True)
    """Settings for all workspaces."""
    workspaces: Annotated[
        tuple[WorkspaceConfig, ...],
        list_of(
            mapping_of(WorkspaceConfig),
            MOST_WORKSPACES,
            "expected a list of at least one workspace",
        ),
    ]
    """The Braze workspaces to watch, at least one."""


SECTIONS: Sections = (
    ("", Settings),
    ("workspaces[]", WorkspaceConfig),
    ("workspaces[].integrations[]", ConfiguredIntegration),
    ("workspaces[].stale_after[]", StaleAfter),
    ("refresh", Refresh),
    ("refresh.rate_limits", RateLimits),
)
"""The dataclass of every mapping, by its key path on the reference page."""


def _matches(pattern: str, integration_id: str, name: str | None) -> bool:
    """Whether a glob pattern matches the whole ID or the whole name, case-sensitively."""
    compiled = _compiled(pattern)
    return bool(compiled.match(integration_id) or (name is not None and compiled.match(name)))


@lru_cache(maxsize=10 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A cache of its own, because that of `fnmatch` is smaller than a configuration may need."""
    return re.compile(translate(pattern))
