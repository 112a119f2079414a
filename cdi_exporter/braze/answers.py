"""What an answer of the API means, before its items are read. Pure."""

import json
from contextlib import suppress

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
from cdi_exporter.model import Endpoint

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
_CHECK = "check the endpoint, and the proxies and firewalls on the way to it"
_NO_JSON_PAGE = f"the answer is not JSON but a web page; {_CHECK}"
_WEB_PAGE = f"a web page came in place of Braze's answer; {_CHECK}"
_NOT_BRAZE = f"something other than Braze answered; {_CHECK}"

_UNDOCUMENTED = "no documented answer of the API; check the endpoint"

_VERDICTS = frozenset({400, 401, 403, 404, 429})
"""What Braze says of the key or the request, if it is Braze that says it."""


def document(body: bytes, content_type: str = "") -> object:
    """The JSON of a body; raises InvalidResponse."""
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    # Not within the handler: its error holds the body.
    raise InvalidResponse(_NO_JSON_PAGE if is_web_page(body, content_type) else _NO_JSON)


def is_web_page(body: bytes, content_type: str) -> bool:
    """Whether an answer is a web page, as proxies, firewalls and login pages give it."""
    return "html" in content_type.lower() or body.lstrip()[:1] == b"<"


def is_documented_error(status: int, body: bytes) -> bool:
    """Whether an answer is an error as Braze documents it: JSON with a `message`.

    Anything between the exporter and Braze can answer with any status, but not with that.
    """
    if status not in _VERDICTS and not 500 <= status <= 599:
        return False
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("message"), str)


def is_verdict(status: int, body: bytes) -> bool:
    """Whether a status is Braze's own: with a documented error, or with nothing at all.

    What else is between the exporter and Braze explains itself, as a web page or in its own words.
    """
    return not body.strip() or is_documented_error(status, body)


def raise_for_status(status: int, endpoint: Endpoint, body: bytes, content_type: str) -> None:
    """Raise what a status other than 200 means; the message says what to do about it.

    The status is Braze's verdict only with a body that Braze documents, or without one.
    """
    if status == 200:
        return
    page = is_web_page(body, content_type) and not is_documented_error(status, body)
    if 500 <= status <= 599:
        message = f"{status}: {_WEB_PAGE if page else 'Braze has a problem'}"
        raise ServerError(message, code=str(status))
    if status not in _VERDICTS:
        message = f"{status}: {_WEB_PAGE if page else _UNDOCUMENTED}"
        raise UnexpectedStatus(message, code=str(status))
    if not is_verdict(status, body):
        message = f"{status}: {_WEB_PAGE if page else _NOT_BRAZE}"
        raise InvalidResponse(message, code=str(status))
    match status:
        case 400:
            raise BadRequest(_BAD_REQUEST)
        case 401:
            raise Unauthorized(_UNAUTHORIZED)
        case 403:
            raise Forbidden(_FORBIDDEN[endpoint])
        case 404:
            raise NotFound(_NOT_FOUND)
        case _:
            raise RateLimited(_RATE_LIMITED)
