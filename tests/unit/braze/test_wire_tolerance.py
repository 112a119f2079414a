"""Tolerance of the parser: an example of each missing, wrong or new value."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from cdi_exporter.braze.wire import MOST_ROWS, read_history, read_integrations, timestamp
from cdi_exporter.errors import InvalidResponse
from cdi_exporter.model import HistoryPage, Integration, IntegrationsPage, Run, Status

NOON = 1774440000.0
"""2026-03-25T12:00:00Z."""

FULL_ROW = {
    "job_status": "partial",
    "sync_start_time": "2026-03-25T12:00:00Z",
    "sync_finish_time": "2026-03-25T12:02:00Z",
    "last_timestamp_synced": "2026-03-25T11:59:00Z",
    "rows_synced": 1500,
    "rows_failed_with_errors": 3,
}
FULL_RUN = Run(Status.PARTIAL, NOON, NOON + 120, NOON - 60, 1500, 3)

FULL_ITEM = {
    "integration_id": "abc",
    "app_group_id": "group",
    "integration_name": "Users daily",
    "integration_type": "users_track",
    "integration_status": "active",
    "contact_emails": ["someone@example.com"],
    "last_updated_at": "2026-03-25T11:59:00Z",
    "warehouse_type": "snowflake",
    "last_job_start_time": "2026-03-25T12:00:00Z",
    "last_job_status": "partial",
    "next_scheduled_run": "2026-03-25T12:15:00Z",
}
FULL_INTEGRATION = Integration(
    id="abc",
    name="Users daily",
    type="users_track",
    status="active",
    warehouse="snowflake",
    last_updated=NOON - 60,
    last_job_start=NOON,
    last_job_status=Status.PARTIAL,
    next_scheduled_run=NOON + 900,
)

RUN_FIELDS = {
    "sync_start_time": "start",
    "sync_finish_time": "finish",
    "last_timestamp_synced": "watermark",
    "rows_synced": "rows_synced",
    "rows_failed_with_errors": "rows_failed",
}
INTEGRATION_FIELDS = {
    "integration_name": "name",
    "integration_type": "type",
    "integration_status": "status",
    "warehouse_type": "warehouse",
    "last_updated_at": "last_updated",
    "last_job_start_time": "last_job_start",
    "last_job_status": "last_job_status",
    "next_scheduled_run": "next_scheduled_run",
}
ABSENT = [None, ..., "", "  "]
"""The ways to write a missing value. `...` leaves the field out."""


def envelope(*rows: object) -> dict[str, object]:
    """The documented response with these rows."""
    return {"results": list(rows), "message": "success"}


def history(*rows: object) -> HistoryPage:
    return read_history(envelope(*rows))


def integrations(*items: object) -> IntegrationsPage:
    return read_integrations(envelope(*items))


def changed(row: dict[str, Any], **fields: object) -> dict[str, object]:
    """The row with other values. `...` leaves a field out."""
    return {name: value for name, value in (row | fields).items() if value is not ...}


def run_with(**fields: object) -> Run:
    """The run of a page with one row, which differs from the full row in these fields."""
    (run,) = history(changed(FULL_ROW, **fields)).runs
    return run


# Whole answers


def test_a_full_row_is_a_run() -> None:
    """Every documented field of a history row is read."""
    assert history(FULL_ROW) == HistoryPage(runs=(FULL_RUN,))


def test_a_full_item_is_an_integration() -> None:
    """Every documented field of a list item is read, except the email addresses."""
    page = integrations(FULL_ITEM)
    assert page == IntegrationsPage((FULL_INTEGRATION,))
    assert "someone" not in repr(page)


def test_no_results_are_an_empty_page() -> None:
    """An integration that never ran has an empty history. This is not an error."""
    assert history() == HistoryPage(runs=())
    assert integrations() == IntegrationsPage(())


@pytest.mark.parametrize("read", [read_history, read_integrations])
@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        ("success", "not a JSON object"),
        (7, "not a JSON object"),
        (True, "not a JSON object"),
        ({}, "message is not success"),
        ({"results": []}, "message is not success"),
        ({"results": [], "message": None}, "message is not success"),
        ({"results": [], "message": ["success"]}, "message is not success"),
        ({"results": [], "message": "failure"}, "message is not success"),
        ({"results": [], "message": ""}, "message is not success"),
        ({"message": "success"}, "no list of results"),
        ({"results": None, "message": "success"}, "no list of results"),
        ({"results": {}, "message": "success"}, "no list of results"),
        ({"results": "[]", "message": "success"}, "no list of results"),
    ],
)
def test_an_answer_of_another_kind_is_invalid(read: Any, document: object, problem: str) -> None:
    """A 200 without `message: success` or without a list of results does not mean "no syncs"."""
    with pytest.raises(InvalidResponse, match=problem):
        read(document)


def test_an_error_does_not_quote_the_answer() -> None:
    """A bad answer may contain anything, such as personal data."""
    with pytest.raises(InvalidResponse) as caught:
        read_history({"message": "someone@example.com", "results": []})
    assert "example" not in repr(caught.value)


@pytest.mark.parametrize("message", ["success", "Success", "SUCCESS", " success "])
def test_the_message_is_compared_without_regard_to_case(message: str) -> None:
    assert read_history({"message": message, "results": []}).runs == ()


def test_fields_that_braze_adds_are_ignored() -> None:
    """A new field in the envelope or in a row is not an error."""
    document = envelope({**FULL_ROW, "sync_id": {"new": [1]}}) | {"total": 1}
    assert read_history(document).runs == (FULL_RUN,)


# Missing fields


@pytest.mark.parametrize("nothing", ABSENT, ids=repr)
@pytest.mark.parametrize(("field", "attribute"), RUN_FIELDS.items())
def test_a_missing_field_of_a_run_is_none(field: str, attribute: str, nothing: object) -> None:
    """Null, missing and empty values are all None. The other fields are read as usual."""
    run = run_with(**{field: nothing})
    assert getattr(run, attribute) is None
    others = set(RUN_FIELDS.values()) - {attribute}
    assert all(getattr(run, name) == getattr(FULL_RUN, name) for name in others)
    assert run.status is Status.PARTIAL


@pytest.mark.parametrize("nothing", ABSENT, ids=repr)
@pytest.mark.parametrize(("field", "attribute"), INTEGRATION_FIELDS.items())
def test_a_missing_field_of_an_integration_is_none(
    field: str, attribute: str, nothing: object
) -> None:
    """Null, missing and empty values are all None. The other fields are read as usual."""
    (item,) = integrations(changed(FULL_ITEM, **{field: nothing})).integrations
    assert getattr(item, attribute) is None
    others = {*INTEGRATION_FIELDS.values(), "id"} - {attribute}
    assert all(getattr(item, name) == getattr(FULL_INTEGRATION, name) for name in others)


@pytest.mark.parametrize("nothing", [*ABSENT, 7, [], {}, True], ids=repr)
def test_an_item_without_an_id_is_invalid(nothing: object) -> None:
    """Without an ID the history cannot be requested. The item is left out and counted."""
    page = integrations(changed(FULL_ITEM, integration_id=nothing), FULL_ITEM)
    assert page == IntegrationsPage((FULL_INTEGRATION,), invalid=1)


@pytest.mark.parametrize("row", [None, 7, "running", [], [FULL_ROW], True, 1.5], ids=repr)
def test_a_row_that_is_not_an_object_is_invalid(row: object) -> None:
    """The row is left out and counted. The other rows are read."""
    assert history(row, FULL_ROW) == HistoryPage(runs=(FULL_RUN,), invalid=1)
    assert integrations(row, FULL_ITEM) == IntegrationsPage((FULL_INTEGRATION,), invalid=1)


def test_an_integration_listed_twice_on_a_page_appears_once() -> None:
    """The last item with an ID is used. Neither item counts as invalid."""
    renamed = changed(FULL_ITEM, integration_name="New")
    page = integrations(FULL_ITEM, renamed)
    assert [item.name for item in page.integrations] == ["New"]
    assert page.invalid == 0


# Times


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-03-25T12:00:00Z", NOON),
        ("2026-03-25T12:00:00+00:00", NOON),
        ("2026-03-25T12:00:00+0000", NOON),
        ("2026-03-25T14:00:00+02:00", NOON),
        ("2026-03-25T07:00:00-05:00", NOON),
        ("2026-03-25T17:45:00+05:45", NOON),
        ("2026-03-25T12:00:00", NOON),
        ("2026-03-25 12:00:00", NOON),
        ("2026-03-25 12:00:00 UTC", NOON),
        ("2026-03-25 12:00:00 +0000", NOON),
        ("20260325T120000Z", NOON),
        ("2026-03-25T12:00Z", NOON),
        ("  2026-03-25T12:00:00Z  ", NOON),
        ("2026-03-25t12:00:00z", NOON),
        ("2026-03-25T12:00:00.5Z", NOON + 0.5),
        ("2026-03-25T12:00:00,5Z", NOON + 0.5),
        ("2026-03-25T12:00:00.183Z", NOON + 0.183),
        ("2026-03-25T12:00:00.183728Z", NOON + 0.183728),
        ("2026-03-25T12:00:00.183728999Z", NOON + 0.183728),
        ("2026-03-25", NOON - 43_200),
    ],
)
def test_a_time_is_read_in_any_iso_8601_spelling(text: str, seconds: float) -> None:
    """Offsets, fractions and short forms are read. A time without an offset is UTC."""
    assert timestamp(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.usefixtures("local_zone")
def test_a_naive_time_is_utc_wherever_this_runs() -> None:
    """The local time zone does not matter."""
    assert timestamp("2026-03-25T12:00:00") == NOON


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
    ],
)
def test_the_zero_times_are_absent(value: str) -> None:
    """Other programs write them for "no time". So the item is not invalid."""
    assert timestamp(value) is None
    page = history(changed(FULL_ROW, sync_finish_time=value))
    assert page == HistoryPage(runs=(replace(FULL_RUN, finish=None),))


UNREADABLE: list[object] = [
    "soon",
    "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-03-25T24:00:00Z",
    "2026-03-25 24:00:00",
    "20260325T240000Z",
    "2026-03-25T25:00:00Z",
    "2026-03-25T23:59:60Z",
    "2026-03-25T12:60:00Z",
    "Wed, 25 Mar 2026 12:00:00 GMT",
    "2026-03-25 12:00:00 Etc/UTC",
    "2026-03-25T12:00:00Z[UTC]",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-01:00",
    "12:00:00",
    "1774440000",
    "\ud800",
    "2026-03-25T12:00:00\ud800",
    "٢٠٢٦-03-25T12:00:00Z",
    "9" * 10_000,
    1774440000,
    1774440000.5,
    math.nan,
    True,
    False,
    0,
    [],
    {},
    {"time": "2026-03-25T12:00:00Z"},
]
"""Values that cannot be read as a time in any version of Python."""

each_unreadable = pytest.mark.parametrize("value", UNREADABLE, ids=lambda value: repr(value)[:30])


@each_unreadable
@pytest.mark.parametrize("field", ["sync_start_time", "sync_finish_time", "last_timestamp_synced"])
def test_a_row_with_a_time_that_cannot_be_read_is_invalid(field: str, value: object) -> None:
    """The row is counted as invalid. The run is kept without that time."""
    page = history(changed(FULL_ROW, **{field: value}), FULL_ROW)
    expected = replace(FULL_RUN, **{RUN_FIELDS[field]: None})  # type: ignore[arg-type]
    assert page == HistoryPage(runs=(expected, FULL_RUN), invalid=1, damaged=1)


@each_unreadable
@pytest.mark.parametrize("field", ["last_updated_at", "last_job_start_time", "next_scheduled_run"])
def test_an_item_with_a_time_that_cannot_be_read_is_invalid(field: str, value: object) -> None:
    """The item is counted as invalid and kept. An unreadable next run still means a schedule."""
    page = integrations(changed(FULL_ITEM, **{field: value}))
    assert (page.invalid, page.damaged) == (1, 1)
    (item,) = page.integrations
    assert getattr(item, INTEGRATION_FIELDS[field]) is None
    assert item.scheduled
    assert item.schedule_unreadable is (field == "next_scheduled_run")


def test_an_item_with_several_bad_times_counts_once_as_invalid() -> None:
    """Items are counted, not fields."""
    times = {"last_updated_at": 1, "last_job_start_time": 2, "next_scheduled_run": 3}
    assert integrations(changed(FULL_ITEM, **times)).invalid == 1
    row = changed(FULL_ROW, sync_finish_time=1, last_timestamp_synced=2)
    assert history(row).invalid == 1


BAD = "Wed, 25 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"job_status": "running", "sync_finish_time": None, "sync_start_time": BAD},
            HistoryPage((), undated_running=1, invalid=1, damaged=1, unidentified=1),
            id="in progress, from an unreadable start on",
        ),
        pytest.param(
            {"job_status": "running", "sync_finish_time": BAD},
            HistoryPage(
                (Run(Status.RUNNING, NOON, None, NOON - 60, 1500, 3),), invalid=1, damaged=1
            ),
            id="in progress, with an unreadable finish",
        ),
        pytest.param(
            {"job_status": "canceled", "sync_start_time": BAD},
            HistoryPage(
                (Run(Status.UNKNOWN, None, NOON + 120, NOON - 60, 1500, 3, "canceled"),),
                invalid=1,
                damaged=1,
            ),
            id="an unknown status, with an unreadable start",
        ),
        pytest.param(
            {"job_status": "canceled", "sync_finish_time": BAD},
            HistoryPage(
                (Run(Status.UNKNOWN, NOON, None, NOON - 60, 1500, 3, "canceled"),),
                invalid=1,
                damaged=1,
            ),
            id="an unknown status, with an unreadable finish: in progress",
        ),
        pytest.param(
            {"job_status": "canceled", "sync_start_time": BAD, "sync_finish_time": None},
            HistoryPage((), invalid=1, unidentified=1),
            id="an unknown status without any time",
        ),
    ],
)
def test_the_valid_fields_of_a_row_with_a_bad_time_are_used(
    fields: dict[str, object], expected: HistoryPage
) -> None:
    """A run is neither counted twice nor lost because one of its times cannot be read."""
    assert history(changed(FULL_ROW, **fields)) == expected


def test_a_finished_row_whose_times_cannot_be_read_sets_the_status_in_the_newest_place() -> None:
    """In an older row the status is ignored. Such a row is only counted."""
    row = changed(FULL_ROW, sync_start_time=BAD, sync_finish_time=BAD)
    page = history(row, row, FULL_ROW)
    assert page.undated == replace(FULL_RUN, start=None, finish=None)
    assert page.runs == (FULL_RUN,)
    assert (page.invalid, page.damaged, page.unidentified) == (2, 0, 2)


def test_a_finish_before_its_start_gives_no_duration() -> None:
    """Both times are kept. The run has no duration."""
    run = run_with(sync_finish_time="2026-03-25T11:00:00Z")
    assert (run.start, run.finish, run.duration) == (NOON, NOON - 3600, None)


# Statuses


@pytest.mark.parametrize("status", [each for each in Status if each is not Status.UNKNOWN])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, " {} ".format])
def test_a_status_in_any_spelling(status: Status, spell: Any) -> None:
    """Older documentation uses capitals."""
    assert run_with(job_status=spell(status.value)).status is status
    (item,) = integrations(changed(FULL_ITEM, last_job_status=spell(status.value))).integrations
    assert item.last_job_status is status


@pytest.mark.parametrize(
    "value", ["cancelled", "unknown", "succès", "\ud800", 7, 1.5, True, [], {}], ids=repr
)
def test_a_new_status_is_unknown(value: object) -> None:
    """An undocumented status, or one that is not text, is neither dropped nor guessed."""
    assert run_with(job_status=value).status is Status.UNKNOWN
    (item,) = integrations(changed(FULL_ITEM, last_job_status=value)).integrations
    assert item.last_job_status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("limit_exceeded", "limit_exceeded"),
        (" Partial_Success ", "Partial_Success"),
        ("unknown", "unknown"),
        ("two\nlines\t\x1b[2J", "two\ufffdlines\ufffd\ufffd[2J"),
        ("\u202eevil", "\ufffdevil"),
        ("\ud800", "\ufffd"),
        ("x" * 10_000, "x" * 63 + "…"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (10**400, None),
        (math.nan, None),
        ([], None),
        ({"a": 1}, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_unknown_status_keeps_brazes_text(value: object, word: str | None) -> None:
    """The text is kept as Braze wrote it, in one printable line of limited length."""
    assert run_with(job_status=value).job_status == word
    (item,) = integrations(changed(FULL_ITEM, last_job_status=value)).integrations
    assert item.last_job_word == word


@pytest.mark.parametrize("value", ["success", "ERROR", "running", None, "", " "])
def test_a_known_or_absent_status_has_no_extra_text(value: str | None) -> None:
    """The status itself is enough."""
    assert run_with(job_status=value).job_status is None


@pytest.mark.parametrize("nothing", ABSENT, ids=repr)
def test_a_run_without_a_status_is_kept(nothing: object) -> None:
    """A dated row without a status is a run with an unknown status."""
    assert run_with(job_status=nothing).status is Status.UNKNOWN


def test_an_unknown_status_is_finished_once_it_has_a_finish() -> None:
    """Without a finish the run is under way.

    So a new word for "running" is not counted as finished.
    """
    assert run_with(job_status="draining").finished
    assert not run_with(job_status="draining", sync_finish_time=None).finished


# Numbers


@pytest.mark.parametrize("field", ["rows_synced", "rows_failed_with_errors"])
@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (0, 0),
        (1, 1),
        (5.0, 5),
        (-0.0, 0),
        (MOST_ROWS, MOST_ROWS),
        (MOST_ROWS + 1, None),
        (10**400, None),
        (1e300, None),
        (-1, None),
        (-0.5, None),
        (5.5, None),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (True, None),
        (False, None),
        ("12", None),
        ([12], None),
        ({}, None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_count_of_rows(field: str, value: object, rows: int | None) -> None:
    """Whole numbers from 0 on are counts. Any other value is None, never 0."""
    counted = getattr(run_with(**{field: value}), RUN_FIELDS[field])
    assert counted == rows
    assert type(counted) is type(rows)


def test_numbers_that_only_python_reads_as_json() -> None:
    """NaN and Infinity are None. Python's JSON parser accepts them."""
    text = '{"message": "success", "results": [{"job_status": "success", "rows_synced": NaN, '
    text += '"rows_failed_with_errors": Infinity, "sync_start_time": "2026-03-25T12:00:00Z"}]}'
    assert read_history(json.loads(text)).runs == (Run(Status.SUCCESS, NOON),)


