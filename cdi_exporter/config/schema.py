"""The keys of the configuration file: one table.

From it the file is checked, and the reference page and the JSON Schema are made. Pydantic
checks one value at a time, with the checks of `values`; what must hold between values is
checked in `rules`. The context of the validation has `environ`, for `api_key_env`, and
`directory`, from which relative paths lead.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)

from cdi_exporter.config import values
from cdi_exporter.config.duration import EXPECTED as EXPECTED_DURATION
from cdi_exporter.config.duration import UNITS, format_duration
from cdi_exporter.config.keys import (
    FileKey,
    KeyMistake,
    KeySource,
    inline_key,
    key_from_environment,
)
from cdi_exporter.config.settings import (
    MOST_INTEGRATIONS,
    MOST_PATTERNS,
    MOST_WORKSPACES,
    Refresh,
)

_DEFAULTS = Refresh()
_DURATION_PATTERN = "".join(f"([0-9]+{unit})?" for unit in UNITS)


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written, for people."""

    kind: str
    """As the reference page calls it."""
    expected: str
    """`expected …`, for a value that is missing."""


def _schema(kind: str, **rules: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **rules})


_TEXT_SCHEMA = _schema("string", minLength=1, maxLength=values.LONGEST_TEXT)
_NAME_SCHEMA = _schema("string", minLength=1, maxLength=values.LONGEST_NAME)
_DURATION = {"type": "string", "pattern": rf"^(?=.)({_DURATION_PATTERN}|[0-9]+\.[0-9]+s|0)$"}


def _source(make: Any) -> BeforeValidator:
    """Text that says where a key is; whatever is wrong with it is told without the text."""

    def check(value: object, info: ValidationInfo) -> KeySource | None:
        if value is None:
            return None
        if not isinstance(value, str):
            msg = f"{values.EXPECTED_TEXT} (put it into quotes)"
            raise KeyMistake(msg)
        source: KeySource = make(value, info)
        return source

    return BeforeValidator(check)


def _from_environment(value: str, info: ValidationInfo) -> KeySource:
    return key_from_environment(value, (info.context or {}).get("environ", {}))


def _from_file(value: str, info: ValidationInfo) -> KeySource:
    return FileKey(_path(value, info))


def _ca_file(value: object, info: ValidationInfo) -> str:
    return values.ca_file(_path(values.text(value), info))


def _path(value: str, info: ValidationInfo) -> str:
    """A path as seen from the directory of the configuration file, as Prometheus does it."""
    return os.path.join((info.context or {}).get("directory", ""), value)  # noqa: PTH118 -- "" stays ""


def _listed(value: object) -> object:
    """A list of integrations; None for `auto`."""
    if value == "auto":
        return None
    if value is not None and (not isinstance(value, list) or not value):
        raise ValueError(values.EXPECTED_INTEGRATIONS)
    return _bounded(value, MOST_INTEGRATIONS)


def _bounded(value: object, most: int) -> object:
    """A list that is not too long: the check of its entries would take long, and so would use."""
    if isinstance(value, list) and len(value) > most:
        msg = f"of {len(value):,}; expected at most {most:,}"
        raise ValueError(msg)
    return value


def _few(value: object) -> object:
    return _bounded(value, MOST_PATTERNS)


