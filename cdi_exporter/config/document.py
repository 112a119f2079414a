"""A YAML file as plain data, with the line on which each key stands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
MOST_NODES = 100_000
DEEPEST = 30


@dataclass
class Document:
    """What a file holds; `lines` has the line of each key path, `mistakes` (line, text)."""

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    mistakes: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the nearest one above it."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)


def show_path(path: KeyPath) -> str:
    """`workspaces[1].endpoint`."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown


def read_document(path: str) -> Document:
    """Read a file; what is wrong with it as YAML stands in `mistakes`."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        return Document(mistakes=[(0, f"cannot be read: {error.strerror or error}")])
    except ValueError as error:
        kind = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        return Document(mistakes=[(0, f"cannot be read: {kind}")])
    return parse_document(text)


def parse_document(text: str) -> Document:
    """Parse YAML text."""
    reader = _Reader()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            reader.document.data = reader.read(loader, node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.mistake(mark.line + 1 if mark else 1, f"is no YAML: {error.problem}")
    except yaml.YAMLError:
        reader.mistake(1, "is no YAML: it holds characters that YAML does not allow")
    except (ValueError, RecursionError):
        reader.mistake(1, "is no YAML that can be read")
    return reader.document


class _Reader:
    def __init__(self) -> None:
        self.document = Document()
        self._nodes = 0

    def mistake(self, line: int, text: str) -> None:
        self.document.mistakes.append((line, text))

    def read(self, loader: yaml.SafeLoader, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > MOST_NODES or len(path) > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem="it is nested or repeated without end", problem_mark=node.start_mark
            )
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(loader, each, (*path, i)) for i, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        return loader.construct_object(node)

    def _mapping(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: KeyPath
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = loader.construct_object(key_node) if isinstance(key_node, yaml.ScalarNode) else ()
            if not isinstance(key, str):
                self.mistake(line, f"{show_path(path) or 'top level'}: a key is no text")
            elif key in found:
                place = show_path((*path, key))
                self.mistake(
                    line,
                    f"{place}: stands twice, first in line {self.document.line((*path, key))}; "
                    "expected once",
                )
            else:
                self.document.lines[(*path, key)] = line
                found[key] = self.read(loader, value_node, (*path, key))
        return found


__all__ = ["Document", "KeyPath", "parse_document", "read_document", "show_path"]
