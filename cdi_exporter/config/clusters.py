"""Braze's clusters: the cluster of an endpoint, and the right endpoint for a wrong one.

Source: Braze's reference page "API overview", section "Endpoints".
"""

import re
from urllib.parse import urlsplit

CLUSTERS = {
    **{f"rest.iad-0{number}.braze.com": f"US-0{number}" for number in range(1, 9)},
    "rest.us-10.braze.com": "US-10",
    "rest.fra-01.braze.eu": "EU-01",
    "rest.fra-02.braze.eu": "EU-02",
    "rest.au-01.braze.com": "AU-01",
    "rest.id-01.braze.com": "ID-01",
    "rest.jp-01.braze.com": "JP-01",
    "rest.kr-01.braze.com": "KR-01",
}
"""The clusters by the host of their REST endpoint. Braze adds new ones, so others are right too."""

KNOWN = (
    "rest.iad-01 to rest.iad-08.braze.com (US-01 to US-08), rest.us-10.braze.com, "
    "rest.fra-01 and rest.fra-02.braze.eu (EU), and rest.au-01, rest.id-01, rest.jp-01, "
    "rest.kr-01.braze.com"
)
"""The endpoints in a few words."""

_NUMBERED = re.compile(r"dashboard(?:-(\d\d))?\.braze\.(com|eu)")
_NAMED = re.compile(r"(?:dashboard|sdk)\.([a-z]{2,3}-\d\d)\.braze\.(com|eu)")


def cluster_of(endpoint: str) -> str | None:
    """The name of an endpoint's cluster, such as `US-03`; None for one that is not known."""
    return CLUSTERS.get(_host(endpoint))


def meant(endpoint: str) -> str | None:
    """The REST endpoint of a cluster whose dashboard or SDK address is configured instead."""
    host = _host(endpoint)
    if numbered := _NUMBERED.fullmatch(host):
        region = "iad" if numbered[2] == "com" else "fra"
        return f"rest.{region}-{numbered[1] or '01'}.braze.{numbered[2]}"
    if named := _NAMED.fullmatch(host):
        return f"rest.{named[1]}.braze.{named[2]}"
    return None


def dashboard_of(endpoint: str) -> str | None:
    """The address of the dashboard of an endpoint's cluster; None for one that is not known."""
    if cluster_of(endpoint) is None:
        return None
    _, place, *domain = _host(endpoint).split(".")
    region, number = place.split("-")
    named = region not in ("iad", "fra")
    return ".".join([f"dashboard.{place}" if named else f"dashboard-{number}", *domain])


def _host(endpoint: str) -> str:
    return (urlsplit(endpoint).hostname or "").lower()
