"""Size limits of an API response. Larger values are refused or cut."""

import pytest

from cdi_exporter.braze.wire import (
    LONGEST_CURSOR,
    LONGEST_TEXT,
    MOST_ITEMS,
    next_cursor,
    read_history,
    read_integrations,
)
from cdi_exporter.errors import InvalidResponse


def answer(*rows: object) -> dict[str, object]:
    return {"message": "success", "results": [*rows]}


@pytest.mark.parametrize("read", [read_history, read_integrations])
@pytest.mark.parametrize("row", [{}, None, {"integration_id": "a", "job_status": "running"}])
def test_a_page_with_too_many_items_is_invalid(read: object, row: object) -> None:
    """The message contains the number of items."""
    read_history(answer(*[row] * MOST_ITEMS))
    with pytest.raises(InvalidResponse, match=f"{MOST_ITEMS + 1} items on one page"):
        read(answer(*[row] * (MOST_ITEMS + 1)))  # type: ignore[operator]


def test_long_texts_are_cut() -> None:
    """Names become label values. A cut name ends with an ellipsis."""
    names = ("integration_name", "integration_type", "integration_status", "warehouse_type")
    long = dict.fromkeys(names, "ä" * (LONGEST_TEXT + 1))
    exact = dict.fromkeys(names, "ä" * LONGEST_TEXT)
    page = read_integrations(
        answer({"integration_id": "a"} | long, {"integration_id": "b"} | exact)
    )
    for item, end in zip(page.integrations, ("…", "ä"), strict=True):
        texts = (item.name, item.type, item.status, item.warehouse)
        assert {(len(each or ""), (each or "")[-1]) for each in texts} == {(LONGEST_TEXT, end)}
    assert page.invalid == 0


@pytest.mark.parametrize("identifier", ["x" * (LONGEST_TEXT + 1), ".", "..", " .. "])
def test_an_item_with_an_impossible_id_is_invalid(identifier: str) -> None:
    """A cut ID would belong to another integration. Dots would change the path."""
    page = read_integrations(answer({"integration_id": identifier}, {"integration_id": "a"}))
    assert [item.id for item in page.integrations] == ["a"]
    assert page.invalid == 1


def test_the_longest_id_is_accepted() -> None:
    """It is not cut."""
    identifier = "x" * LONGEST_TEXT
    page = read_integrations(answer({"integration_id": identifier}))
    assert [item.id for item in page.integrations] == [identifier]


def test_a_page_with_a_cursor_that_is_too_long_is_invalid() -> None:
    """A cursor becomes a part of a URL and of the state file."""
    assert next_cursor(f'</x?cursor={"a" * LONGEST_CURSOR}>; rel="next"')
    with pytest.raises(InvalidResponse, match="cursor is too long"):
        next_cursor(f'</x?cursor={"a" * (LONGEST_CURSOR + 1)}>; rel="next"')
