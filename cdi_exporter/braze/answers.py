"""What an answer of the API means, before its items are read. Pure."""

import json
from contextlib import suppress

from cdi_exporter import problems
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

_FORBIDDEN = {
    Endpoint.INTEGRATIONS: problems.LIST_FORBIDDEN,
    Endpoint.HISTORY: problems.HISTORY_FORBIDDEN,
}

_VERDICTS = frozenset({400, 401, 403, 404, 429})
"""What Braze says of the key or the request, if it is Braze that says it."""


def document(body: bytes, content_type: str = "") -> object:
    """The JSON of a body; raises InvalidResponse."""
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    # Not within the handler: its error holds the body.
    page = is_web_page(body, content_type)
    problem = problems.NOT_JSON_BUT_WEB_PAGE if page else problems.NOT_JSON
    raise InvalidResponse(problem.message)


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


def raise_for_status(
    status: int, endpoint: Endpoint, body: bytes, content_type: str, *, first_page: bool = False
) -> None:
    """Raise what a status other than 200 means; the message says what to do about it.

    The status is Braze's verdict only with a body that Braze documents, or without one.
    """
    if status == 200:
        return
    page = is_web_page(body, content_type) and not is_documented_error(status, body)
    if 500 <= status <= 599:
        raise ServerError(_message(status, page, problems.SERVER_ERROR), code=str(status))
    if status not in _VERDICTS:
        raise UnexpectedStatus(_message(status, page, problems.OTHER), code=str(status))
    if not is_verdict(status, body):
        raise InvalidResponse(_message(status, page, problems.NOT_BRAZE), code=str(status))
    match status:
        case 400:
            # Only a history has an ID, and only a later page has a cursor.
            bad_id = first_page and endpoint is Endpoint.HISTORY
            raise BadRequest((problems.BAD_ID if bad_id else problems.BAD_REQUEST).message)
        case 401:
            raise Unauthorized(problems.UNAUTHORIZED.message)
        case 403:
            raise Forbidden(_FORBIDDEN[endpoint].message)
        case 404:
            raise NotFound(problems.NOT_FOUND.message)
        case _:
            raise RateLimited(problems.RATE_LIMITED.message)


def _message(status: int, page: bool, problem: problems.Problem) -> str:
    """The status, and what is wrong with its answer."""
    return f"{status}: {(problems.WEB_PAGE if page else problem).message}"
