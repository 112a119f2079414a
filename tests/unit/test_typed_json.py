"""Dataclasses as JSON: written values are read back, and invalid values are refused."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.model import Within
from cdi_exporter.typed_json import from_json, to_json

Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0, 100)]


class Colour(StrEnum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A nested dataclass."""

    colour: Colour
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """A dataclass with fields of each supported type."""

    count: Count
    leaves: tuple[Leaf, ...] = ()
    pair: tuple[str, Share] = ("", 0.0)
    share: Share | None = None
    tall: bool = False


TREES = st.builds(
    Tree,
    st.integers(0, 100),
    st.lists(st.builds(Leaf, st.sampled_from(Colour), st.none() | st.text())).map(tuple),
    st.tuples(st.text(), st.floats(0, 1)),
    st.none() | st.floats(0, 1),
    st.booleans(),
)


@given(TREES)
def test_a_written_value_is_read_back(tree: Tree) -> None:
    """Every value is kept. The JSON is one line."""
    text = to_json(tree)
    assert "\n" not in text
    assert from_json(Tree, text) == tree


def test_defaults_are_left_out_and_unknown_fields_are_ignored() -> None:
    """A file written by a newer version with more fields can be read."""
    assert to_json(Tree(1, (Leaf(Colour.RED),))) == '{"count":1,"leaves":[{"colour":"red"}]}'
    assert from_json(Tree, '{"count":1,"new":{}}') == Tree(1)


def test_a_whole_number_is_a_number() -> None:
    """Other programs write 1.0 as 1."""
    share = from_json(Tree, '{"count":1,"share":1}').share
    assert (share, type(share)) == (1.0, float)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON: Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ("1" * 10_000, "not valid JSON: a number with too many digits"),
        ("null", "expected an object"),
        ("{}", "count: missing"),
        ('{"count":1.0}', "count: expected a number from 0 to 100"),
        ('{"count":101}', "count: expected a number from 0 to 100"),
        ('{"count":true}', "count: expected a number from 0 to 100"),
        ('{"count":"1"}', "count: expected a number from 0 to 100"),
        ('{"count":1,"share":NaN}', "share: expected a number from 0 to 1"),
        ('{"count":1,"share":-Infinity}', "share: expected a number from 0 to 1"),
        ('{"count":1,"tall":1}', "tall: expected true or false"),
        ('{"count":1,"leaves":{}}', "leaves: expected a list"),
        ('{"count":1,"leaves":[{"colour":"red"},{}]}', "leaves.1.colour: missing"),
        ('{"count":1,"leaves":[{"colour":"x"}]}', "leaves.0.colour: expected one of red, blue"),
        ('{"count":1,"leaves":[{"colour":"red","name":5}]}', "leaves.0.name: expected text"),
        ('{"count":1,"pair":["a"]}', "pair: expected a list of 2"),
        ('{"count":1,"pair":["a",2]}', "pair.1: expected a number from 0 to 1"),
    ],
)
def test_an_invalid_value_is_refused_with_its_path(text: str, problem: str) -> None:
    """The message is one line and does not quote the file."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as error:
        from_json(Tree, text)
    assert str(error.value) == problem
