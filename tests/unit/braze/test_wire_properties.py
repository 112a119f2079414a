"""Properties of the parser for any JSON: only InvalidResponse is raised, and no run is lost."""

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.braze.wire import MOST_ROWS, read_history, read_integrations
from cdi_exporter.errors import InvalidResponse
from cdi_exporter.model import HistoryPage, Run, Status

CHARACTERS = " az09-+:.,_%&=\t\n\x00\x7fé٣\u2028\U0001f600\ud83d\udc00"
"""One character of each kind that could matter, including halves of a surrogate pair."""

TEXTS = st.text(CHARACTERS, max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from(
        [
            "",
            "success",
            "RUNNING",
            "2026-03-25T12:53:35.183728Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            10**400,
            -(10**400),
        ]
    )
)
KEYS = TEXTS | st.sampled_from(
    [
        "results",
        "message",
        "job_status",
        "sync_start_time",
        "sync_finish_time",
        "rows_synced",
        "integration_id",
        "integration_name",
        "last_job_status",
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)

ROW = {
    "job_status": "success",
    "sync_start_time": "2026-03-25T12:00:00Z",
    "sync_finish_time": "2026-03-25T12:02:00Z",
    "last_timestamp_synced": "2026-03-25T11:59:00Z",
    "rows_synced": 10,
    "rows_failed_with_errors": 0,
}
ITEM = {
    "integration_id": "abc",
    "integration_name": "Users",
    "integration_type": "users_track",
    "integration_status": "active",
    "warehouse_type": "snowflake",
    "last_updated_at": "2026-03-25T11:59:00Z",
    "last_job_start_time": "2026-03-25T12:00:00Z",
    "last_job_status": "success",
    "next_scheduled_run": "2026-03-25T12:15:00Z",
}


@st.composite
def near_documents(draw: st.DrawFn, row: Mapping[str, object]) -> Any:
    """A valid document in which some values are replaced or removed."""
    rows: list[Any] = [dict(row) for _ in range(3)]
    document: dict[str, Any] = {"results": rows, "message": "success"}
    places = [document, rows, *rows]
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from(places))
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0, 1, 2]))
        if isinstance(place, list) or draw(st.booleans()):
            place[key] = draw(JSON)
        else:
            del place[key]
        places = [each for each in places if each]
    return document


def _check_history(document: Any) -> None:
    before = copy.deepcopy(document)
    try:
        page = read_history(document, None)
    except InvalidResponse:
        return
    assert repr(document) == repr(before)
    left_out = page.invalid - page.damaged
    assert len(page.runs) + page.undated_running + left_out == len(document["results"])
    assert 0 <= page.damaged <= page.invalid
    assert page.undated is None or (page.undated.finished and page.invalid)
    for run in page.runs:
        assert run.identity[1] == (run.finish if run.start is None else run.start)
        for rows in (run.rows_synced, run.rows_failed):
            assert rows is None or (type(rows) is int and 0 <= rows <= MOST_ROWS)


def _check_integrations(document: Any) -> None:
    try:
        page = read_integrations(document, None)
    except InvalidResponse:
        return
    assert len(page.integrations) + page.invalid - page.damaged <= len(document["results"])
    assert 0 <= page.damaged <= page.invalid
    assert len({item.id for item in page.integrations}) == len(page.integrations)
    for item in page.integrations:
        for text in (item.id, item.name, item.type, item.status, item.warehouse):
            assert text is None or text.encode()


@given(JSON)
def test_any_json_is_a_page_or_invalid(document: Any) -> None:
    """No JSON value raises anything but InvalidResponse."""
    _check_history(document)
    _check_integrations(document)


@given(st.lists(JSON, max_size=5))
def test_any_results_in_the_right_envelope_are_a_page(results: list[Any]) -> None:
    """A valid envelope with arbitrary rows is always a page."""
    document = {"results": results, "message": "success"}
    _check_history(document)
    _check_integrations(document)
    assert len(read_history(document).runs) <= len(results)
    assert len(read_integrations(document).integrations) <= len(results)


@given(near_documents(ROW))
def test_a_history_with_faults_is_a_page_or_invalid(document: Any) -> None:
    """Any part of a valid history may be damaged. Each row is a run or is counted."""
    _check_history(document)


@given(near_documents(ITEM))
def test_a_list_with_faults_is_a_page_or_invalid(document: Any) -> None:
    """Any part of a valid list may be damaged. Each item is an integration or is counted."""
    _check_integrations(document)


@given(near_documents(ROW))
def test_a_serialised_page_parses_to_the_same_page(document: Any) -> None:
    """This includes lone surrogates and NaN."""
    try:
        page = read_history(document)
    except InvalidResponse:
        return
    assert read_history(json.loads(json.dumps(document))) == page


# Round trip

MOMENTS = st.integers(1, 4_000_000_000 * 10**6).map(lambda micros: micros / 10**6)
ROWS = st.integers(0, MOST_ROWS)
DATED = st.builds(
    Run,
    status=st.sampled_from(Status),
    start=MOMENTS,
    finish=st.none() | MOMENTS,
    watermark=st.none() | MOMENTS,
    rows_synced=st.none() | ROWS,
    rows_failed=st.none() | ROWS,
) | st.builds(Run, status=st.sampled_from(Status), finish=MOMENTS)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def written(draw: st.DrawFn, run: Run) -> dict[str, object]:
    """A row that describes the run in one of the documented ways."""

    def time(seconds: float | None) -> str | None:
        if seconds is None:
            return draw(st.sampled_from([None, ""]))
        moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=round(seconds * 10**6))
        form = draw(st.sampled_from(["naive", "Z", "offset"]))
        if form == "naive":
            return moment.replace(tzinfo=None).isoformat()
        if form == "Z":
            return moment.isoformat().replace("+00:00", "Z")
        return moment.astimezone(draw(OFFSETS)).isoformat()

    fields = {
        "job_status": draw(st.sampled_from([run.status.value, run.status.value.upper()])),
        "sync_start_time": time(run.start),
        "sync_finish_time": time(run.finish),
        "last_timestamp_synced": time(run.watermark),
        "rows_synced": run.rows_synced,
        "rows_failed_with_errors": run.rows_failed,
    }
    drop = draw(st.booleans())
    return {name: value for name, value in fields.items() if value is not None or not drop}


@given(st.lists(DATED, max_size=10), st.data())
def test_a_run_is_read_as_it_was_written(runs: list[Run], data: st.DataObject) -> None:
    """Times are kept to the microsecond."""
    rows = [data.draw(written(run)) for run in runs]
    text = json.dumps({"results": rows, "message": "success"})
    page = read_history(json.loads(text))
    assert [_rounded(run) for run in page.runs] == [_rounded(run) for run in runs]
    assert page == HistoryPage(runs=page.runs)


def _rounded(run: Run) -> tuple[object, ...]:
    times = (run.start, run.finish, run.watermark)
    micros = (None if each is None else round(each * 10**6) for each in times)
    return (run.status, *micros, run.rows_synced, run.rows_failed)
