"""Dataclasses as JSON, and back: what is read is checked against the types of the fields.

A type is a dataclass, a scalar, an enum, `tuple[X, ...]`, a tuple of fixed length, `X | None`, or
one of these in `Annotated` with `Within`. Readers are built once for each type, since a state file
may have tens of thousands of records.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cdi_exporter.model import Within

Value = TypeVar("Value")
Read = Callable[[object], Any]

_LIST, _OBJECT, _MISSING = "expected a list", "expected an object", "missing"


class _UnexpectedValue(ValueError):
    """A value that the type does not allow; shows where it is and what is expected instead."""

    def __init__(self, expected: str, path: str = "") -> None:
        super().__init__(f"{path}: {expected}" if path else expected)
        self.expected, self.path = expected, path

    def within(self, part: object) -> "_UnexpectedValue":
        """The same error as seen from the container of the value."""
        return _UnexpectedValue(self.expected, f"{part}.{self.path}" if self.path else str(part))


def to_json(value: Any) -> str:
    """One line; fields that have their default value are left out."""
    return json.dumps(value, default=_different_fields, ensure_ascii=False, separators=(",", ":"))


def from_json(kind: type[Value], text: str) -> Value:
    """The value of a text; raises ValueError, in one line, if the text has no such value."""
    try:
        data = json.loads(text)
    except RecursionError:
        message = "not valid JSON: nested too deeply"
        raise ValueError(message) from None
    except ValueError as error:
        message = f"not valid JSON: {getattr(error, 'msg', 'a number with too many digits')}"
        raise ValueError(message) from None
    read: Callable[[object], Value] = _reader(kind)  # type: ignore[arg-type]  # types are hashable
    return read(data)


def _different_fields(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    names, defaults, read = _attributes(kind)
    found = zip(names, read(value), defaults, strict=True)
    return {name: each for name, each, default in found if each is not default and each != default}


@cache
def _attributes(kind: type) -> tuple[tuple[str, ...], tuple[Any, ...], Callable[[Any], Any]]:
    """The names of a dataclass's fields, their defaults, and what reads all of them at once."""
    names = tuple(each.name for each in fields(kind))
    return names, tuple(each.default for each in fields(kind)), attrgetter(*names)


@cache
def _reader(kind: Any) -> Read:
    """What turns parsed JSON into a value of the type."""
    origin, parts = get_origin(kind), get_args(kind)
    if NoneType in parts:
        return _optional(_reader(next(each for each in parts if each is not NoneType)))
    if origin is Annotated:
        return _number(parts[0], next(each for each in parts if isinstance(each, Within)))
    if origin is tuple:
        return _sequence(_reader(parts[0])) if parts[1:] == (...,) else _fixed(parts)
    if is_dataclass(kind) and isinstance(kind, type):
        return _fields(kind)
    if issubclass(kind, Enum):
        return _member(kind)
    return _scalar(kind, "text" if kind is str else "true or false")


def _scalar(kind: type, name: str) -> Read:
    expected = f"expected {name}"

    def read(value: object) -> object:
        if type(value) is kind:
            return value
        raise _UnexpectedValue(expected)

    return read


def _number(kind: type[int] | type[float], bounds: Within) -> Read:
    """A number within bounds, which neither NaN nor infinity is."""
    least, most = bounds.least, bounds.most
    accepted = {int, kind}
    expected = f"expected a number from {least:g} to {most:g}"

    def read(value: Any) -> int | float:
        if type(value) in accepted and least <= value <= most:
            return kind(value)
        raise _UnexpectedValue(expected)

    return read


def _optional(inner: Read) -> Read:
    return lambda value: None if value is None else inner(value)


def _member(kind: type[Enum]) -> Read:
    members: dict[object, Enum] = {each.value: each for each in kind}
    expected = f"expected one of {', '.join(map(str, members))}"

    def read(value: object) -> Enum:
        if isinstance(value, str) and value in members:
            return members[value]
        raise _UnexpectedValue(expected)

    return read


def _sequence(inner: Read) -> Read:
    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _UnexpectedValue(_LIST)
        return tuple([_part(inner, each, place) for place, each in enumerate(value)])

    return read


def _fixed(kinds: tuple[Any, ...]) -> Read:
    readers = [_reader(each) for each in kinds]
    expected = f"expected a list of {len(readers)}"

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(readers):
            raise _UnexpectedValue(expected)
        pairs = zip(readers, value, strict=True)
        return tuple([_part(inner, each, place) for place, (inner, each) in enumerate(pairs)])

    return read


def _part(read: Read, value: object, place: object) -> Any:
    """A part of a value; an error names its place."""
    try:
        return read(value)
    except _UnexpectedValue as error:
        raise error.within(place) from None


def _fields(kind: type) -> Read:
    hints = get_type_hints(kind, include_extras=True)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}
    required = [each.name for each in fields(kind) if each.default is MISSING]

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise _UnexpectedValue(_OBJECT)
        for name in required:
            if name not in value:
                raise _UnexpectedValue(_MISSING, name)
        return kind(
            **{
                name: _part(readers[name], each, name)
                for name, each in value.items()
                if name in readers
            }
        )

    return read
