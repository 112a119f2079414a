"""Decides whether a response is from Braze, and turns its status and its JSON into errors."""

import json
from contextlib import suppress

from cdi_exporter import problems
from cdi_exporter.errors import (
    ApiError,
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

_REJECTIONS: dict[int, tuple[type[ApiError], problems.Problem]] = {
    400: (BadRequest, problems.BAD_REQUEST),
    401: (Unauthorized, problems.UNAUTHORIZED),
    403: (Forbidden, problems.HISTORY_FORBIDDEN),
    404: (NotFound, problems.NOT_FOUND),
    429: (RateLimited, problems.RATE_LIMITED),
}
"""The error and its text for each status with which Braze rejects the key or the request."""


def document(body: bytes, content_type: str = "") -> object:
    """Parse a JSON body. Raises InvalidResponse."""
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    # Not raised in an exception handler: the original error contains the body.
    page = is_web_page(body, content_type)
    problem = problems.NOT_JSON_BUT_WEB_PAGE if page else problems.NOT_JSON
    raise InvalidResponse(problem.message)


def is_web_page(body: bytes, content_type: str) -> bool:
    """Whether a response is a web page, such as those of proxies, firewalls and login pages."""
    return "html" in content_type.lower() or body.lstrip()[:1] == b"<"


def is_documented_error(status: int, body: bytes) -> bool:
    """Whether a response is an error as Braze documents it: JSON with a `message`.

    A proxy can respond with the same status, but not with such a body.
    """
    if status not in _REJECTIONS and not 500 <= status <= 599:
        return False
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("message"), str)


def is_verdict(status: int, body: bytes) -> bool:
    """Whether a response is from Braze: its body is a documented error, or empty.

    A proxy would send a web page or another text.
    """
    return not body.strip() or is_documented_error(status, body)


def raise_for_status(
    status: int, endpoint: Endpoint, body: bytes, content_type: str, *, first_page: bool = False
) -> None:
    """Raise the ApiError for a status other than 200.

    A status that rejects the key or the request is InvalidResponse if a proxy may have sent it.
    """
    if status == 200:
        return
    page = is_web_page(body, content_type) and not is_documented_error(status, body)
    if 500 <= status <= 599:
        raise ServerError(_message(status, page, problems.SERVER_ERROR), code=str(status))
    if status not in _REJECTIONS:
        raise UnexpectedStatus(_message(status, page, problems.OTHER), code=str(status))
    if not is_verdict(status, body):
        raise InvalidResponse(_message(status, page, problems.NOT_BRAZE), code=str(status))
    error, problem = _REJECTIONS[status]
    if status == 403 and endpoint is Endpoint.INTEGRATIONS:
        problem = problems.LIST_FORBIDDEN
    elif status == 400 and endpoint is Endpoint.HISTORY and first_page:
        # Without a cursor, only the ID can be wrong.
        problem = problems.BAD_ID
    raise error(problem.message)


def _message(status: int, page: bool, problem: problems.Problem) -> str:
    return f"{status}: {(problems.WEB_PAGE if page else problem).message}"
