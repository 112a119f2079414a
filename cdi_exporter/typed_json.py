"""Writes dataclasses as JSON and reads them back, with a check of all types.

A type is a dataclass, a scalar, an enum, `tuple[X, ...]`, a tuple of fixed length, `X | None`, or
`Annotated` with `Within`. The reader of each type is built only once, because a state file may have
tens of thousands of records.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from cdi_exporter.model import Within

Value = TypeVar("Value")
Read = Callable[[object], Any]

_LIST, _OBJECT, _MISSING = "expected a list", "expected an object", "missing"


class _UnexpectedValue(ValueError):
    """A value that its type does not allow. The message has its path and what is expected."""

    def __init__(self, expected: str, path: str = "") -> None:
        super().__init__(f"{path}: {expected}" if path else expected)
        self.expected, self.path = expected, path

    def within(self, part: object) -> "_UnexpectedValue":
        """The same error with a path that starts at the container of the value."""
        return _UnexpectedValue(self.expected, f"{part}.{self.path}" if self.path else str(part))


def to_json(value: Any) -> str:
    """A dataclass as one line of JSON, without the fields that have their default value."""
    return json.dumps(value, default=_different_fields, ensure_ascii=False, separators=(",", ":"))


def from_json(kind: type[Value], text: str) -> Value:
    """Parse a JSON text into a value of type `kind`. Raises ValueError with a one-line message."""
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
    """The names and defaults of a dataclass's fields, and a function that returns their values."""
    names = tuple(each.name for each in fields(kind))
    return names, tuple(each.default for each in fields(kind)), attrgetter(*names)


@cache
def _reader(kind: Any) -> Read:
    """A function that converts parsed JSON to a value of the type."""
    origin, parts = get_origin(kind), get_args(kind)
    if NoneType in parts:
        return partial(_optional, _reader(next(each for each in parts if each is not NoneType)))
    if origin is Annotated:
        return partial(_number, parts[0], next(each for each in parts if isinstance(each, Within)))
    if origin is tuple:
        readers = [_reader(each) for each in parts if each is not ...]
        return partial(_list, readers[0]) if ... in parts else partial(_fixed, readers)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind, include_extras=True)
        by_name = {each.name: _reader(hints[each.name]) for each in fields(kind)}
        required = [each.name for each in fields(kind) if each.default is MISSING]
        return partial(_dataclass, kind, by_name, required)
    if issubclass(kind, Enum):
        return partial(_enum, {each.value: each for each in kind})
    return partial(_scalar, kind)


def _optional(read: Read, value: object) -> Any:
    return None if value is None else read(value)


def _scalar(kind: type, value: object) -> object:
    if type(value) is kind:
        return value
    raise _UnexpectedValue("expected text" if kind is str else "expected true or false")


def _number(kind: type[int] | type[float], bounds: Within, value: Any) -> int | float:
    """A number within bounds, which excludes NaN and infinity."""
    if (type(value) is kind or type(value) is int) and bounds.least <= value <= bounds.most:
        return kind(value)
    message = f"expected a number from {bounds.least:g} to {bounds.most:g}"
    raise _UnexpectedValue(message)


def _enum(members: dict[object, Enum], value: object) -> Enum:
    if isinstance(value, str) and value in members:
        return members[value]
    message = f"expected one of {', '.join(map(str, members))}"
    raise _UnexpectedValue(message)


def _list(read: Read, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _UnexpectedValue(_LIST)
    return tuple([_part(read, each, place) for place, each in enumerate(value)])


def _fixed(readers: list[Read], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != len(readers):
        message = f"expected a list of {len(readers)}"
        raise _UnexpectedValue(message)
    pairs = zip(readers, value, strict=True)
    return tuple([_part(read, each, place) for place, (read, each) in enumerate(pairs)])


def _dataclass(kind: type, readers: dict[str, Read], required: list[str], value: object) -> object:
    if not isinstance(value, dict):
        raise _UnexpectedValue(_OBJECT)
    for name in required:
        if name not in value:
            raise _UnexpectedValue(_MISSING, name)
    known = [name for name in value if name in readers]
    return kind(**{name: _part(readers[name], value[name], name) for name in known})


def _part(read: Read, value: object, place: object) -> Any:
    """A part of a value. If it is invalid, its place is added to the path of the error."""
    try:
        return read(value)
    except _UnexpectedValue as error:
        raise error.within(place) from None
