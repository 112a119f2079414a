"""The exceptions of the exporter.

No exception contains a response body or a key, because it may be logged.
"""

from collections.abc import Sequence
from typing import ClassVar


class ExporterError(Exception):
    """Base class of all errors that the exporter raises deliberately."""


class ConfigError(ExporterError):
    """The configuration is wrong: exit status 2. `mistakes` has one line for each error."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class StartError(ExporterError):
    """A command cannot start or finish although its configuration is valid: exit status 1."""


class ApiError(ExporterError):
    """A request to Braze failed.

    `reason` is the value of the label `reason` of `braze_cdi_refresh_error`, and `code` that of
    the label `code` of `braze_cdi_api_requests_total`.
    """

    reason: ClassVar[str] = "other"
    code: str = "other"
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed if it is sent again."""
    web_page: bool = False
    """Whether the response is a web page, which must be from a proxy, firewall or login page."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class Unauthorized(ApiError):
    """401: Braze does not know the key."""

    code = "401"
    reason = "unauthorized"


class Forbidden(ApiError):
    """403: the key lacks a permission, or the plan does not include the feature."""

    code = "403"
    reason = "forbidden"


class BadRequest(ApiError):
    """400: Braze does not accept the cursor or the integration ID."""

    code = "400"


class NotFound(ApiError):
    """404: no such integration, or not a Braze REST endpoint."""

    code = "404"


class RateLimited(ApiError):
    """429: the rate limit of the endpoint is spent."""

    code = "429"
    reason = "rate_limited"


class ServerError(ApiError):
    """5xx: Braze, or a proxy in front of it, has a problem."""

    reason = "server_error"
    retryable = True


class RequestTimeout(ApiError):
    """The response was not complete within the timeout."""

    code = "timeout"
    reason = "timeout"
    retryable = True


class ConnectionFailed(ApiError):
    """The connection failed: refused, reset, closed early, or an error of DNS or TLS."""

    code = "connect_error"
    reason = "connection"
    retryable = True


class InvalidResponse(ApiError):
    """The response is not as documented, is too large, or is not from Braze."""

    code = "invalid_response"
    reason = "invalid_response"


class UnexpectedStatus(ApiError):
    """Any other status, including redirects, which are not followed."""
