"""The settings: what each key of the configuration file means, and its default.

The file is read by these dataclasses, and the reference page and the JSON Schema are made from
them. Rules between several keys are in `load`.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Any

from cdi_exporter.config import values
from cdi_exporter.config.forms import INVALID, Form, Key, Reader, Sections, list_of, mapping_of
from cdi_exporter.config.keys import FileKey, KeySource, inline_key, key_from_environment
from cdi_exporter.config.mistakes import RedactedError
from cdi_exporter.config.yaml_lines import KeyPath
from cdi_exporter.model import Integration

MOST_WORKSPACES = 500
"""Workspaces of a configuration: far more than a company has. Each has connections of its own."""

MOST_INTEGRATIONS = 20_000
"""Integrations that one workspace may name: with 80 requests a minute, reading each takes hours."""

MOST_PATTERNS = 100
"""Patterns of `include`, `exclude` and `stale_after`, each: every name is compared with all."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The documented limits of the workspace, in requests per minute."""

    integrations: Annotated[
        int, Key(values.LIMIT, "Requests per minute to the list of integrations.")
    ] = 50
    job_sync_status: Annotated[
        int, Key(values.LIMIT, "Requests per minute to the histories of sync runs.")
    ] = 100


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a workspace is refreshed.

    A key that a workspace does not set itself is taken from the `refresh` at the top of the
    file, and else has its default.
    """

    min_interval: Annotated[
        float, Key(values.DURATION, "Scrapes closer together share one refresh.")
    ] = 10.0
    request_timeout: Annotated[
        float,
        Key(
            values.POSITIVE_DURATION,
            "Timeout of one API request, from connecting to the last byte.",
        ),
    ] = 10.0
    rate_limit_share: Annotated[
        float,
        Key(
            values.SHARE,
            "Share of the documented limits that the exporter may use, greater than 0 and at most "
            "1. The rest is left to other tools that use the same workspace. Share times limit "
            "must be at least one request per minute.",
        ),
    ] = 0.8
    rate_limits: Annotated[
        RateLimits,
        Key(
            mapping_of(RateLimits),
            "The documented limits. Change them if Braze gave you other limits.",
        ),
    ] = field(default_factory=RateLimits)


@dataclass(frozen=True, slots=True)
class StaleAfter:
    """A configured override of when integrations are late."""

    match: Annotated[str, Key(values.PATTERN, "Glob pattern for the integration's name or ID.")]
    after: Annotated[
        float | None,
        Key(
            values.NEVER_OR_DURATION,
            "The age of the last delivery at which the integration is late; `never` for one that "
            "is not expected to run.",
        ),
    ]
    """Seconds; None means never."""


@dataclass(frozen=True, slots=True)
class ConfiguredIntegration:
    """An integration that is named in the configuration."""

    id: Annotated[
        str,
        Key(
            values.INTEGRATION_ID,
            "The ID: the last part of the integration's URL in the Braze dashboard.",
        ),
    ]
    name: Annotated[str | None, Key(values.NAME, "Name to show instead of Braze's.")] = None


def _read_integration(value: object, path: KeyPath, reader: Reader) -> Any:
    """An ID by itself means a mapping with only that."""
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
    lambda _: "auto",
)
_PATTERNS = list_of(values.PATTERN, MOST_PATTERNS)


def _source(kind: str, make: Callable[[str, Reader], KeySource]) -> Form:
    """The form of text that says where a key is, and is not shown whatever is wrong with it."""

    def read(value: object, path: KeyPath, reader: Reader) -> Any:
        def source() -> KeySource:
            if not isinstance(value, str):
                msg = f"{values.EXPECTED_TEXT} (put it into quotes)"
                raise RedactedError(msg)
            return make(value, reader)

        return reader.attempt(source, value, path)

    return Form(kind, values.EXPECTED_TEXT, {"type": "string", "minLength": 1}, read)


def _path(path: str, reader: Reader) -> str:
    """A path as seen from the directory of the configuration file, as Prometheus does it."""
    return os.path.join(reader.directory, path)  # noqa: PTH118 -- "" stays ""


_CA_FILE = Form(
    "path",
    "expected a path",
    values.TEXT_SCHEMA,
    lambda value, path, reader: reader.attempt(
        lambda: values.ca_file(_path(values.text(value), reader)), value, path
    ),
)


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """One Braze workspace. Exactly one of `api_key`, `api_key_env`, `api_key_file` is needed."""

    name: Annotated[str, Key(values.NAME, "The value of the label `workspace`; unique.")]
    endpoint: Annotated[
        str,
        Key(
            values.ENDPOINT,
            "The workspace's REST endpoint, with or without `https://` and a trailing slash. "
            "Plain `http://` is accepted only for loopback addresses.",
            example="rest.iad-03.braze.com",
        ),
    ]
    """A base URL without a trailing slash."""
    key: Annotated[
        KeySource,
        Key(
            _source("text", lambda value, _: inline_key(value)),
            "The REST API key itself.",
            "api_key",
        ),
        Key(
            _source("text", lambda value, reader: key_from_environment(value, reader.environ)),
            "The name of the environment variable that contains the REST API key.",
            "api_key_env",
        ),
        Key(
            _source("path", lambda value, reader: FileKey(_path(value, reader))),
            "The file that contains the REST API key. A new key in it is used by the next request. "
            "While the file cannot be used, the last good key stays in use.",
            "api_key_file",
        ),
    ]
    integrations: Annotated[
        tuple[ConfiguredIntegration, ...] | None,
        Key(
            _INTEGRATIONS,
            "`auto` discovers the integrations, which needs the permission `cdi.integration_list`. "
            "Otherwise a list of IDs, or of mappings with `id` and `name`.",
        ),
    ] = None
    """None means that they are discovered; else `include` and `exclude` have been applied."""
    include: Annotated[
        tuple[str, ...],
        Key(_PATTERNS, "Glob patterns for names or IDs: watch only these integrations."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Key(_PATTERNS, "Glob patterns for names or IDs: do not watch these integrations."),
    ] = ()
    stale_after: Annotated[
        tuple[StaleAfter, ...],
        Key(
            list_of(mapping_of(StaleAfter), MOST_PATTERNS),
            "Overrides of when integrations are late. The first match wins.",
        ),
    ] = ()
    ca_file: Annotated[
        str | None,
        Key(
            _CA_FILE,
            "File of PEM certificates to trust instead of the system's. Replaced certificates are "
            "used by the next request.",
        ),
    ] = None
    refresh: Annotated[
        Refresh, Key(mapping_of(Refresh), "Overrides of the `refresh` at the top of the file.")
    ] = field(default_factory=Refresh)

    def selects(self, integration_id: str, name: str | None) -> bool:
        """Whether `include` and `exclude` leave the integration in."""
        if self.include and not any(_matches(p, integration_id, name) for p in self.include):
            return False
        return not any(_matches(pattern, integration_id, name) for pattern in self.exclude)

    def watched(self, listed: Mapping[str, Integration]) -> dict[str, str]:
        """The names of the integrations to watch by their IDs, if Braze lists these."""
        if self.integrations is None:
            names = {each.id: each.name or each.id for each in listed.values()}
            return {each: name for each, name in names.items() if self.selects(each, name)}
        names = {}
        for each in self.integrations:
            item = listed.get(each.id)
            names[each.id] = each.name or (item and item.name) or each.id
        return names

    def stale_after_for(self, integration_id: str, name: str | None) -> StaleAfter | None:
        """The first rule that matches the integration."""
        rules = (rule for rule in self.stale_after if _matches(rule.match, integration_id, name))
        return next(rules, None)


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration file of cdi-exporter."""

    refresh: Annotated[Refresh, Key(mapping_of(Refresh), "Settings for all workspaces.")] = field(
        default_factory=Refresh, kw_only=True
    )
    workspaces: Annotated[
        tuple[WorkspaceConfig, ...],
        Key(
            list_of(
                mapping_of(WorkspaceConfig),
                MOST_WORKSPACES,
                "expected a list of at least one workspace",
            ),
            "The Braze workspaces to watch, at least one.",
        ),
    ]


SECTIONS: Sections = (
    ("", Settings),
    ("workspaces[]", WorkspaceConfig),
    ("workspaces[].integrations[]", ConfiguredIntegration),
    ("workspaces[].stale_after[]", StaleAfter),
    ("refresh", Refresh),
    ("refresh.rate_limits", RateLimits),
)
"""Every mapping, by the key path under which the reference page shows it."""


def _matches(pattern: str, integration_id: str, name: str | None) -> bool:
    """Whether a glob pattern fits the ID or the name, each as a whole; case counts."""
    compiled = _compiled(pattern)
    return bool(compiled.match(integration_id) or (name is not None and compiled.match(name)))


@lru_cache(maxsize=10 * MOST_PATTERNS)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled once: `fnmatch` itself remembers fewer patterns than a configuration may have."""
    return re.compile(translate(pattern))
