"""Braze's clusters with their REST endpoints and dashboards.

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
"""Cluster names by the host of their REST endpoint. Braze adds new clusters from time to time."""

REST_ENDPOINTS = (
    "rest.iad-01 to rest.iad-08.braze.com (US-01 to US-08), rest.us-10.braze.com, "
    "rest.fra-01 and rest.fra-02.braze.eu (EU), and rest.au-01, rest.id-01, rest.jp-01, "
    "rest.kr-01.braze.com"
)
"""The REST endpoints, for error messages."""

_NUMBERED = re.compile(r"dashboard(?:-(\d\d))?\.braze\.(com|eu)")
_NAMED = re.compile(r"(?:dashboard|sdk)\.([a-z]{2,3}-\d\d)\.braze\.(com|eu)")


def cluster_of(endpoint: str) -> str | None:
    """The name of an endpoint's cluster, such as `US-03`; None if it is unknown."""
    return CLUSTERS.get(_host(endpoint))


def rest_endpoint_for(endpoint: str) -> str | None:
    """The REST endpoint of the cluster of a dashboard or SDK address; None for other addresses."""
    host = _host(endpoint)
    if numbered := _NUMBERED.fullmatch(host):
        region = "iad" if numbered[2] == "com" else "fra"
        return f"rest.{region}-{numbered[1] or '01'}.braze.{numbered[2]}"
    if named := _NAMED.fullmatch(host):
        return f"rest.{named[1]}.braze.{named[2]}"
    return None


def dashboard_of(endpoint: str) -> str | None:
    """The host of the dashboard of an endpoint's cluster; None if the cluster is unknown."""
    if cluster_of(endpoint) is None:
        return None
    _, place, *domain = _host(endpoint).split(".")
    region, number = place.split("-")
    prefix = f"dashboard-{number}" if region in ("iad", "fra") else f"dashboard.{place}"
    return ".".join([prefix, *domain])


def _host(endpoint: str) -> str:
    return (urlsplit(endpoint).hostname or "").lower()
