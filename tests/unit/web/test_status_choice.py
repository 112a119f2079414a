"""Filtering and sorting by the query parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from cdi_exporter.model import Status
from cdi_exporter.web.choice import ORDERS, Choice
from cdi_exporter.web.status import FILTERS, IntegrationStatus, WorkspaceStatus
from tests.shown import HOUR, NOW, facts, run, workspace

SHOWN = workspace(
    "w",
    facts("id-1", "Orders", run(ago=60, rows=10, failed=10, took=5), next_scheduled=NOW + 30),
    facts("id-2", "users", run(ago=HOUR, rows=500, took=90), next_scheduled=None),
    facts("id-3", "carts", run(Status.ERROR, ago=30, rows=0, failed=7, took=1)),
    facts("id-4", "Events"),
)


def names(choice: Choice) -> list[str]:
    status = WorkspaceStatus(SHOWN.snapshot(), (), NOW)
    return [row.facts.name for row in choice.apply(status.integrations)]


@pytest.mark.parametrize(
    ("sort", "order", "expected"),
    [
        ("name", "asc", ["carts", "Events", "Orders", "users"]),
        ("name", "desc", ["users", "Orders", "Events", "carts"]),
        ("status", "desc", ["carts", "Orders", "users", "Events"]),
        ("last", "desc", ["carts", "Orders", "users", "Events"]),
        ("last", "asc", ["users", "Orders", "carts", "Events"]),
        ("rows", "desc", ["users", "Orders", "carts", "Events"]),
        ("rows", "asc", ["carts", "Orders", "users", "Events"]),
        ("failed", "desc", ["carts", "Orders", "users", "Events"]),
        ("duration", "asc", ["carts", "Orders", "users", "Events"]),
        ("next", "asc", ["Orders", "carts", "Events", "users"]),
        ("age", "desc", ["users", "Orders", "carts", "Events"]),
        ("attention", "desc", ["users", "carts", "Orders", "Events"]),
    ],
)
def test_each_order_sorts_with_unknown_values_last(
    sort: str, order: str, expected: list[str]
) -> None:
    """This applies in both directions. Equal rows are sorted by name."""
    assert names(Choice.read({"sort": sort, "order": order})) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "ER"}, ["Orders", "users"]),
        ({"q": "id-3"}, ["carts"]),
        ({"q": "  events "}, ["Events"]),
        ({"q": "nothing"}, []),
        ({"status": "error"}, ["carts"]),
        ({"status": "none"}, ["Events"]),
        ({"status": "attention", "q": "u"}, ["users"]),
    ],
)
def test_filters_keep_what_matches(query: dict[str, str], expected: list[str]) -> None:
    """The text matches a part of the name or ID in any case. It can be combined with a status."""
    assert sorted(names(Choice.read(query))) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"sort": "colour"},
            (
                "the parameter sort must be one of: attention, name, status, last, rows, failed, "
                "duration, next, age"
            ),
        ),
        ({"order": "up"}, "the parameter order must be one of: asc, desc"),
        (
            {"status": "<b>"},
            (
                "the parameter status must be one of: all, attention, late, hanging, running, "
                "success, partial, error, config_error, unknown, none"
            ),
        ),
    ],
)
def test_an_unknown_value_is_refused_in_one_line(query: dict[str, str], message: str) -> None:
    """The message lists the known values and does not repeat the unknown one."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is checked below
        Choice.read(query)
    assert str(refused.value) == message


def test_empty_parameters_are_treated_as_unset() -> None:
    """A form also sends its empty fields."""
    empty = {"workspace": "", "q": "", "status": "", "sort": "", "order": "", "other": "x"}
    assert Choice.read(empty) == Choice()
    assert Choice().query == "?"


def test_a_column_sorts_in_its_default_direction_first() -> None:
    """Selecting the column again reverses the order."""
    rows = Choice(text="a").by("rows")
    assert (rows.sort, rows.descending, rows.text) == ("rows", True, "a")
    assert rows.by("rows").descending is False
    assert rows.by("name").descending is False


@given(
    st.builds(
        Choice,
        workspace=st.text(),
        text=st.text(max_size=200).map(str.strip),
        status=st.sampled_from(FILTERS),
        sort=st.sampled_from([*ORDERS]),
        descending=st.booleans(),
    )
)
def test_a_choice_is_read_back_from_its_url(choice: Choice) -> None:
    assert Choice.read(QueryParams(choice.query.removeprefix("?"))) == choice


def test_sorting_keeps_every_integration() -> None:
    """No order drops or repeats a row."""
    rows: tuple[IntegrationStatus, ...] = WorkspaceStatus(SHOWN.snapshot(), (), NOW).integrations
    for sort in ORDERS:
        assert set(Choice.read({"sort": sort}).apply(rows)) == set(rows)
