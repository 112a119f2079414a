"""What each kind of failed request means: its label, its wording, and what to do about it.

This table is the only place that says what, for example, a 401 or a 403 means. The API client's
errors, the status page and `check` take their texts from it; a test compares it with the alert
rules and the runbooks. Pure.
"""

from dataclasses import dataclass, replace

LIST_PERMISSION = "cdi.integration_list"
HISTORY_PERMISSION = "cdi.integration_job_status"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of failure.

    `check_text` and `check_advice` are templates, because `check` knows more than the client:
    `{error}` is the error's message, `{detail}` its cause, `{status}` the HTTP status, `{host}`
    and `{name}` the endpoint, `{proxy}`, `{endpoints}` and `{dashboard}` sentences about these.
    """

    kind: str
    """The code in the JSON of `check`."""
    reason: str
    """The value of the label `reason`."""
    summary: str
    """A few words, for a table of requests."""
    alert: str
    """Why a workspace cannot be read, as the descriptions of the alerts say it."""
    advice: str
    """What to do, for people who see the status page."""
    message: str = ""
    """The text of the client's error; empty if each failure has its own."""
    check_text: str = "{error}"
    check_advice: str = ""
    """Empty if `check` gives the same advice as the status page."""


_CHECK_THE_WAY = "check the endpoint, and the proxies and firewalls on the way to it"
_NEW_KEY = (
    "The permissions of a key cannot be changed: create a new one in Braze under Settings, APIs "
    "and Identifiers"
)
_ALLOWLIST = (
    "Where the key has an IP allowlist, that may leave this machine out; or the plan may lack "
    "Cloud Data Ingestion."
)

# The key

UNAUTHORIZED = Problem(
    kind="unauthorized",
    reason="unauthorized",
    summary="key not known",
    alert="Braze does not accept the key (401)",
    advice="Compare the key and the endpoint with those in Braze under Settings, APIs and "
    "Identifiers: a key belongs to one workspace, and to one REST endpoint. A key file that "
    "changes is read again without a restart.",
    message="401: Braze does not know this API key; check the key, and that the endpoint is the "
    "one of the key's workspace",
    check_text="401: Braze does not know this API key at {host}",
    check_advice="Compare the key with those in Braze under Settings, APIs and Identifiers: a "
    "deleted one is unknown too. Each cluster knows its own keys alone{dashboard}. The same page "
    "names the endpoint of your workspace.",
)
FORBIDDEN = Problem(
    kind="forbidden",
    reason="forbidden",
    summary="permission missing",
    alert="The key lacks a permission (403)",
    advice=f"Create a new key in Braze with the permissions {LIST_PERMISSION} and "
    f"{HISTORY_PERMISSION} (those of an existing key cannot be changed), and mind its "
    "IP allowlist. A configuration that names the integrations' IDs needs only the second.",
    check_text=f"403: the key lacks {LIST_PERMISSION} and {HISTORY_PERMISSION}",
    check_advice=f"{_NEW_KEY} with both. {_ALLOWLIST}",
)
LIST_FORBIDDEN = replace(
    FORBIDDEN,
    kind="list_forbidden",
    message=f"403: the API key lacks the permission {LIST_PERMISSION}; create a key with it in "
    "Braze, or list the integrations' IDs in the configuration",
    check_text=f"403: the key lacks the permission {LIST_PERMISSION}",
    check_advice=f"{_NEW_KEY} with {LIST_PERMISSION} and {HISTORY_PERMISSION}; or name the "
    "integrations' IDs in the configuration, which then needs the second alone.",
)
LIST_NOT_NEEDED = replace(
    LIST_FORBIDDEN,
    check_text=f"the key lacks {LIST_PERMISSION}, which a configuration with IDs does not need",
    check_advice="With it a refresh costs one request for ten integrations, instead of one for "
    "each.",
)
"""The same, if the configuration names the integrations."""
HISTORY_FORBIDDEN = replace(
    FORBIDDEN,
    kind="history_forbidden",
    message=f"403: the API key lacks the permission {HISTORY_PERMISSION}; create a key with it in "
    "Braze",
    check_text=f"403: the key lacks the permission {HISTORY_PERMISSION}",
    check_advice=f"{_NEW_KEY} with {HISTORY_PERMISSION}. {_ALLOWLIST}",
)

# The limit and the way to Braze

