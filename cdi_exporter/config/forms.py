"""How the mappings of a YAML file are read: dataclasses whose fields name the form of their value.

    burst: Annotated[int, Key(WHOLE_NUMBER, "Requests at once.")] = 1

A field without a default is a required key. The reference page and the JSON Schema of the
configuration are made from the same fields.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from typing import Any, get_type_hints

from cdi_exporter.config.mistakes import (
    RedactedError,
    phrase,
    raise_mistakes,
    show_kind,
    show_path,
    show_value,
)
from cdi_exporter.config.yaml_lines import KeyPath, YamlData

INVALID: Any = object()
"""Stands for a value in which something is wrong, which has been collected."""

Values = dict[str, Any]
"""The keys of one mapping; those without a value are left out."""

Sections = Sequence[tuple[str, type]]
"""The dataclasses of a file by the key paths of their mappings, that of the file itself first."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written and read."""

    kind: str
    """As the reference page calls it."""
    expected: str
    """`expected …`, for a value that is missing."""
    schema: Mapping[str, Any]
    """As JSON Schema."""
    read: Callable[[object, KeyPath, "Reader"], Any]
    """Gives the value, or `INVALID` after collecting what is wrong."""
    show: Callable[[Any], object] = lambda value: value
    """A default as it would be written in the file."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping."""

    form: Form
    description: str = ""
    name: str = ""
    """If it is not that of the field: the field then has one of several keys."""
    example: str = ""
    required: bool = False
    default: object = None
    """As it would be written in the file; None if there is nothing to show."""


@cache
def keys_of(section: type) -> Mapping[str, Key]:
    """The keys of a mapping, in the order of the dataclass's fields."""
    hints = get_type_hints(section, include_extras=True)
    found = {}
    for each in fields(section):
        for key in getattr(hints[each.name], "__metadata__", ()):
            plain = isinstance(each.default, str | int | float | None)
            required = each.default is MISSING and each.default_factory is MISSING
            found[key.name or each.name] = replace(
                key,
                required=required and not key.name,
                default=key.form.show(each.default) if plain else None,
            )
    return found


class Reader:
    """Reads one file and collects everything that is wrong with it, in the order of its lines.

    `environ` is where variables are looked up; relative paths start at `directory`.
    """

    def __init__(
        self, file: str, yaml: YamlData, sections: Sections, environ: Mapping[str, str]
    ) -> None:
        self.environ = environ
        self.directory = os.path.dirname(file)  # noqa: PTH120 -- keeps ""
        self._file, self._yaml, self._sections = file, yaml, sections
        self._mistakes: list[tuple[int, str]] = []
        for line, path, text in yaml.mistakes:
            self._add(line, path, text)

    def add(self, path: KeyPath, text: str) -> None:
        """Collect an error at a key, without its value."""
        self._add(self.line(path), path, text)

    def add_value(self, path: KeyPath, value: object, text: str) -> None:
        """Collect an error in a value, which is shown if it may be."""
        path = self._yaml.known(path)
        self.add(path, phrase(show_value(value, self._yaml.written.get(path)), text))

    def line(self, path: KeyPath) -> int:
        """The line of a key."""
        return self._yaml.line(path)

    def stop(self) -> None:
        """Raise ConfigError if any errors were collected."""
        raise_mistakes((text for _, text in sorted(self._mistakes)), self._yaml.secrets)

    def _add(self, line: int, path: KeyPath, text: str) -> None:
        where = f"{self._file}:{line}" if line else self._file
        key = f"{show_path(path)}: " if path else ""
        self._mistakes.append((line, f"{where}: {key}{text}"))

    def mapping(self, section: type, value: object, path: KeyPath) -> Any:
        """The values of a mapping; `INVALID` also for each key that it must not have."""
        if not isinstance(value, dict):
            return self.wrong_kind(path, value, "expected a mapping")
        keys, values = keys_of(section), Values()
        for name in value:
            if name not in keys:
                values[name] = INVALID
                self.add((*path, name), self._unknown(name, keys))
        for name, key in keys.items():
            if key.required and name not in value:
                values[name] = INVALID
                self.add((*path, name), f"missing; {key.form.expected}")
            elif key.required or value.get(name) is not None:
                values[name] = key.form.read(value[name], (*path, name), self)
        return values

    def wrong_kind(self, path: KeyPath, value: object, expected: str) -> Any:
        """Collect that a value is no list, or no mapping."""
        self.add(path, phrase(show_kind(value), expected))
        return INVALID

    def attempt(self, read: Callable[[], Any], value: object, path: KeyPath) -> Any:
        """The result of a check of `values`, whose ValueError is collected."""
        try:
            return read()
        except RedactedError as error:
            self.add(self._yaml.known(path), str(error))
        except ValueError as error:
            self.add_value(path, value, str(error))
        return INVALID

    def _unknown(self, name: str, known: Mapping[str, Key]) -> str:
        """What the user may have meant: a known key of this level, or one of another level."""
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
        for near in difflib.get_close_matches(snake, list(known), n=1):
            return f'unknown key; did you mean "{near}"?'
        for place, section in self._sections:
            if name in keys_of(section):
                where = f"under {place}" if place else "at the top of the file"
                return f"unknown key here; expected {where}"
        return f"unknown key; expected one of {', '.join(known)}"


def is_valid(value: object) -> bool:
    """Whether nothing in a value is `INVALID`."""
    if isinstance(value, dict | list):
        return all(map(is_valid, value.values() if isinstance(value, dict) else value))
    return value is not INVALID


def scalar(
    parse: Callable[[object], Any],
    kind: str,
    expected: str,
    schema: Mapping[str, Any],
    show: Callable[[Any], object] = lambda value: value,
) -> Form:
    """The form of one value, whose check raises ValueError."""
    return Form(
        kind,
        expected,
        schema,
        lambda value, path, reader: reader.attempt(lambda: parse(value), value, path),
        show,
    )


def mapping_of(section: type) -> Form:
    """The form of a mapping."""
    return Form(
        "mapping",
        "expected a mapping",
        {"$ref": f"#/$defs/{section.__name__}"},
        lambda value, path, reader: reader.mapping(section, value, path),
    )


def list_of(item: Form, most: int | None = None, at_least_one: str = "") -> Form:
    """The form of a list; `at_least_one` is what is expected of one that must not be empty."""

    def read(value: object, path: KeyPath, reader: Reader) -> Any:
        if at_least_one and not (isinstance(value, list) and value):
            reader.add_value(path, value, at_least_one)
            return INVALID
        if not isinstance(value, list):
            return reader.wrong_kind(path, value, "expected a list")
        if most is not None and len(value) > most:
            reader.add_value(path, value, f"of {len(value):,}; expected at most {most:,}")
            return INVALID
        return [item.read(each, (*path, place), reader) for place, each in enumerate(value)]

    bounds = {"minItems": 1} if at_least_one else {}
    bounds |= {"maxItems": most} if most is not None else {}
    schema = {"type": "array", "items": item.schema, **bounds}
    kind = "list" if at_least_one else f"list of {item.kind}s"
    return Form(kind, at_least_one or "expected a list", schema, read)
