"""The address of the shared database, as the user gives it: checked without connecting."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

SECRETS = frozenset(("oauth_client_secret", "password", "scram_client_key", "sslpassword"))
"""libpq's parameters that hold a secret."""

EXPECTED = "expected postgresql://[user@]host[:port][,…]/database[?parameter=value&…]"

_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#@]*)"
    r"(?:/(?P<name>[^?#@]*))?(?:\?(?P<query>[^#@]*))?"
)
_HOST = re.compile(r"(?:\[[\w.:%]*\]|[^:\[\]]*)(?::\d*)?")
_REVEALED = (
    "contains a password, which the process list would show;"
    " it belongs in PGPASSFILE, PGPASSWORD or a service file"
)


class _Parts(NamedTuple):
    user: str
    hosts: str
    name: str
    parameters: dict[str, str]


def database_url(url: str) -> str:
    """The URL itself; raises ValueError if it cannot be used, without showing a part of the URL.

    A password whose special characters are not percent-encoded would end up in another part of
    the URL. Therefore each part is checked strictly.
    """
    parts = _parts(url)
    if ":" in parts.user or SECRETS & parts.parameters.keys():
        raise ValueError(_REVEALED)
    if not all(map(_HOST.fullmatch, parts.hosts.split(","))):
        message = f"has a host or port that is not valid; {EXPECTED}"
        raise ValueError(message)
    return url


def place(url: str) -> str:
    """The database and its hosts, for messages; `url` was checked."""
    _, hosts, name, parameters = _parts(url)
    host = parameters.get("host") or parameters.get("hostaddr") or hosts
    service = parameters.get("service")
    where = f"at {host}" if host else f"of the service {service}" if service else ""
    return f"{name or parameters.get('dbname', '')} {where}".strip() or "at libpq's default address"


def _parts(url: str) -> _Parts:
    """The decoded parts; raises ValueError if they are not the parts of such a URL."""
    if not url.startswith(("postgresql://", "postgres://")):
        message = f"does not start with postgresql://; {EXPECTED}"
        raise ValueError(message)
    found = _URL.fullmatch(url)
    if found is None or " " in url or not url.isprintable():
        message = f"has characters that must be percent-encoded, or a wrong order; {EXPECTED}"
        raise ValueError(message)
    user, hosts, name, query = (each or "" for each in found.groups())
    try:
        parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError as error:
        message = f"has a parameter without a value; {EXPECTED}"
        raise ValueError(message) from error
    return _Parts(user, unquote(hosts), unquote(name), parameters)
