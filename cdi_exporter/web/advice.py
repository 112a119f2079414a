"""What went wrong with a request, in words, and what a person does about it."""

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {
    "unauthorized": (
        "Compare the key and the endpoint with those in Braze under Settings, APIs and "
        "Identifiers: a key belongs to one workspace, and to one REST endpoint. A key file that "
        "changes is read again without a restart."
    ),
    "forbidden": (
        "Create a new key in Braze with the permissions cdi.integration_list and "
        "cdi.integration_job_status (those of an existing key cannot be changed), and mind its "
        "IP allowlist. A configuration that names the integrations' IDs needs only the second."
    ),
    "rate_limited": (
        "Nothing, unless it lasts: the exporter waits until Braze allows more. If it lasts, "
        "another tool spends the limit of this workspace: lower rate_limit_share to leave it more."
    ),
    "timeout": (
        "Look whether this machine reaches the endpoint, and whether a proxy is slow. Where "
        "Braze itself needs longer, raise request_timeout."
    ),
    "connection": (
        "Check how the endpoint is spelt, and the way to it: name resolution, firewall, proxy "
        "(HTTPS_PROXY), certificates (ca_file)."
    ),
    "server_error": (
        "Nothing here: Braze, or a proxy before it, has a problem. The exporter keeps trying, "
        "and goes on by itself. If it lasts, see Braze's status page."
    ),
    "invalid_response": (
        "Something else may be answering, such as a proxy or a login page: check the endpoint. "
        "If it is Braze itself, please report it."
    ),
    "other": "Check the endpoint and the integrations' IDs in the configuration.",
}
"""What to do, by the reason of `errors.REASONS`."""

_REASONS = {
    "400": "other",
    "401": "unauthorized",
    "403": "forbidden",
    "404": "other",
    "429": "rate_limited",
    "timeout": "timeout",
    "connect_error": "connection",
    "invalid_response": "invalid_response",
}
_WORDS = {
    "200": "OK",
    "400": "ID or cursor not accepted",
    "401": "key not known",
    "403": "permission missing",
    "404": "not found",
    "429": "rate limit spent",
    "timeout": "no answer in time",
    "connect_error": "no connection",
    "invalid_response": "not the documented answer",
}


def reason(code: str) -> str:
    """The reason of `errors.REASONS` for a value of the label `code`."""
    if code[:1] == "5" and len(code) == 3:
        return "server_error"
    return _REASONS.get(code, "other")


def words(code: str) -> str:
    """What a value of the label `code` says."""
    if reason(code) == "server_error":
        return "Braze has a problem"
    return _WORDS.get(code, "unexpected answer")
