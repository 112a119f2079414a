"""The cluster of an endpoint, and the REST endpoint for a dashboard or SDK address."""

import pytest

from cdi_exporter.config.clusters import (
    CLUSTERS,
    REST_ENDPOINTS,
    cluster_of,
    dashboard_of,
    rest_endpoint_for,
)


@pytest.mark.parametrize(
    ("endpoint", "cluster", "dashboard"),
    [
        ("https://rest.iad-03.braze.com", "US-03", "dashboard-03.braze.com"),
        ("https://rest.us-10.braze.com", "US-10", "dashboard.us-10.braze.com"),
        ("https://rest.fra-02.braze.eu", "EU-02", "dashboard-02.braze.eu"),
        ("https://rest.jp-01.braze.com:443", "JP-01", "dashboard.jp-01.braze.com"),
        ("https://rest.iad-99.braze.com", None, None),
        ("https://127.0.0.1:8080", None, None),
        ("https://[::1]", None, None),
    ],
)
def test_the_cluster_of_an_endpoint_is_known(
    endpoint: str, cluster: str | None, dashboard: str | None
) -> None:
    """Only the host decides; an unknown host has no cluster."""
    assert cluster_of(endpoint) == cluster
    assert dashboard_of(endpoint) == dashboard


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("https://dashboard-03.braze.com", "rest.iad-03.braze.com"),
        ("https://dashboard.braze.com", "rest.iad-01.braze.com"),
        ("https://dashboard-01.braze.eu", "rest.fra-01.braze.eu"),
        ("https://dashboard.us-10.braze.com", "rest.us-10.braze.com"),
        ("https://sdk.iad-05.braze.com", "rest.iad-05.braze.com"),
        ("https://sdk.fra-02.braze.eu", "rest.fra-02.braze.eu"),
        ("https://rest.iad-03.braze.com", None),
        ("https://www.braze.com", None),
        ("https://dashboard-03.braze.com.example", None),
    ],
)
def test_dashboard_and_sdk_addresses_are_answered_with_the_rest_endpoint(
    written: str, right: str | None
) -> None:
    """Dashboard and SDK addresses have a REST endpoint; other addresses have none."""
    assert rest_endpoint_for(written) == right


def test_each_endpoint_has_its_dashboard_and_back() -> None:
    """This holds for every cluster; the text of all endpoints names each of them."""
    for host in CLUSTERS:
        assert rest_endpoint_for(f"https://{dashboard_of(f'https://{host}')}") == host
        parts = host.split(".")
        assert parts[1].split("-")[0] in REST_ENDPOINTS