def _integration(value: object) -> object:
    """The ID alone is short for a mapping that holds it."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        msg = f"{values.EXPECTED_ID} (in quotes), or a mapping with id and name"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    return {"id": value}


def _at_least_one(value: object) -> object:
    if not isinstance(value, list) or not value:
        raise ValueError(EXPECTED_WORKSPACES)
    return _bounded(value, MOST_WORKSPACES)


EXPECTED_WORKSPACES = "expected a list of at least one workspace"

Text = Annotated[
    str, BeforeValidator(values.text), _TEXT_SCHEMA, Form("text", values.EXPECTED_TEXT)
]
Pattern = Annotated[
    str, BeforeValidator(values.pattern), _NAME_SCHEMA, Form("pattern", "expected a pattern")
]
Name = Annotated[
    str, BeforeValidator(values.name), _NAME_SCHEMA, Form("text", values.EXPECTED_TEXT)
]
CaFile = Annotated[str, BeforeValidator(_ca_file), _TEXT_SCHEMA, Form("path", "expected a path")]
Duration = Annotated[
    float,
    BeforeValidator(values.duration),
    WithJsonSchema({"anyOf": [_DURATION, {"const": 0}]}),
    Form("duration", f"expected {EXPECTED_DURATION}"),
]
PositiveDuration = Annotated[
    float,
    BeforeValidator(values.positive_duration),
    WithJsonSchema(_DURATION),
    Form("duration", f"expected {EXPECTED_DURATION}"),
]
NeverOrDuration = Annotated[
    float,
    BeforeValidator(values.never_or_duration),
    WithJsonSchema({"anyOf": [{"const": "never"}, _DURATION]}),
    Form("duration or `never`", values.EXPECTED_NEVER),
]
Limit = Annotated[
    int,
    BeforeValidator(values.limit),
    _schema("integer", minimum=1, maximum=values.MOST_REQUESTS),
    Form("whole number", values.EXPECTED_LIMIT),
]
Share = Annotated[
    float,
    BeforeValidator(values.share),
    _schema("number", exclusiveMinimum=0, maximum=1),
    Form("number", values.EXPECTED_SHARE),
]
Endpoint = Annotated[
    str,
    BeforeValidator(values.endpoint),
    _TEXT_SCHEMA,
    Form("host or URL", values.EXPECTED_ENDPOINT),
]
IntegrationId = Annotated[
    str,
    BeforeValidator(values.integration_id),
    _NAME_SCHEMA,
    Form("text", values.EXPECTED_ID),
]
_NULLABLE_TEXT = WithJsonSchema({"type": "string", "minLength": 1})
InlineSource = Annotated[
    KeySource | None,
    _source(lambda value, _: inline_key(value)),
    _NULLABLE_TEXT,
    Form("text", values.EXPECTED_TEXT),
]
EnvironmentSource = Annotated[
    KeySource | None,
    _source(_from_environment),
    _NULLABLE_TEXT,
    Form("text", values.EXPECTED_TEXT),
]
FileSource = Annotated[
    KeySource | None,
    _source(_from_file),
    _NULLABLE_TEXT,
    Form("path", "expected a path"),
]


class Section(BaseModel):
    """A mapping in the file; unknown keys are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )


class RateLimitsSection(Section):
    """The documented limits of the workspace, in requests per minute."""

    integrations: Limit | None = Field(
        default=None,
        description="Requests per minute to the list of integrations.",
        json_schema_extra={"default": _DEFAULTS.rate_limits.integrations},
    )
    job_sync_status: Limit | None = Field(
        default=None,
        description="Requests per minute to the histories of sync runs.",
        json_schema_extra={"default": _DEFAULTS.rate_limits.job_sync_status},
    )


class RefreshSection(Section):
    """How a workspace is refreshed.

    A key that a workspace does not set itself is taken from the `refresh` at the top of the
    file, and else has its default.
    """

    min_interval: Duration | None = Field(
        default=None,
        description="Scrapes closer together share one refresh.",
        json_schema_extra={"default": format_duration(_DEFAULTS.min_interval)},
    )
    request_timeout: PositiveDuration | None = Field(
        default=None,
        description="Time for one API request, from connecting to the last byte.",
        json_schema_extra={"default": format_duration(_DEFAULTS.request_timeout)},
    )
    rate_limit_share: Share | None = Field(
        default=None,
        description="Share of the documented limits that the exporter allows itself, above 0 "
        "and at most 1; the rest stays for other tools with the same workspace. Share times limit "
        "must be at least one request per minute.",
        json_schema_extra={"default": _DEFAULTS.rate_limit_share},
    )
    rate_limits: RateLimitsSection | None = Field(
        default=None, description="The documented limits; change them when Braze changed yours."
    )


