"""The README of the Helm chart: how to install and upgrade it, and a table of its values.

`python -m tools.chart_readme` writes it from `templates/` and from values.yaml, whose comments
describe the values.
"""

import json
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Template

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "cdi-exporter"
PAGE = CHART / "README.md"
TEMPLATE = Path(__file__).parent / "templates" / "chart_readme.md.j2"
LONGEST_DEFAULT = 60
"""A longer default value would make the table hard to read. It is in values.yaml."""

WHOLE = ("annotations", "securitycontext", "resources")
"""The ends of the names of maps whose keys Kubernetes defines, not the chart."""


class Value(NamedTuple):
    """A value of the chart, or a section of values, which has no default."""

    path: str
    default: str
    description: str


def shown(default: object) -> str:
    """A default value for the table."""
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see `values.yaml`"


def described(comment: list[str], after: str) -> str:
    """The description from the comment lines before a key and the comment after it.

    After a line that ends with a colon there is an example, which a table cannot show.
    """
    lines: list[str] = []
    for line in comment:
        lines.append(line)
        if line.endswith(":"):
            lines[-1] = f"{line[:-1]}; example in `values.yaml`"
            break
    if after:
        lines.append(f"({after})")
    return " ".join(lines).replace("|", "\\|")


def documented(text: str) -> Iterator[Value]:
    """The values in a values.yaml, in order.

    Sections are included only if they have a description.
    """
    values: Any = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    hidden: int | None = None
    for line in text.splitlines():
        words = line.strip()
        depth = (len(line) - len(line.lstrip())) // 2
        if words.startswith("#"):
            comment.append(words.removeprefix("#").strip())
            continue
        key, colon, rest = words.partition(":")
        if not colon or key.startswith("- ") or (hidden is not None and depth > hidden):
            comment = []
            continue
        path = [*path[:depth], key]
        default = reduce(getitem, path, values)
        whole = not isinstance(default, dict) or not default or key.lower().endswith(WHOLE)
        hidden = depth if whole else None
        description = described(comment, rest.partition(" # ")[2].strip())
        if whole or description:
            yield Value(".".join(path), shown(default) if whole else "", description)
        comment = []


def page() -> str:
    """The README."""
    rows = [
        f"| `{each.path}` | {each.default} | {each.description} |\n"
        for each in documented((CHART / "values.yaml").read_text("utf-8"))
    ]
    template = Template(TEMPLATE.read_text("utf-8"), keep_trailing_newline=True)
    text: str = template.render(table="| value | default | |\n|---|---|---|\n" + "".join(rows))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
