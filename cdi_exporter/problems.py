"""Table of all kinds of failed requests: their labels, texts and advice.

The errors of the API client, the status page and `check` use these texts. A test compares them
with the alert rules and the runbooks.
"""

from dataclasses import dataclass, replace

LIST_PERMISSION = "cdi.integration_list"
HISTORY_PERMISSION = "cdi.integration_job_status"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of failure.

    `check_text` and `check_advice` are templates with these fields: `{error}` is the error's
    message, `{detail}` its cause, `{status}` the HTTP status, `{host}` and `{name}` the endpoint.
    `{proxy}`, `{endpoints}` and `{dashboard}` are sentences about these.
    """

    kind: str
    """The code in the JSON of `check`."""
    reason: str
    """The value of the label `reason`."""
    summary: str
    """A few words, for a table of requests."""
    alert: str
    """Why a workspace cannot be read, for the descriptions of alerts."""
    advice: str
    """What to do, for the status page."""
    message: str = ""
    """The text of the client's error; empty if each failure has its own."""
    check_text: str = "{error}"
    check_advice: str = ""
    """Empty if `check` gives the same advice as the status page."""


_CHECK_THE_WAY = "check the endpoint, and the proxies and firewalls between here and Braze"
_NEW_KEY = (
    "The permissions of a key cannot be changed: create a new key in Braze under Settings, APIs "
    "and Identifiers"
)
_ALLOWLIST = (
    "If the key has an IP allowlist, check that it includes this machine; or the plan may not "
    "include Cloud Data Ingestion."
)

# The key

UNAUTHORIZED = Problem(
    kind="unauthorized",
    reason="unauthorized",
    summary="unknown API key",
    alert="Braze does not accept the key (401)",
    advice="Compare the key and the endpoint with those in Braze under Settings, APIs and "
    "Identifiers: a key belongs to one workspace, and to one REST endpoint. If the key is in a "
    "file, a new key in it is used without a restart.",
    message="401: Braze does not know this API key; check the key, and check that the endpoint is "
    "the one of the key's workspace",
    check_text="401: Braze does not know this API key at {host}",
    check_advice="Compare the key with those in Braze under Settings, APIs and Identifiers; it may "
    "have been deleted. Each cluster knows only its own keys{dashboard}. The same page shows the "
    "endpoint of your workspace.",
)
FORBIDDEN = Problem(
    kind="forbidden",
    reason="forbidden",
    summary="missing permission",
    alert="The key lacks a permission (403)",
    advice=f"Create a new key in Braze with the permissions {LIST_PERMISSION} and "
    f"{HISTORY_PERMISSION} (those of an existing key cannot be changed), and check its "
    "IP allowlist. A configuration that lists the integration IDs needs only the second.",
    check_text=f"403: the key lacks {LIST_PERMISSION} and {HISTORY_PERMISSION}",
    check_advice=f"{_NEW_KEY} with both. {_ALLOWLIST}",
)
LIST_FORBIDDEN = replace(
    FORBIDDEN,
    kind="list_forbidden",
    message=f"403: the API key lacks the permission {LIST_PERMISSION}; create a key with it in "
    "Braze, or list the integration IDs in the configuration",
    check_text=f"403: the key lacks the permission {LIST_PERMISSION}",
    check_advice=f"{_NEW_KEY} with {LIST_PERMISSION} and {HISTORY_PERMISSION}; or list the "
    "integration IDs in the configuration, which then needs only the second.",
)
LIST_NOT_NEEDED = replace(
    LIST_FORBIDDEN,
    check_text=f"the key lacks {LIST_PERMISSION}, which a configuration with IDs does not need",
    check_advice="With this permission a refresh takes one request per ten integrations, instead "
    "of one per integration.",
)
"""The same, for a configuration that lists the integration IDs."""
HISTORY_FORBIDDEN = replace(
    FORBIDDEN,
    kind="history_forbidden",
    message=f"403: the API key lacks the permission {HISTORY_PERMISSION}; create a key with it in "
    "Braze",
    check_text=f"403: the key lacks the permission {HISTORY_PERMISSION}",
    check_advice=f"{_NEW_KEY} with {HISTORY_PERMISSION}. {_ALLOWLIST}",
)

# The limit and the connection to Braze

