"""The configuration file's keys: shape, types, and what is expected of each.

Pydantic checks one value at a time; what holds between values is checked in `load`.
"""

import ipaddress
import math
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from cdi_exporter.config.duration import EXPECTED, parse_duration

DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^([0-9]+(y|w|d|h|m|s|ms))+$|^[0-9]+\.[0-9]+s$|^0$",
}
TEXT_SCHEMA = {"type": "string", "minLength": 1}


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "expected text; put it into quotes"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    if not value.strip() or not value.isprintable():
        msg = "expected text that is not empty and has no control characters"
        raise ValueError(msg)
    return value


def _duration(value: object) -> float:
    if not isinstance(value, str):
        msg = f"expected {EXPECTED}"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    return parse_duration(value)


def _positive_duration(value: object) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        msg = f"expected {EXPECTED}, above 0"
        raise ValueError(msg)
    return seconds


def _never_or_duration(value: object) -> float:
    """Infinity for `never`."""
    if value == "never":
        return math.inf
    try:
        return _positive_duration(value)
    except ValueError as error:
        msg = f"{error}, or never"
        raise ValueError(msg) from error


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        msg = "expected a number above 0 and at most 1"
        raise ValueError(msg)
    return float(value)


def _limit(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        msg = "expected a whole number of requests per minute, at least 1"
        raise ValueError(msg)
    return value


def check_integration_id(value: object) -> str:
    """An ID that can be a segment of a URL's path; raises ValueError."""
    text = _text(value)
    if text in (".", "..") or text != text.strip():
        msg = "expected an integration ID as Braze shows it"
        raise ValueError(msg)
    return text


def check_endpoint(value: object) -> str:
    """The base URL of a REST endpoint, without a trailing slash; raises ValueError."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(_EXPECTED_ENDPOINT)
    text = value.strip()
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(_EXPECTED_ENDPOINT) from error
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if not host or extra or parts.scheme not in ("http", "https") or not _host(host):
        raise ValueError(_EXPECTED_ENDPOINT)
    if parts.scheme == "http" and not _loopback(host):
        msg = "is plain http; expected https (plain http only to a loopback address)"
        raise ValueError(msg)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


_EXPECTED_ENDPOINT = "expected the REST endpoint alone, such as rest.iad-03.braze.com"


def _host(host: str) -> bool:
    if ":" in host:
        try:
            return ipaddress.ip_address(host).version == 6
        except ValueError:
            return False
    return host.isascii() and all(char.isalnum() or char in ".-_" for char in host)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _integration(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


def _discovered(value: object) -> object:
    if value == "auto":
        return None
    if not isinstance(value, list):
        msg = "expected auto, or a list of integration IDs"
        raise ValueError(msg)  # noqa: TRY004 -- pydantic reports ValueError
    return value


Text = Annotated[str, BeforeValidator(_text), WithJsonSchema(TEXT_SCHEMA)]
Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema(DURATION_SCHEMA)]
PositiveDuration = Annotated[
    float, BeforeValidator(_positive_duration), WithJsonSchema(DURATION_SCHEMA)
]
NeverOrDuration = Annotated[
    float,
    BeforeValidator(_never_or_duration),
    WithJsonSchema({"anyOf": [{"const": "never"}, DURATION_SCHEMA]}),
]
Limit = Annotated[int, BeforeValidator(_limit), WithJsonSchema({"type": "integer", "minimum": 1})]
Share = Annotated[
    float,
    BeforeValidator(_share),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
]
Endpoint = Annotated[str, BeforeValidator(check_endpoint), WithJsonSchema(TEXT_SCHEMA)]
IntegrationId = Annotated[str, BeforeValidator(check_integration_id), WithJsonSchema(TEXT_SCHEMA)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class RateLimitsSection(_Section):
    """Requests per minute and workspace, as Braze documents them."""

    integrations: Limit | None = Field(
        None, description="Requests per minute to the list of integrations."
    )
    job_sync_status: Limit | None = Field(
        None, description="Requests per minute to the histories of sync runs."
    )


class RefreshSection(_Section):
    """How workspaces are refreshed."""

    min_interval: Duration | None = Field(
        None, description="Scrapes closer together share one refresh."
    )
    request_timeout: PositiveDuration | None = Field(
        None, description="Time for one API request, from the connection to the last byte."
    )
    rate_limit_share: Share | None = Field(
        None, description="Share of the documented limits that the exporter allows itself."
    )
    rate_limits: RateLimitsSection | None = Field(
        None, description="Requests per minute and workspace, as Braze documents them."
    )


class IntegrationSection(_Section):
    """An integration that is named in the configuration."""

    id: IntegrationId = Field(
        description="The ID: the last part of the integration's address in the Braze dashboard."
    )
    name: Text | None = Field(None, description="The name to show instead of Braze's.")


class StaleAfterSection(_Section):
    """When integrations are late."""

    match: Text = Field(description="A glob pattern over the integration's name or ID.")
    after: NeverOrDuration = Field(
        description="The age of the last success at which it is late, or never."
    )


NamedIntegration = Annotated[
    IntegrationSection,
    BeforeValidator(_integration),
]


class WorkspaceSection(_Section):
    """One Braze workspace."""

    name: Text = Field(description="The value of the label `workspace`; unique.")
    endpoint: Endpoint = Field(
        description="The workspace's REST endpoint, with or without https:// and trailing slash."
    )
    api_key: Text | None = Field(None, description="The REST API key itself.")
    api_key_env: Text | None = Field(
        None, description="The environment variable that holds the REST API key."
    )
    api_key_file: Text | None = Field(
        None, description="The file that holds the REST API key; read again when it changes."
    )
    integrations: Annotated[list[NamedIntegration] | None, BeforeValidator(_discovered)] = Field(
        None,
        description="`auto` (the default) discovers them; or a list of IDs, or of `id` and `name`.",
    )
    include: list[Text] | None = Field(
        None, description="Glob patterns over name or ID: only these integrations."
    )
    exclude: list[Text] | None = Field(
        None, description="Glob patterns over name or ID: not these integrations."
    )
    stale_after: list[StaleAfterSection] | None = Field(
        None, description="When integrations are late; the first match wins."
    )
    ca_file: Text | None = Field(
        None, description="Certificates to trust instead of the system's, as PEM."
    )
    refresh: RefreshSection | None = Field(
        None, description="Settings of this workspace that differ from the common ones."
    )


class File(_Section):
    """The configuration file of cdi-exporter."""

    refresh: RefreshSection | None = Field(None, description="Settings common to all workspaces.")
    workspaces: list[WorkspaceSection] = Field(
        min_length=1, description="The Braze workspaces to watch."
    )
