"""What an answer of the API means, before its items are read. Pure."""

import json
from contextlib import suppress
from enum import StrEnum

from cdi_exporter.errors import (
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedStatus,
)


class Endpoint(StrEnum):
    """The endpoints by their label value."""

    INTEGRATIONS = "integrations"
    HISTORY = "job_sync_status"


_BAD_REQUEST = "400: Braze does not accept the integration ID or the cursor"
_UNAUTHORIZED = (
    "401: Braze does not know this API key; check the key, and that the endpoint is the one of "
    "the key's workspace"
)
_FORBIDDEN = {
    Endpoint.INTEGRATIONS: (
        "403: the API key lacks the permission cdi.integration_list; create a key with it in "
        "Braze, or list the integrations' IDs in the configuration"
    ),
    Endpoint.HISTORY: (
        "403: the API key lacks the permission cdi.integration_job_status; create a key with "
        "it in Braze"
    ),
}
_NOT_FOUND = "404: not found; check the integration ID and the endpoint"
_RATE_LIMITED = "429: the rate limit of this endpoint is spent"
_NO_JSON = "the answer is not JSON"


def document(body: bytes) -> object:
    """The JSON of a body; raises InvalidResponse."""
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    raise InvalidResponse(_NO_JSON)  # not within the handler: its error holds the body


def raise_for_status(status: int, endpoint: Endpoint) -> None:
    """Raise what a status other than 200 means; the message says what to do about it."""
    match status:
        case 200:
            return
        case 400:
            raise BadRequest(_BAD_REQUEST)
        case 401:
            raise Unauthorized(_UNAUTHORIZED)
        case 403:
            raise Forbidden(_FORBIDDEN[endpoint])
        case 404:
            raise NotFound(_NOT_FOUND)
        case 429:
            raise RateLimited(_RATE_LIMITED)
    if 500 <= status <= 599:
        message = f"{status}: Braze has a problem"
        raise ServerError(message, code=str(status))
    message = f"{status}: no documented answer of the API; check the endpoint"
    raise UnexpectedStatus(message, code=str(status))