RATE_LIMITED = Problem(
    kind="rate_limited",
    reason="rate_limited",
    summary="rate limit spent",
    alert="The workspace's API rate limit is used up (429)",
    advice="Nothing, unless it lasts: the exporter waits until Braze allows more requests. If it "
    "lasts, another tool spends this workspace's limit: lower rate_limit_share to leave it more.",
    message="429: the rate limit of this endpoint is spent",
)
TIMEOUT = Problem(
    kind="timeout",
    reason="timeout",
    summary="request timed out",
    alert="Braze does not answer in time",
    advice="Check that this machine can reach the endpoint and that no proxy is slow. If Braze "
    "itself needs longer, raise request_timeout.",
    check_text="{host}: {error}",
    check_advice="{advice}{proxy}",
)
CONNECTION = Problem(
    kind="connection",
    reason="connection",
    summary="no connection",
    alert="The exporter cannot connect to Braze",
    advice="Check the spelling of the endpoint and the connection to it: name resolution, "
    "firewall, proxy (HTTPS_PROXY), certificates (ca_file).",
    check_text="no connection to {host}: {detail}",
    check_advice="{advice}{proxy}",
)
NAME_RESOLUTION = replace(
    CONNECTION,
    kind="name_resolution",
    check_text="cannot resolve the host name {name}: {detail}",
    check_advice="Check the spelling of the endpoint. {endpoints}{proxy}",
)
UNTRUSTED = replace(
    CONNECTION,
    kind="certificate",
    check_text="the certificate of {host} is not trusted: {detail}",
    check_advice="If a proxy in your network intercepts TLS, set ca_file to its CA certificates. "
    "Otherwise check the endpoint: another server may be answering.{proxy}",
)
UNTRUSTED_BY_CA_FILE = replace(
    UNTRUSTED,
    check_advice="No certificate in ca_file leads to it: add the certificate of the CA that issued "
    "it. Otherwise check the endpoint: another server may be answering.{proxy}",
)
TLS = replace(
    CONNECTION,
    kind="tls",
    check_text="no TLS connection to {host}: {detail}",
    check_advice="The server that answers may not speak TLS, or only another version of it: "
    "check the endpoint and its port.{proxy}",
)

# The answer

SERVER_ERROR = Problem(
    kind="server_error",
    reason="server_error",
    summary="Braze has a problem",
    alert="Braze answers with a server error (5xx)",
    advice="Nothing: Braze, or a proxy in front of it, has a problem. The exporter keeps trying "
    "and recovers by itself. If it lasts, see Braze's status page.",
    message="Braze has a problem",
)
INVALID_RESPONSE = Problem(
    kind="invalid_response",
    reason="invalid_response",
    summary="undocumented answer",
    alert="The answer is not that of the documented API: a proxy may have sent it",
    advice="Something other than Braze may be answering, such as a proxy or a login page: check "
    "the endpoint. If it is Braze itself, please report it.",
)
NOT_JSON = replace(INVALID_RESPONSE, message="the answer is not JSON")
NOT_JSON_BUT_WEB_PAGE = replace(
    INVALID_RESPONSE, message=f"the answer is a web page instead of JSON; {_CHECK_THE_WAY}"
)
NOT_BRAZE = replace(
    INVALID_RESPONSE, message=f"something other than Braze answered; {_CHECK_THE_WAY}"
)
WEB_PAGE = replace(
    INVALID_RESPONSE,
    kind="web_page",
    message=f"a web page came instead of Braze's answer; {_CHECK_THE_WAY}",
    check_text="{status}a web page came from {host} instead of Braze's answer",
    check_advice="A proxy, a firewall or a login page answers, so nothing is known about the key. "
    "Check the endpoint and the connection to it.{proxy}",
)
OTHER = Problem(
    kind="other",
    reason="other",
    summary="unexpected answer",
    alert="The exporter's log has the reason",
    advice="Check the endpoint and the integration IDs in the configuration.",
    message="undocumented answer; check the endpoint",
)
BAD_REQUEST = replace(
    OTHER,
    summary="ID or cursor not accepted",
    message="400: Braze does not accept the integration ID or the cursor",
)
BAD_ID = replace(
    BAD_REQUEST,
    summary="ID not accepted",
    message="400: Braze does not accept the integration ID",
)
"""The same for the first page of a history, which has no cursor."""
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
"""One kind for each value of the label `reason`, in the order in which the values are shown."""

REASONS = tuple(BY_REASON)

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
    """The kind of failure for a value of the label `code` other than 200."""
    if code[:1] == "5" and len(code) == 3:
        return SERVER_ERROR
    return _CODES.get(code, OTHER)