# Rows without a time


UNDATED = {"sync_start_time": None, "sync_finish_time": None}


@pytest.mark.parametrize("status", ["success", "partial", "error", "config_error"])
def test_the_newest_finished_run_without_a_time_sets_the_status(status: str) -> None:
    """The row is counted as invalid and is not a run. Its status is still shown."""
    row = changed(FULL_ROW, job_status=status, **UNDATED)
    page = history(row, FULL_ROW)
    assert page.runs == (FULL_RUN,)
    assert page.undated is not None
    assert page.undated.status.value == status
    assert page.undated.rows_synced == 1500
    assert page.invalid == 1


@pytest.mark.parametrize("status", ["success", "partial", "error", "config_error"])
def test_a_finished_run_without_a_time_elsewhere_is_only_invalid(status: str) -> None:
    """Only the newest row can set the status."""
    page = history(FULL_ROW, changed(FULL_ROW, job_status=status, **UNDATED))
    assert page == HistoryPage(runs=(FULL_RUN,), invalid=1)


def test_runs_in_progress_without_a_time_are_counted_separately() -> None:
    """The rows are valid. A run that has just started may have no time yet."""
    row = {"job_status": "running"}
    page = history(row, row, FULL_ROW)
    assert page == HistoryPage(runs=(FULL_RUN,), undated_running=2)


