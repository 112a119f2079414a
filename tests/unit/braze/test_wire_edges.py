"""Parsing of API responses at the limit of each value, in plain numbers."""

import pytest

from cdi_exporter.braze.wire import (
    PAGE_SIZE,
    next_cursor,
    read_history,
    read_integrations,
    timestamp,
    unreadable,
)
from cdi_exporter.errors import InvalidResponse
from cdi_exporter.model import Integration, Run, Status

START, FINISH = "2026-09-21T10:00:00Z", "2026-09-21T10:05:00Z"


def answer(*results: object) -> dict[str, object]:
    """The documented response with these results."""
    return {"message": "success", "results": list(results)}


def item(**fields: object) -> Integration:
    """The integration that is read from a list with this one item."""
    (found,) = read_integrations(answer({"integration_id": "a", **fields})).integrations
    return found


def row(**fields: object) -> Run:
    """The run that is read from a history with this one row."""
    times = {"sync_start_time": START, "sync_finish_time": FINISH}
    (found,) = read_history(answer({"job_status": "success", **times, **fields})).runs
    return found


def test_a_page_of_braze_has_ten_items() -> None:
    """`check` and `backfill` use it for their estimates."""
    assert PAGE_SIZE == 10


def test_a_page_may_have_a_hundred_items() -> None:
    """A page with 101 items is refused."""
    several = [{"integration_id": str(number)} for number in range(101)]
    assert len(read_integrations(answer(*several[:100])).integrations) == 100
    with pytest.raises(InvalidResponse, match="101 items on one page; expected at most 100"):
        read_integrations(answer(*several))


def test_a_cursor_may_have_2048_characters() -> None:
    """A longer cursor is refused."""
    assert next_cursor(f'</cdi?cursor={"a" * 2048}>; rel="next"') == "a" * 2048
    with pytest.raises(InvalidResponse, match="cursor is too long"):
        next_cursor(f'</cdi?cursor={"a" * 2049}>; rel="next"')


def test_an_id_may_have_200_characters() -> None:
    """A longer ID is not cut, because the cut ID would belong to another integration."""
    page = read_integrations(answer({"integration_id": "a" * 200}, {"integration_id": "b" * 201}))
    assert [each.id for each in page.integrations] == ["a" * 200]
    assert (page.invalid, page.damaged) == (1, 0)


def test_a_name_may_have_200_characters() -> None:
    """A longer name is cut to 199 characters and an ellipsis."""
    assert item(integration_name="a" * 200).name == "a" * 200
    assert item(integration_name="a" * 201).name == "a" * 199 + "…"


def test_a_status_may_have_64_characters() -> None:
    """A longer status is cut to 63 characters and an ellipsis."""
    assert row(job_status="a" * 64).job_status == "a" * 64
    assert row(job_status="a" * 65).job_status == "a" * 63 + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [(2**53, "9007199254740992"), (2**53 + 1, None), (-(2**53), "-9007199254740992"), (1.5, "1.5")],
)
def test_a_status_may_be_a_number(value: float, text: str | None) -> None:
    """The number is shown as Braze wrote it, unless it is too large."""
    assert row(job_status=value).job_status == text


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (0, 0),
        (-0.0, 0),
        (-1, None),
        (1, 1),
        (2**53, 2**53),
        (2**53 + 1, None),
        (7.0, 7),
        (7.5, None),
        (True, None),
        ("7", None),
    ],
)
def test_rows_are_whole_numbers_up_to_what_a_double_can_count(
    value: object, rows: int | None
) -> None:
    """Any other value is treated as missing."""
    assert row(rows_synced=value).rows_synced == rows


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00.5Z", 0.5),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1969-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", 253_402_300_799.0),
        ("9999-12-31T23:59:59.5Z", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2026-09-21T10:00:00", 1_789_984_800.0),
        ("2026-09-21T10:00:00+02:00", 1_789_977_600.0),
        ("2026-09-21 10:00:00 UTC", 1_789_984_800.0),
        ("2026-09-21T24:00:00Z", None),
    ],
)
def test_times_are_read_from_1970_to_the_end_of_9999(text: str, seconds: float | None) -> None:
    """Times without a zone are UTC."""
    assert timestamp(text) == seconds


@pytest.mark.parametrize(
    ("value", "cannot"),
    [
        (None, False),
        ("", False),
        ("  ", False),
        (START, False),
        ("1970-01-01T00:00:00Z", False),
        ("soon", True),
        (0, True),
        ([], True),
        ("2026-09-21T24:00:00Z", True),
    ],
)
def test_a_time_that_is_given_and_not_read_is_unreadable(value: object, cannot: bool) -> None:
    """Missing times and zero times are not unreadable."""
    assert unreadable(value) is cannot


