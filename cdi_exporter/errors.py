"""Everything that can go wrong, as one tree.

No error holds a response body or a key: both could end in a log.
"""

from collections.abc import Sequence
from typing import ClassVar


class ExporterError(Exception):
    """Anything that this program raises on purpose."""


class ConfigError(ExporterError):
    """What the user wrote is wrong: exit status 2; `mistakes` has one line for each error."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class StartError(ExporterError):
    """The exporter cannot start although its configuration is right: exit status 1."""


class ApiError(ExporterError):
    """A request to Braze did not give data.

    `reason` is a value of the label `reason` of `braze_cdi_refresh_error`, `code` one of
    the label `code` of `braze_cdi_api_requests_total`.
    """

    reason: ClassVar[str] = "other"
    code: str = "other"
    retryable: ClassVar[bool] = False
    """Whether asking the same again within the same pass may help."""
    web_page: bool = False
    """Whether a web page was answered, as Braze does not: by a proxy, a firewall, a login page."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code


class Unauthorized(ApiError):
    """401: the key is missing or unknown."""

    code = "401"
    reason = "unauthorized"


class Forbidden(ApiError):
    """403: the key lacks the permission, or the plan the feature."""

    code = "403"
    reason = "forbidden"


class BadRequest(ApiError):
    """400: Braze does not accept the cursor or the integration ID."""

    code = "400"


class NotFound(ApiError):
    """404: no such integration, or not a Braze REST endpoint."""

    code = "404"


class RateLimited(ApiError):
    """429: the budget of the endpoint is spent."""

    code = "429"
    reason = "rate_limited"


class ServerError(ApiError):
    """5xx."""

    reason = "server_error"
    retryable = True


class RequestTimeout(ApiError):
    """The whole answer did not arrive in time."""

    code = "timeout"
    reason = "timeout"
    retryable = True


class ConnectionFailed(ApiError):
    """No connection, or one that broke: refused, reset, TLS, cut short."""

    code = "connect_error"
    reason = "connection"
    retryable = True


class InvalidResponse(ApiError):
    """A 200 that is not the documented answer, or one that is too large."""

    code = "invalid_response"
    reason = "invalid_response"


class UnexpectedStatus(ApiError):
    """Any other status; a redirect is one, since none is followed."""
