"""Writes `docs/configuration.md` and `docs/config.schema.json` from the code.

The keys and defaults come from `config.settings`, the flags from the commands, and the text from
`templates/`. Usage: `python -m tools.configuration_reference`.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from inspect import getdoc, getsource
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from jinja2 import Template

from cdi_exporter.cli import cli
from cdi_exporter.config import format_duration
from cdi_exporter.config.environment import VARIABLES
from cdi_exporter.config.forms import keys_of, required_keys
from cdi_exporter.config.settings import SECTIONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "configuration.md"
SCHEMA = DOCS / "config.schema.json"
TEMPLATES = Path(__file__).parent / "templates"
EXAMPLE = (TEMPLATES / "config.yml").read_text("utf-8")


def reference() -> str:
    """The text of the page."""
    source = (TEMPLATES / "configuration.md.j2").read_text("utf-8")
    template = Template(source, keep_trailing_newline=True)
    text: str = template.render(
        example=EXAMPLE,
        variables="".join(f"| `{name}` | {text} |\n" for name, text in VARIABLES.items()),
        tables="\n".join(_section(place, section) for place, section in SECTIONS),
        commands="\n".join(_commands()),
    )
    return text


def _section(place: str, section: type) -> str:
    """The keys of a section of the file."""
    lines = [f"### `{place}`", "", " ".join((section.__doc__ or "").split()), ""]
    if not place:
        lines = ["### Top of the file", ""]
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    described, defaults = descriptions(section), _defaults(section)
    for name, form in keys_of(section).items():
        default = f"`{defaults[name]}`" if name in defaults else ""
        default = "required" if name in required_keys(section) else default
        lines.append(f"| `{name}` | {form.kind} | {default} | {described[name]} |")
    return "\n".join([*lines, ""])


def descriptions(section: type) -> dict[str, str]:
    """The description of each key of a section.

    It is the docstring of the field. A field with several keys has it in the schema of each key.
    """
    found = {name: form.schema.get("description", "") for name, form in keys_of(section).items()}
    (definition,) = ast.parse(getsource(section)).body
    for field, docstring in pairwise(ast.iter_child_nodes(definition)):
        match field, docstring:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found


def _defaults(section: type) -> dict[str, object]:
    """The default of each key that has one, as a user would write it in the file."""
    found: dict[str, object] = {}
    forms = keys_of(section)
    for each in fields(section):
        if each.name not in forms:
            continue
        kind = forms[each.name].kind
        if kind.startswith("`auto`"):
            found[each.name] = "auto"
        elif kind == "duration" and isinstance(each.default, float):
            found[each.name] = format_duration(each.default)
        elif isinstance(each.default, str | int | float):
            found[each.name] = each.default
    return found


def _commands() -> Iterator[str]:
    """A section for each command. Flags that equal those of an earlier command are only named."""
    shown: dict[str, str] = {}
    for name, command in cli.every_command().items():
        params = (each for each in command.params if isinstance(each, click.Option))
        rows = {each.opts[0]: _flag(each) for each in params if each.envvar}
        yield f"### `{name}`\n\n{command.get_short_help_str(200)}\n"
        new = [row for flag, row in rows.items() if shown.get(flag) != row]
        if new:
            head = ["| flag | environment variable | default | |", "|---|---|---|---|"]
            yield "\n".join([*head, *new, ""])
        same = [f"`{flag}`" for flag, row in rows.items() if shown.get(flag) == row]
        if same:
            yield f"And as above: {', '.join(same)}.\n"
        shown |= rows


def _flag(option: click.Option) -> str:
    """A row of the table of flags."""
    text = option.help or ""
    if isinstance(option.type, click.Choice):
        text += f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
    if option.multiple:
        text += " In the variable with spaces between them."
    text = text.replace("|", "\\|")
    match option.to_info_dict()["default"]:
        case None:
            default = ""
        case bool() as on:
            default = "on" if on else "off"
        case list() | tuple() as several:
            default = ", ".join(f"`{each}`" for each in several)
        case value:
            default = f"`{value}`"
    return f"| `{option.opts[0]}` | `{option.envvar}` | {default} | {text} |"


def json_schema() -> dict[str, Any]:
    """The schema of the file, for editors. YAML is validated as the equivalent JSON."""
    file, *parts = (section for _, section in SECTIONS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {each.__name__: _object(each) for each in parts},
        **_object(file),
        "title": "cdi-exporter configuration",
    }


def _object(section: type) -> dict[str, Any]:
    forms, required = keys_of(section), required_keys(section)
    alternatives = forms.keys() - {each.name for each in fields(section)}
    one_of = [{"required": [name]} for name in forms if name in alternatives]
    described, defaults = descriptions(section), _defaults(section)
    properties = {}
    for name, form in forms.items():
        value: Mapping[str, Any] = form.schema
        if name not in required and name not in alternatives:
            value = {"anyOf": [form.schema, {"type": "null"}]}
        default = {"default": defaults[name]} if name in defaults else {}
        properties[name] = {"description": described[name], **value, **default}
    return {
        "type": "object",
        "additionalProperties": False,
        "description": getdoc(section),
        "properties": properties,
        "required": [*required],
        **({"oneOf": one_of} if one_of else {}),
    }


def schema() -> str:
    """The schema as it is written to its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the page and the schema."""
    PAGE.write_text(reference(), "utf-8")
    SCHEMA.write_text(schema(), "utf-8")


if __name__ == "__main__":
    main()
