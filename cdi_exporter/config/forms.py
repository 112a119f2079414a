"""Reads the mappings of a YAML file and collects every error in them.

A dataclass lists the keys of one mapping. The annotation of each field names the form of its value:

    burst: Annotated[int, WHOLE_NUMBER] = 1
    '''Requests allowed at once.'''

A field without a default is a required key. The reference page and the JSON Schema of the
configuration are generated from the same fields and their docstrings.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
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
"""Replaces a value that has an error, after the error was collected."""

Values = dict[str, Any]
"""The values of one mapping by key. Keys without a value are left out."""

Sections = Sequence[tuple[str, type]]
"""The dataclass of each mapping of a file, by its key path. The whole file comes first."""


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of value is written, described and read."""

    kind: str
    """The name of this kind of value on the reference page."""
    expected: str
    """`expected …`: the end of the error for a missing value."""
    schema: Mapping[str, Any]
    """The JSON Schema of the value."""
    read: Callable[[object, KeyPath, "Reader"], Any]
    """Returns the value, or `INVALID` after collecting its errors."""


@cache
def keys_of(section: type) -> Mapping[str, Form]:
    """The keys of a mapping, in the order of the dataclass's fields.

    A field that can be set by one of several keys is annotated with a mapping of these.
    """
    keys: dict[str, Form] = {}
    hints = get_type_hints(section, include_extras=True)
    for each in fields(section):
        (form,) = hints[each.name].__metadata__
        keys |= {each.name: form} if isinstance(form, Form) else form
    return keys


@cache
def required_keys(section: type) -> Sequence[str]:
    """The keys that a mapping must have."""
    return [
        each.name
        for each in fields(section)
        if each.default is each.default_factory is MISSING and each.name in keys_of(section)
    ]


class Reader:
    """Reads one file and collects its errors.

    Environment variables are looked up in `environ`. Relative paths resolve against `directory`,
    the directory of the file.
    """

    def __init__(
        self, file: str, yaml: YamlData, sections: Sections, environ: Mapping[str, str]
    ) -> None:
        self.environ = environ
        self.directory = os.path.dirname(file)  # noqa: PTH120 -- keeps ""
        self._file, self.yaml, self._sections = file, yaml, sections
        self._mistakes: list[tuple[int, str]] = []
        for line, path, text in yaml.mistakes:
            self._add(line, path, text)

    def add(self, path: KeyPath, text: str) -> None:
        """Collect an error at a key, without showing its value."""
        self._add(self.yaml.line(path), path, text)

    def add_value(self, path: KeyPath, value: object, text: str) -> None:
        """Collect an error in a value, and show the value unless it may be a secret."""
        path = self.yaml.known(path)
        self.add(path, phrase(show_value(value, self.yaml.written.get(path)), text))

    def stop(self) -> None:
        """Raise ConfigError with all collected errors in the order of their lines, if any."""
        raise_mistakes((text for _, text in sorted(self._mistakes)), self.yaml.secrets)

    def _add(self, line: int, path: KeyPath, text: str) -> None:
        where = f"{self._file}:{line}" if line else self._file
        key = f"{show_path(path)}: " if path else ""
        self._mistakes.append((line, f"{where}: {key}{text}"))

    def mapping(self, section: type, value: object, path: KeyPath) -> Any:
        """The values of a mapping; unknown and missing keys have the value `INVALID`."""
        if not isinstance(value, dict):
            return self.wrong_kind(path, value, "expected a mapping")
        keys, required, values = keys_of(section), required_keys(section), Values()
        for name in value:
            if name not in keys:
                values[name] = INVALID
                self.add((*path, name), self._unknown(name, keys))
        for name, form in keys.items():
            if name in required and name not in value:
                values[name] = INVALID
                self.add((*path, name), f"missing; {form.expected}")
            elif name in required or value.get(name) is not None:
                values[name] = form.read(value[name], (*path, name), self)
        return values

    def wrong_kind(self, path: KeyPath, value: object, expected: str) -> Any:
        """Collect that a value is not the expected list or mapping. Returns `INVALID`."""
        self.add(path, phrase(show_kind(value), expected))
        return INVALID

    def attempt(self, read: Callable[[], Any], value: object, path: KeyPath) -> Any:
        """The result of `read`, or `INVALID` after collecting the ValueError that it raised."""
        try:
            return read()
        except RedactedError as error:
            self.add(self.yaml.known(path), str(error))
        except ValueError as error:
            self.add_value(path, value, str(error))
        return INVALID

    def _unknown(self, name: str, known: Mapping[str, Form]) -> str:
        """The error for an unknown key: it may be misspelt, or belong to another mapping."""
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).replace("-", "_").lower()
        for near in difflib.get_close_matches(snake, list(known), n=1):
            return f'unknown key; did you mean "{near}"?'
        for place, section in self._sections:
            if name in keys_of(section):
                where = f"under {place}" if place else "at the top of the file"
                return f"unknown key here; expected {where}"
        return f"unknown key; expected one of {', '.join(known)}"


def is_valid(value: object) -> bool:
    """Whether no part of a value is `INVALID`."""
    if isinstance(value, dict | list):
        return all(map(is_valid, value.values() if isinstance(value, dict) else value))
    return value is not INVALID


def scalar(
    parse: Callable[[object], Any], kind: str, expected: str, schema: Mapping[str, Any]
) -> Form:
    """The form of a single value. `parse` raises ValueError for a value with an error."""
    return Form(
        kind,
        expected,
        schema,
        lambda value, path, reader: reader.attempt(lambda: parse(value), value, path),
    )


def mapping_of(section: type) -> Form:
    """The form of a mapping whose keys are the fields of a dataclass."""
    return Form(
        "mapping",
        "expected a mapping",
        {"$ref": f"#/$defs/{section.__name__}"},
        lambda value, path, reader: reader.mapping(section, value, path),
    )


def list_of(item: Form, most: int | None = None, at_least_one: str = "") -> Form:
    """The form of a list. `at_least_one` is the error for an empty list, if that is an error."""

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