@pytest.mark.parametrize("status", ["draining", None, ..., "", 7], ids=repr)
def test_an_unknown_status_without_a_time_is_ignored(status: object) -> None:
    """The row is invalid, even as the newest one."""
    row = changed(FULL_ROW, job_status=status, **UNDATED)
    assert history(row, FULL_ROW) == HistoryPage(runs=(FULL_RUN,), invalid=1)


@pytest.mark.parametrize("row", [{}, None, 7], ids=repr)
def test_after_an_unreadable_row_no_row_counts_as_the_newest(row: object) -> None:
    """The second row is not the newest, whatever the first row contains."""
    page = history(row, changed(FULL_ROW, **UNDATED))
    assert page == HistoryPage(runs=(), invalid=2)


def test_a_row_with_only_a_finish_is_a_run() -> None:
    """The finish is enough to identify the run."""
    run = run_with(sync_start_time=None)
    assert run.identity == ("finish", NOON + 120)


def test_a_running_row_needs_only_a_status_and_a_start() -> None:
    """A real client has seen such rows."""
    row = {"job_status": "running", "sync_start_time": "2026-03-25T12:00:00.000000Z"}
    assert history(row).runs == (Run(Status.RUNNING, NOON),)


def test_runs_keep_the_order_of_the_answer() -> None:
    """The order is not documented. Code that needs an order has to sort."""
    starts = ["2026-03-25T12:00:00Z", "2026-03-25T13:00:00Z", "2026-03-25T11:00:00Z"]
    page = history(*(changed(FULL_ROW, sync_start_time=start) for start in starts))
    assert [run.start for run in page.runs] == [NOON, NOON + 3600, NOON - 3600]


# Text


@pytest.mark.parametrize("field", ["integration_id", "integration_name", "warehouse_type"])
def test_every_text_can_be_written_as_utf_8(field: str) -> None:
    """Half of a surrogate pair, such as a cut emoji, becomes a question mark."""
    item = json.loads(json.dumps(FULL_ITEM | {field: "cut \ud83d"}))
    (integration,) = integrations(item).integrations
    attribute = {"integration_id": "id"}.get(field) or INTEGRATION_FIELDS[field]
    assert getattr(integration, attribute) == "cut ?"


@pytest.mark.parametrize("value", [7, True, ["a"], {"a": 1}], ids=repr)
def test_a_name_that_is_not_text_is_ignored(value: object) -> None:
    """Values of other types are not converted to text."""
    (item,) = integrations(changed(FULL_ITEM, integration_name=value)).integrations
    assert item.name is None