def test_each_row_of_a_page_is_counted_in_one_place() -> None:
    """A row is read, damaged, running without a time, or left out."""
    page = read_history(
        answer(
            {"job_status": "success", "sync_start_time": START, "sync_finish_time": FINISH},
            {"job_status": "error", "sync_start_time": START, "sync_finish_time": "soon"},
            {"job_status": "running"},
            {"job_status": "running", "sync_start_time": 7},
            {"job_status": "success"},
            {"job_status": "success", "sync_start_time": "soon"},
            {"job_status": "a new one"},
            42,
        )
    )
    assert [run.status for run in page.runs] == [Status.SUCCESS, Status.ERROR]
    assert page.undated is None
    assert page.undated_running == 2
    assert (page.invalid, page.damaged, page.unidentified) == (6, 2, 2)


@pytest.mark.parametrize(
    ("first", "undated"),
    [
        ({"job_status": "error"}, Run(Status.ERROR)),
        ({"job_status": "running"}, None),
        ({"job_status": "a new one"}, None),
        (42, None),
    ],
)
def test_a_row_without_a_time_counts_only_in_the_newest_place(
    first: object, undated: Run | None
) -> None:
    """The row must also have finished."""
    assert read_history(answer(first)).undated == undated
    dated = {"job_status": "success", "sync_start_time": START, "sync_finish_time": FINISH}
    assert read_history(answer(dated, first)).undated is None


def test_each_item_of_the_list_is_counted_in_one_place() -> None:
    """An item is read, damaged but kept, or left out."""
    page = read_integrations(
        answer(
            {"integration_id": "a"},
            {"integration_id": "b", "next_scheduled_run": "soon"},
            {"integration_id": "c", "last_updated_at": 1, "last_job_start_time": 2},
            {"integration_name": "without an ID"},
            {"integration_id": 7},
            {"integration_id": "."},
            {"integration_id": " .. "},
            "no object",
        )
    )
    assert [each.id for each in page.integrations] == ["a", "b", "c"]
    assert (page.invalid, page.damaged) == (7, 2)


@pytest.mark.parametrize(
    ("link", "cursor"),
    [
        ('</a?cursor=x>; rel="next"', "x"),
        ('</a?cursor=x>; rel="prev", </a?cursor=y>; rel="next"', "y"),
        ('</a?cursor=>; rel="next", </a?cursor=y>; rel="next"', "y"),
        ('</a>; rel="next"', None),
        ("</a?cursor=x>", None),
        ('</a?cursor=x>; rel="prev"', None),
        ('</a?cursor=x%3D%3D>; rel="prev next"', "x=="),
        ("", None),
        (None, None),
    ],
)
def test_the_cursor_is_that_of_the_next_link(link: str | None, cursor: str | None) -> None:
    """A `next` link without a cursor is skipped."""
    assert next_cursor(link) == cursor


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"results": []},
        {"message": 1, "results": []},
        {"message": "failure", "results": []},
        {"message": "success"},
        {"message": "success", "results": {}},
    ],
)
def test_an_undocumented_answer_is_refused(document: object) -> None:
    with pytest.raises(InvalidResponse):
        read_history(document)


def test_the_message_is_read_in_any_spelling() -> None:
    """Spaces and case are ignored."""
    assert read_history({"message": " Success ", "results": []}).runs == ()


@pytest.mark.parametrize(
    ("value", "status", "word"),
    [
        (None, None, None),
        ("", None, None),
        (" Partial ", Status.PARTIAL, None),
        ("Throttled", Status.UNKNOWN, "Throttled"),
        (7, Status.UNKNOWN, "7"),
        ([], Status.UNKNOWN, None),
        ("a\nb", Status.UNKNOWN, "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_the_last_status_of_the_list_is_read(
    value: object, status: Status | None, word: str | None
) -> None:
    """Braze's own text is kept for an unknown status."""
    found = item(last_job_status=value)
    assert (found.last_job_status, found.last_job_word) == (status, word)


@pytest.mark.parametrize(
    ("text", "name"), [("a", "a"), (" ä ", "ä"), ("\ud800x", "?x"), ("  ", None), (7, None)]
)
def test_a_name_is_text_that_can_be_sent(text: object, name: str | None) -> None:
    """Half of a surrogate pair becomes a question mark."""
    assert item(integration_name=text).name == name