class IntegrationSection(Section):
    """An integration that is named in the configuration."""

    id: IntegrationId = Field(
        description="The ID: the last part of the integration's address in the Braze dashboard."
    )
    name: Name | None = Field(default=None, description="The name to show, instead of Braze's.")


class StaleAfterSection(Section):
    """The user's own word on when an integration is late."""

    match: Pattern = Field(description="Glob pattern over the integration's name or ID.")
    after: NeverOrDuration = Field(
        description="The age of the last delivery at which the integration is late; `never` "
        "for one that is not expected to run."
    )


Patterns = Annotated[list[Pattern], Field(max_length=MOST_PATTERNS), BeforeValidator(_few)]
StaleAfters = Annotated[
    list[StaleAfterSection], Field(max_length=MOST_PATTERNS), BeforeValidator(_few)
]
NamedIntegration = Annotated[
    IntegrationSection,
    BeforeValidator(_integration),
]


class WorkspaceSection(Section):
    """One Braze workspace. Exactly one of `api_key`, `api_key_env`, `api_key_file` is needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [key]} for key in ("api_key", "api_key_env", "api_key_file")]
        }
    )

    name: Name = Field(description="The value of the label `workspace`; unique.")
    endpoint: Endpoint = Field(
        description="The workspace's REST endpoint, with or without `https://` and a trailing "
        "slash. Plain `http://` is accepted for a loopback address alone.",
        examples=["rest.iad-03.braze.com"],
    )
    api_key: InlineSource = Field(default=None, description="The REST API key itself.")
    api_key_env: EnvironmentSource = Field(
        default=None,
        description="The name of the environment variable that holds the REST API key.",
    )
    api_key_file: FileSource = Field(
        default=None,
        description="The file that holds the REST API key. A new key in it is used by the next "
        "request; while the file cannot be used, the key that was read last stays.",
    )
    integrations: Annotated[
        list[NamedIntegration] | None,
        BeforeValidator(
            _listed,
            json_schema_input_type=Literal["auto"]
            | Annotated[
                list[Name | IntegrationSection],
                Field(min_length=1, max_length=MOST_INTEGRATIONS),
            ]
            | None,
        ),
        Form("`auto` or list", values.EXPECTED_INTEGRATIONS),
    ] = Field(
        default=None,
        description="`auto` discovers the integrations, which takes the permission "
        "`cdi.integration_list`. Or a list of IDs, or of mappings with `id` and `name`.",
        json_schema_extra={"default": "auto"},
    )
    include: Patterns | None = Field(
        default=None, description="Glob patterns over name or ID: only these integrations."
    )
    exclude: Patterns | None = Field(
        default=None, description="Glob patterns over name or ID: not these integrations."
    )
    stale_after: StaleAfters | None = Field(
        default=None, description="When integrations are late; the first match wins."
    )
    ca_file: CaFile | None = Field(
        default=None,
        description="File of the certificates to trust, as PEM, instead of the system's. Replaced "
        "certificates are used by the next request.",
    )
    refresh: RefreshSection | None = Field(
        default=None,
        description="What is different here from the `refresh` at the top of the file.",
    )


class File(Section):
    """The configuration file of cdi-exporter."""

    refresh: RefreshSection | None = Field(default=None, description="For all workspaces.")
    workspaces: Annotated[
        list[WorkspaceSection],
        BeforeValidator(
            _at_least_one,
            json_schema_input_type=Annotated[
                list[WorkspaceSection], Field(min_length=1, max_length=MOST_WORKSPACES)
            ],
        ),
        Form("list", EXPECTED_WORKSPACES),
    ] = Field(description="The Braze workspaces to watch, at least one.")


SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("", File),
    ("workspaces[]", WorkspaceSection),
    ("workspaces[].integrations[]", IntegrationSection),
    ("workspaces[].stale_after[]", StaleAfterSection),
    ("refresh", RefreshSection),
    ("refresh.rate_limits", RateLimitsSection),
)
"""Every section, by the key path under which the reference page shows it."""
