"""The README of the Helm chart, whose table of values is generated from values.yaml."""

import yaml

from tools import chart_readme

VALUES = """\
# What it is, in words
# of two lines.
replicas: 1   # one | two
section:
  # Such as:
  #   a: b
  inner: {}
  annotations:
    made.up/key: value

# Without a description of its own.

# Described.
list:
  - name: first
other: ""
"""


def test_the_page_is_fresh() -> None:
    """The committed page matches values.yaml."""
    assert chart_readme.PAGE.read_text("utf-8") == chart_readme.page(), "run make generated"


def test_each_value_is_in_the_table() -> None:
    """Each row has the default. A section has a row only if it has a description."""
    assert [(each.path, each.default) for each in chart_readme.documented(VALUES)] == [
        ("replicas", "`1`"),
        ("section.inner", "`{}`"),
        ("section.annotations", '`{"made.up/key": "value"}`'),
        ("list", '`[{"name": "first"}]`'),
        ("other", '`""`'),
    ]


def test_comments_describe_the_values() -> None:
    """Comments before a key and on its line are used. Examples stay in values.yaml."""
    described = {each.path: each.description for each in chart_readme.documented(VALUES)}
    assert described["replicas"] == "What it is, in words of two lines. (one \\| two)"
    assert described["section.inner"] == "Such as; example in `values.yaml`"
    assert described["list"] == "Described."
    assert described["other"] == ""


def test_each_top_level_key_of_the_values_has_a_row() -> None:
    text = (chart_readme.CHART / "values.yaml").read_text("utf-8")
    rows = {each.path.partition(".")[0] for each in chart_readme.documented(text)}
    assert rows == set(yaml.safe_load(text))
