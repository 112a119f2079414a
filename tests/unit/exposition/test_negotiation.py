"""The exposition format that a client receives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.exposition import Format, negotiate

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_42_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        (BROWSER, False),
        ("application/json", False),
        ("text/plain", False),
        ("text/plain;version=0.0.4", False),
        (PROMETHEUS_2_42, True),
        (PROMETHEUS_2_42_NATIVE_HISTOGRAMS, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text;version=0.0.1", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.2", False),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.5", True),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=", False),
        (";;;,=,q=;q", False),
    ],
)
def test_openmetrics_is_chosen_if_preferred(accept: str | None, openmetrics: bool) -> None:
    """OpenMetrics is used if the client prefers it at least as much as text."""
    assert negotiate(accept, None).openmetrics is openmetrics


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        (None, False),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("identity;q=0, *", True),
        ("gzip;q=x", False),
    ],
)
def test_gzip_is_used_if_accepted(accept_encoding: str | None, gzip: bool) -> None:
    """Gzip is used if its quality is above 0 and at least that of identity."""
    assert negotiate(None, accept_encoding).gzip is gzip


@given(st.text(), st.text(st.sampled_from("gzip*;,q=0.1 ")))
def test_any_header_leads_to_a_format(one: str, other: str) -> None:
    assert isinstance(negotiate(one, other), Format)
    assert isinstance(negotiate(other, one), Format)


def test_content_types_name_their_versions() -> None:
    """The content types are those that Prometheus expects."""
    assert Format().content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert (
        Format(openmetrics=True).content_type
        == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
