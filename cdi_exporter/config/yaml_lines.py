"""Reads a YAML file as plain data, with the line number of each key."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from cdi_exporter.files import read_plain, read_within

KeyPath = tuple[str | int, ...]
"""The keys and indices that lead to a value."""

MOST_BYTES = 2**20
"""Enough for 10,000 integrations with ID and name. PyYAML needs seconds to parse as much."""

MOST_NODES = 100_000
"""Values, including those that aliases repeat. It bounds the time to read a file whose aliases
multiply, or that has many tiny values. A real configuration of 1 MiB has fewer."""

LONGEST_NUMBER = 100
"""Characters of a number or a boolean: converting some YAML 1.1 notations takes long."""

DEEPEST = 20
"""Levels of nesting: a configuration has 5."""

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_READABLE = {_TAG + kind for kind in ("null", "bool", "int", "float")}
_DATE = _TAG + "timestamp"
_AS_TEXT = {_TAG + kind for kind in ("str", "value", "merge")}

DATE = object()
"""Replaces a YAML 1.1 date such as `2026-01-01`, which is not a valid value of any key."""

_CONTENT = re.compile(r"'(?!<)[^']{2,}'|\"[^\"]{2,}\"")
_SECRET_NAME = re.compile(r"key|passw|pwd|token|secret|credential|auth", re.IGNORECASE)
_NAMES_A_PLACE = ("api_key_file", "api_key_env")
"""Their values are a path and the name of a variable, which are not secrets."""


def about_keys(path: KeyPath) -> bool:
    """Whether the value at the path may be an API key or another secret."""
    return any(
        _SECRET_NAME.search(part) and part not in _NAMES_A_PLACE
        for part in path
        if isinstance(part, str)
    )


@dataclass
class YamlData:
    """The content of a YAML file, and its errors."""

    data: Any = None
    """None if the file is empty, or if an error ended the reading."""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    """The text in the file of each value that is a number, a boolean, a date or null."""
    mistakes: list[tuple[int, KeyPath, str]] = field(default_factory=list)
    """Line, path and text of each error. Line 0 is the file as a whole."""
    secrets: set[str] = field(default_factory=set)
    """The texts at the paths of secrets."""

    def known(self, path: KeyPath) -> KeyPath:
        """The path, or its nearest parent that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return path

    def line(self, path: KeyPath) -> int:
        """The line number of a path, or of its nearest parent."""
        return self.lines.get(self.known(path), 1)


def read_content(path: str) -> bytes:
    """The content of a file, cut one byte after the longest allowed. Raises OSError."""
    return read_within(lambda: read_plain(path, MOST_BYTES + 1))