RATE_LIMITED = Problem(
    kind="rate_limited",
    reason="rate_limited",
    summary="rate limit spent",
    alert="The workspace's API rate limit is used up (429)",
    advice="Nothing, unless it lasts: the exporter waits until Braze allows more. If it lasts, "
    "another tool spends the limit of this workspace: lower rate_limit_share to leave it more.",
    message="429: the rate limit of this endpoint is spent",
)
TIMEOUT = Problem(
    kind="timeout",
    reason="timeout",
    summary="no answer in time",
    alert="Braze does not answer in time",
    advice="Look whether this machine reaches the endpoint, and whether a proxy is slow. Where "
    "Braze itself needs longer, raise request_timeout.",
    check_text="{host}: {error}",
    check_advice="{advice}{proxy}",
)
CONNECTION = Problem(
    kind="connection",
    reason="connection",
    summary="no connection",
    alert="The exporter cannot connect to Braze",
    advice="Check how the endpoint is spelt, and the way to it: name resolution, firewall, proxy "
    "(HTTPS_PROXY), certificates (ca_file).",
    check_text="no connection to {host}: {detail}",
    check_advice="{advice}{proxy}",
)
NAME_RESOLUTION = replace(
    CONNECTION,
    kind="name_resolution",
    check_text="the name {name} is not found: {detail}",
    check_advice="Check how the endpoint is spelt. {endpoints}{proxy}",
)
UNTRUSTED = replace(
    CONNECTION,
    kind="certificate",
    check_text="the certificate of {host} is not trusted: {detail}",
    check_advice="Where a proxy of your network opens TLS, name its certificates in ca_file. Else "
    "check the endpoint: it may be somebody else's.{proxy}",
)
UNTRUSTED_BY_CA_FILE = replace(
    UNTRUSTED,
    check_advice="Nothing in ca_file leads to it: add the certificate of the CA that issued it. "
    "Else check the endpoint: it may be somebody else's.{proxy}",
)
TLS = replace(
    CONNECTION,
    kind="tls",
    check_text="no TLS connection to {host}: {detail}",
    check_advice="Something that speaks no TLS, or another version of it, may be answering: "
    "check the endpoint and its port.{proxy}",
)

# The answer

SERVER_ERROR = Problem(
    kind="server_error",
    reason="server_error",
    summary="Braze has a problem",
    alert="Braze answers with a server error (5xx)",
    advice="Nothing here: Braze, or a proxy before it, has a problem. The exporter keeps trying, "
    "and goes on by itself. If it lasts, see Braze's status page.",
    message="Braze has a problem",
)
INVALID_RESPONSE = Problem(
    kind="invalid_response",
    reason="invalid_response",
    summary="not the documented answer",
    alert="The answer is not that of the documented API: a proxy may have sent it",
    advice="Something else may be answering, such as a proxy or a login page: check the endpoint. "
    "If it is Braze itself, please report it.",
)
NOT_JSON = replace(INVALID_RESPONSE, message="the answer is not JSON")
NOT_JSON_BUT_WEB_PAGE = replace(
    INVALID_RESPONSE, message=f"the answer is not JSON but a web page; {_CHECK_THE_WAY}"
)
NOT_BRAZE = replace(
    INVALID_RESPONSE, message=f"something other than Braze answered; {_CHECK_THE_WAY}"
)
WEB_PAGE = replace(
    INVALID_RESPONSE,
    kind="web_page",
    message=f"a web page came in place of Braze's answer; {_CHECK_THE_WAY}",
    check_text="{status}a web page came from {host} in place of Braze's answer",
    check_advice="A proxy, a firewall or a login page answers, so that nothing is known of the "
    "key. Check the endpoint and the way to it.{proxy}",
)
OTHER = Problem(
    kind="other",
    reason="other",
    summary="unexpected answer",
    alert="The exporter's log has the reason",
    advice="Check the endpoint and the integrations' IDs in the configuration.",
    message="no documented answer of the API; check the endpoint",
)
BAD_REQUEST = replace(
    OTHER,
    summary="ID or cursor not accepted",
    message="400: Braze does not accept the integration ID or the cursor",
)
NOT_FOUND = replace(
    OTHER,
    kind="not_found",
    summary="not found",
    message="404: not found; check the integration ID and the endpoint",
    check_text="404: {host} has no such API",
    check_advice="{endpoints}",
)

BY_REASON = {
    each.reason: each
    for each in (
        UNAUTHORIZED,
        FORBIDDEN,
        RATE_LIMITED,
        TIMEOUT,
        CONNECTION,
        SERVER_ERROR,
        INVALID_RESPONSE,
        OTHER,
    )
}
"""The kinds by the values of the label `reason`, in the order of `errors.REASONS`."""

_CODES = {
    "400": BAD_REQUEST,
    "401": UNAUTHORIZED,
    "403": FORBIDDEN,
    "404": NOT_FOUND,
    "429": RATE_LIMITED,
    "timeout": TIMEOUT,
    "connect_error": CONNECTION,
    "invalid_response": INVALID_RESPONSE,
}


def problem_of(code: str) -> Problem:
    """What a value of the label `code` other than 200 means."""
    if code[:1] == "5" and len(code) == 3:
        return SERVER_ERROR
    return _CODES.get(code, OTHER)
