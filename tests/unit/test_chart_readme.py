"""The README of the Helm chart: its table of values is made from values.yaml."""

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
    """The committed page is what the values say now."""
    assert chart_readme.PAGE.read_text("utf-8") == chart_readme.page(), "run make generated"


def test_each_value_is_in_the_table() -> None:
    """With its default; sections are there if they are described."""
    assert [(each.path, each.default) for each in chart_readme.documented(VALUES)] == [
        ("replicas", "`1`"),
        ("section.inner", "`{}`"),
        ("section.annotations", '`{"made.up/key": "value"}`'),
        ("list", '`[{"name": "first"}]`'),
        ("other", '`""`'),
    ]


def test_comments_describe_the_values() -> None:
    """Those before a key and the one after it; an example is left to values.yaml."""
    described = {each.path: each.description for each in chart_readme.documented(VALUES)}
    assert described["replicas"] == "What it is, in words of two lines. (one \\| two)"
    assert described["section.inner"] == "Such as; example in `values.yaml`"
    assert described["list"] == "Described."
    assert described["other"] == ""


def test_no_value_of_the_chart_is_missing() -> None:
    """Each top-level key of values.yaml has a row."""
    text = (chart_readme.CHART / "values.yaml").read_text("utf-8")
    rows = {each.path.partition(".")[0] for each in chart_readme.documented(text)}
    assert rows == set(yaml.safe_load(text))