def read_yaml(
    path: str,
    *,
    is_secret: Callable[[KeyPath], bool] = about_keys,
    toolkit: bool = False,
    read: Callable[[str], bytes] = read_content,
) -> YamlData:
    """Read a YAML file. Its errors are in the result's `mistakes`.

    `is_secret` decides whether the text at a path is a secret. `toolkit` reads the file like
    Prometheus' exporter-toolkit: a key such as `1` or `yes` is text, and documents after the first
    are ignored. Otherwise both are errors.
    """
    try:
        content = read(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return _unreadable(0, f"cannot be read ({reason}); expected a YAML file")
    except ValueError:
        return _unreadable(0, "cannot be read (no possible file name); expected a YAML file")
    if len(content) > MOST_BYTES:
        return _unreadable(0, f"is too large; expected at most {MOST_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unreadable(line, "bytes that are not UTF-8; expected a YAML file in UTF-8")
    return _parse(text, is_secret, toolkit=toolkit)


def _parse(text: str, is_secret: Callable[[KeyPath], bool], *, toolkit: bool) -> YamlData:
    try:
        return _Loader(text, is_secret, toolkit=toolkit).read_document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _unreadable(mark.line + 1 if mark else 1, _explain(error, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"a character U+{error.character:04X}"
        return _unreadable(line, f"{character}; expected text without control characters")
    except RecursionError:
        return _unreadable(1, _ENDLESS)


_TOO_MANY = f"too many values, or repeated too often; expected at most {MOST_NODES:,}"
_ENDLESS = "nested or repeated too often; expected the few levels of a configuration"
_EXPLAINED = {
    _TOO_MANY: _TOO_MANY,
    _ENDLESS: _ENDLESS,
    "second occurrence": "an anchor that is already used in this file; expected another name",
}


def _unreadable(line: int, text: str) -> YamlData:
    return YamlData(mistakes=[(line, (), text)])


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """The error message for a YAML error, without the parts of the file that PyYAML quotes."""
    problem = error.problem or "it cannot be read"
    if "undefined alias" in problem or "scanning an alias" in (error.context or ""):
        return 'an alias without its anchor; a value that begins with * needs quotes: expected "*…"'
    if "mapping values are not allowed" in problem and error.problem_mark:
        line = _line_without_space(text.splitlines()[: error.problem_mark.line + 1])
        if line is not None:
            return f"not valid YAML: is a space missing after the colon in line {line}?"
    if problem in _EXPLAINED:
        return _EXPLAINED[problem]
    if "another document" in problem:
        return 'a second document starts here ("---"); expected one'
    if r"'\t'" in problem:
        return "a tab; expected spaces (YAML does not allow tabs for indentation)"
    if error.context and error.context_mark:
        problem += f" ({error.context} that starts in line {error.context_mark.line + 1})"
    return f"not valid YAML: {_CONTENT.sub('…', problem)}"


def _line_without_space(lines: list[str]) -> int | None:
    """The line, of the last two that are not blank, that has text right after a colon."""
    written = [number for number, line in enumerate(lines, 1) if line.strip()]
    for number in reversed(written[-2:]):
        if re.match(r"[\s-]*\w+:[^\s:/]", lines[number - 1]):
            return number
    return None


class _Loader(yaml.SafeLoader):
    """Reads the nodes of a document as plain data, and follows each use of an alias.

    The number of nodes is bounded twice: as PyYAML composes them, and as aliases are followed.
    """

    def __init__(self, text: str, is_secret: Callable[[KeyPath], bool], *, toolkit: bool) -> None:
        super().__init__(text)
        self._is_secret, self._toolkit = is_secret, toolkit
        self._yaml = YamlData()
        self._composed = self._followed = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._composed += 1
        if self._composed > MOST_NODES:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=_TOO_MANY, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def read_document(self) -> YamlData:
        """Read the document. Raises yaml.YAMLError or RecursionError."""
        if self._toolkit:
            self.check_node()  # skip the start of the stream
        root = self.get_node() if self._toolkit else self.get_single_node()
        if root is not None:
            self._yaml.data = self._read(root, ())
        return self._yaml

    def _follow(self, node: yaml.Node) -> None:
        self._followed += 1
        if self._followed > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=_TOO_MANY, problem_mark=node.start_mark)

    def _mistake(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self._yaml.mistakes.append((node.start_mark.line + 1, path, text))

    def _read(self, node: yaml.Node, path: KeyPath) -> Any:
        self._follow(node)
        if len(path) > DEEPEST:
            raise yaml.MarkedYAMLError(problem=_ENDLESS, problem_mark=node.start_mark)
        self._yaml.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._unknown_tag(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(each, (*path, i)) for i, each in enumerate(node.value)]
        return self._mapping(node, path)

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        if self._is_secret(path):
            self._yaml.secrets.add(node.value)
        if node.tag in _AS_TEXT:
            return node.value
        if node.tag not in (*_READABLE, _DATE):
            self._unknown_tag(node, path)
            return node.value
        self._yaml.written[path] = node.value
        if node.tag == _DATE:
            return DATE
        if len(node.value) > LONGEST_NUMBER:
            text = f"a number of more than {LONGEST_NUMBER} characters; expected a shorter one"
            self._mistake(node, path, text)
            return node.value
        try:
            return self.construct_object(node)
        except (ValueError, LookupError, ArithmeticError):
            self._mistake(node, path, "a value that does not match its tag; expected a plain value")
            return node.value

    def _unknown_tag(self, node: yaml.Node, path: KeyPath) -> None:
        self._mistake(node, path, "an unknown tag; expected plain YAML without tags")

    def _mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
            elif not isinstance(key, yaml.ScalarNode) or not (self._toolkit or key.tag in _AS_TEXT):
                self._mistake(key, path, "a key that is not text; expected text")
            elif key.value in found:
                where = (*path, key.value)
                first = self._yaml.lines[where]
                self._mistake(key, where, f"is already set in line {first}; expected each key once")
            else:
                where = (*path, key.value)
                self._yaml.lines[where] = key.start_mark.line + 1
                found[key.value] = self._read(value, where)
        for each in merged:
            self._merge(each, path, found)
        return found

    def _merge(self, node: yaml.Node, path: KeyPath, found: dict[str, Any]) -> None:
        """Add the keys of `<<` that are not in the mapping itself."""
        if not isinstance(node, yaml.MappingNode):
            self._mistake(node, path, '"<<" without a mapping; expected an alias of a mapping')
            return
        self._follow(node)
        rest = [
            (key, value)
            for key, value in node.value
            if not (isinstance(key, yaml.ScalarNode) and key.value in found)
        ]
        part = yaml.MappingNode(node.tag, rest, node.start_mark, node.end_mark)
        found.update(self._mapping(part, path))
