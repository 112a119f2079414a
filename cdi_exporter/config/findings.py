"""The mistakes of one file, gathered from all checks and told in the order of its lines."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from cdi_exporter.config.document import Document
from cdi_exporter.config.mistakes import (
    KeyPath,
    Unshown,
    raise_mistakes,
    show_kind,
    show_path,
    show_value,
    stood,
)
from cdi_exporter.config.schema import SECTIONS, Form, Section

_STRUCTURE = {
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
}

Sections = Sequence[tuple[str, type[Section]]]
"""The sections of a file by their key paths, the file itself first."""


class Findings:
    """What is wrong with one file, whose keys `sections` has."""

    def __init__(self, file: str, document: Document, sections: Sections = SECTIONS) -> None:
        self._file, self._document = file, document
        self._keys = _Keys(sections)
        self._lines = [self._line(*mistake) for mistake in document.mistakes]

    def add(self, path: KeyPath, text: str) -> None:
        """A mistake at a key, in words that need no value."""
        place = f"{show_path(path)}: " if path else ""
        self._lines.append(self._line(self.line(path), place + text))

    def add_value(self, path: KeyPath, value: object, text: str) -> None:
        """A mistake in a value, which is shown where it can be."""
        path = self._document.known(path)
        self.add(path, stood(show_value(value, self._document.place(path).written), text))

    def add_invalid(self, error: ValidationError) -> None:
        """What the check of the single values found."""
        for each in error.errors(include_url=False):
            self._add_error(each["loc"], each["type"], each["input"], each.get("ctx", {}))

    def line(self, path: KeyPath) -> int:
        """The line on which a key stands."""
        return self._document.place(path).line

    def stop(self) -> None:
        """Raise ConfigError where there are any."""
        raise_mistakes((text for _, text in sorted(self._lines)), self._document.secrets)

    def _line(self, line: int, text: str) -> tuple[int, str]:
        return line, f"{self._file}:{line}: {text}" if line else f"{self._file}: {text}"

    def _add_error(self, path: KeyPath, kind: str, value: object, context: dict[str, Any]) -> None:
        if kind == "extra_forbidden":
            self.add(path, self._keys.unknown(path))
        elif kind == "missing":
            self.add(path, f"missing; {self._keys.expected(path)}")
        elif kind == "value_error" and isinstance(context["error"], Unshown):
            self.add(self._document.known(path), str(context["error"]))
        elif kind == "value_error":
            self.add_value(path, value, str(context["error"]))
        else:
            expected = _STRUCTURE.get(kind) or self._keys.expected(path)
            self.add(path, stood(show_kind(value), expected))


class _Keys:
    """What may stand in a file."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._below = {
            place.rpartition(".")[2].removesuffix("[]"): section for place, section in sections
        }

    def expected(self, path: KeyPath) -> str:
        """What is expected at a key."""
        field = self._section(path[:-1]).model_fields.get(str(path[-1]))
        forms = [each for each in (field.metadata if field else ()) if isinstance(each, Form)]
        return forms[0].expected if forms else "expected a value"

    def unknown(self, path: KeyPath) -> str:
        """What the user may have meant: a known key of this level, or one of another level."""
        key = str(path[-1])
        known = list(self._section(path[:-1]).model_fields)
        near = _nearest(key, known)
        if near:
            return f'unknown key; did you mean "{near}"?'
        for place, section in self._sections:
            if key in section.model_fields:
                return f"unknown key here; expected {_where(place)}"
        return f"unknown key; expected one of {', '.join(known)}"

    def _section(self, path: KeyPath) -> type[Section]:
        """The section that a key path leads to."""
        section = self._sections[0][1]
        for part in path:
            if isinstance(part, str):
                section = self._below.get(part, section)
        return section


def _where(place: str) -> str:
    return f"under {place}" if place else "at the top of the file"


def _nearest(key: str, known: Iterable[str]) -> str | None:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).replace("-", "_").lower()
    return next(iter(difflib.get_close_matches(snake, list(known), n=1)), None)
