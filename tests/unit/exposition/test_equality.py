"""The exporter's own writer against prometheus_client, on generated snapshots."""

import gzip
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.samples import Sample

from cdi_exporter.exposition import Exposition, Format, write_families
from cdi_exporter.exposition.samples import go_float, printable
from cdi_exporter.exposition.writer import number
from cdi_exporter.model import FINISHED_STATUSES, Counters, Run
from cdi_exporter.problems import REASONS
from cdi_exporter.snapshot import (
    EndpointSnapshot,
    Facts,
    IntegrationSnapshot,
    WorkspaceSnapshot,
)
from tests.library_families import workspace_families

T = TypeVar("T")
Workspaces = tuple[WorkspaceSnapshot, ...]

TEXTS = st.one_of(
    st.text(st.sampled_from('ab"\\\n\r\t\0 ={},#é☃𝄞\ud800'), max_size=12),
    st.text(st.characters(), max_size=12),
)
FLOATS = st.floats()
COUNTS = st.one_of(st.integers(0, 3), st.integers(0, 10**400))


def optional(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """The strategy's values, or None."""
    return st.none() | strategy


def distinct(
    strategy: st.SearchStrategy[T], name: Callable[[T], str]
) -> st.SearchStrategy[tuple[T, ...]]:
    """A few of the strategy's values, whose names are still distinct after escaping."""
    return st.lists(strategy, max_size=3, unique_by=lambda each: printable(name(each))).map(tuple)


RUNS = st.builds(
    Run,
    status=st.sampled_from(FINISHED_STATUSES),
    start=optional(st.floats(0, 1e10)),
    finish=optional(st.floats(0, 1e10)),
    rows_synced=optional(COUNTS),
    rows_failed=optional(COUNTS),
)
FACTS = st.builds(
    Facts,
    id=TEXTS,
    name=TEXTS,
    type=optional(TEXTS),
    status=optional(TEXTS),
    warehouse=optional(TEXTS),
    last=optional(RUNS),
    last_success=optional(FLOATS),
    last_delivery=optional(FLOATS),
    history_start=optional(FLOATS),
    watermark=optional(FLOATS),
    consecutive_failures=optional(COUNTS),
    running=optional(COUNTS),
    running_since=optional(FLOATS),
    next_scheduled=optional(FLOATS),
    typical_interval=optional(FLOATS),
    typical_duration=optional(FLOATS),
    typical_rows=optional(FLOATS),
    stale_after=optional(FLOATS),
    counters=st.builds(
        Counters, *[COUNTS] * 7, st.floats(0, 1e300), st.integers(0, 99), st.integers(0, 99)
    ),
)
INTEGRATIONS = st.builds(
    IntegrationSnapshot, FACTS, refreshed=optional(FLOATS), up=optional(st.booleans())
)


@st.composite
def endpoints(draw: st.DrawFn) -> EndpointSnapshot:
    """An endpoint whose histogram is cumulative and ends at infinity, or is empty."""
    bounds = sorted(draw(st.sets(st.floats(1e-3, 1e9), max_size=4)))
    counts = sorted(draw(st.lists(st.integers(0, 99), min_size=len(bounds), max_size=len(bounds))))
    buckets = [*zip(bounds, counts, strict=True), (math.inf, 100)] if bounds else []
    return EndpointSnapshot(
        draw(TEXTS),
        requests=draw(st.dictionaries(st.sampled_from(["200", "429", "timeout"]), COUNTS)),
        duration_buckets=tuple(buckets),
        duration_sum=draw(st.floats(0, 1e9)),
        limit=draw(optional(COUNTS)),
        remaining=draw(optional(COUNTS)),
        reset=draw(optional(FLOATS)),
        budget_wait=draw(st.floats(0, 1e9)),
        invalid_items=draw(COUNTS),
    )


WORKSPACES = distinct(
    st.builds(
        WorkspaceSnapshot,
        name=TEXTS,
        integrations=distinct(INTEGRATIONS, lambda integration: integration.facts.id),
        up=optional(st.booleans()),
        error=optional(st.sampled_from(REASONS)),
        last_refresh=optional(FLOATS),
        refresh_duration=optional(FLOATS),
        pending_reads=COUNTS,
        endpoints=distinct(endpoints(), lambda endpoint: endpoint.endpoint),
    ),
    lambda workspace: workspace.name,
)


def plain(samples: Iterable[Sample]) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Samples as tuples in which NaN equals NaN."""
    return [
        (sample.name, sorted(sample.labels.items()), go_float(sample.value)) for sample in samples
    ]


@given(WORKSPACES, st.booleans())
@settings(deadline=None)
def test_the_writer_writes_the_same_bytes_as_prometheus_client(
    workspaces: Workspaces, openmetrics: bool
) -> None:
    """For any snapshot both write the same bytes, uncompressed and compressed."""
    expected = write_families(workspace_families(workspaces), openmetrics=openmetrics)
    exposition = Exposition()
    assert exposition.render(workspaces, Format(openmetrics)) == expected
    packed = exposition.render(workspaces, Format(openmetrics, gzip=True))
    assert gzip.decompress(packed) == expected


@given(WORKSPACES)
@settings(deadline=None)
def test_the_text_page_can_be_parsed(workspaces: Workspaces) -> None:
    """For any label value the parser of the text format returns the snapshot's samples."""
    page = Exposition().render(workspaces, Format()).decode()
    read = [
        sample
        for family in text_parser.text_string_to_metric_families(page)
        for sample in family.samples
    ]
    written = [sample for family in workspace_families(workspaces) for sample in family.samples]
    assert plain(read) == plain(written)


@given(WORKSPACES)
@settings(deadline=None)
def test_the_openmetrics_page_can_be_parsed(workspaces: Workspaces) -> None:
    """For any label value the OpenMetrics parser returns the snapshot's samples."""
    page = Exposition().render(workspaces, Format(openmetrics=True)).decode()
    parse: Any = openmetrics_parser.text_string_to_metric_families
    read = [sample for family in parse(page) for sample in family.samples]
    written = [sample for family in workspace_families(workspaces) for sample in family.samples]
    assert plain(read) == plain(written)


@given(FLOATS)
def test_a_float_is_written_as_by_prometheus_client(value: float) -> None:
    assert number(value) == go_float(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(10**400, "+Inf"), (-(10**400), "-Inf"), (7, "7.0")],
    ids=["huge", "hugely negative", "small"],
)
def test_whole_number_is_written_as_a_float(value: float, text: str) -> None:
    """A whole number is written as a float, or as infinite if it is too large for a float."""
    assert number(value) == text
