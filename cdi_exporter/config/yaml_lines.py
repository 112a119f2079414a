"""A YAML file as plain data, with the line of each key."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from cdi_exporter.files import read_plain, read_within

KeyPath = tuple[str | int, ...]
"""Where a value is: the keys and indices that lead to it."""

MOST_BYTES = 2**20
"""10,000 integrations that are named with ID and name take less. PyYAML needs seconds for it."""

MOST_NODES = 100_000
"""Nodes with those that aliases repeat: a file that multiplies itself ends here, as does one of
many tiny values, which would take long to parse. A configuration of 1 MiB has fewer."""

LONGEST_NUMBER = 100
"""Characters of a number or a truth value: YAML 1.1 has forms whose conversion takes long."""

DEEPEST = 20
_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_READABLE = {_TAG + kind for kind in ("null", "bool", "int", "float")}
_DATE = _TAG + "timestamp"
_AS_TEXT = {_TAG + kind for kind in ("str", "value", "merge")}

DATE = object()
"""What YAML 1.1 reads as a date, such as `2026-01-01`; no value of ours is one."""

_CONTENT = re.compile(r"'(?!<)[^']{2,}'|\"[^\"]{2,}\"")
_SECRET_NAME = re.compile(r"key|passw|pwd|token|secret|credential|auth", re.IGNORECASE)
_NAMES_A_PLACE = ("api_key_file", "api_key_env")
"""Keys whose value says where a secret is: paths and names of variables are no secrets."""


def about_keys(path: KeyPath) -> bool:
    """Whether the value at the path may be an API key, or another secret."""
    return any(
        _SECRET_NAME.search(part) and part not in _NAMES_A_PLACE
        for part in path
        if isinstance(part, str)
    )


@dataclass
class YamlData:
    """The content of a file.

    `mistakes` has (line, path, text), line 0 for the file as a whole; after one that ends the
    reading (`broken`) there is no data. `secrets` has the texts at paths of secrets.
    """

    data: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    written: dict[KeyPath, str] = field(default_factory=dict)
    """How the values are written that are plain but not text."""
    mistakes: list[tuple[int, KeyPath, str]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    broken: bool = False

    def known(self, path: KeyPath) -> KeyPath:
        """The path, or the nearest one above it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return path

    def line(self, path: KeyPath) -> int:
        """The line of a path, or of the nearest one above it."""
        return self.lines.get(self.known(path), 1)


def read_content(path: str) -> bytes:
    """The first bytes of a file, one more than a configuration may have. Raises OSError."""
    return read_within(lambda: read_plain(path, MOST_BYTES + 1))


def read_yaml(
    path: str,
    *,
    is_secret: Callable[[KeyPath], bool] = about_keys,
    toolkit: bool = False,
    read: Callable[[str], bytes] = read_content,
) -> YamlData:
    """Read a file; its errors as YAML are in `mistakes`.

    `is_secret` says whether the text at a path is a secret. The exporter-toolkit takes a key
    such as `1` or `yes` as text, and ignores further documents; by default both are errors.
    """
    try:
        content = read(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return _broken(0, f"cannot be read ({reason}); expected a YAML file")
    except ValueError:
        return _broken(0, "cannot be read (no possible file name); expected a YAML file")
    if len(content) > MOST_BYTES:
        return _broken(0, f"is too large; expected at most {MOST_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _broken(line, "bytes that are not UTF-8; expected a YAML file in UTF-8")
    return parse_yaml(text, is_secret=is_secret, toolkit=toolkit)


def parse_yaml(
    text: str, *, is_secret: Callable[[KeyPath], bool] = about_keys, toolkit: bool = False
) -> YamlData:
    """Parse YAML text; see `read_yaml`."""
    try:
        return _Loader(text, is_secret, toolkit=toolkit).read_document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _broken(mark.line + 1 if mark else 1, _explain(error, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"a character U+{error.character:04X}"
        return _broken(line, f"{character}; expected text without control characters")
    except RecursionError:
        return _broken(1, _ENDLESS)


_TOO_MANY = f"too many values, or repeated too often; expected at most {MOST_NODES:,}"
_ENDLESS = "nested or repeated too often; expected the few levels of a configuration"


def _broken(line: int, text: str) -> YamlData:
    return YamlData(mistakes=[(line, (), text)], broken=True)


def _explain(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong, without the parts of the file that YAML's messages quote."""
    problem = error.problem or "it cannot be read"
    hint = _hint(error, problem, text)
    if hint is not None:
        return hint
    if problem in (_ENDLESS, _TOO_MANY):
        return problem
    if "another document" in problem:
        return 'a second document starts here ("---"); expected one'
    if r"'\t'" in problem:
        return "a tab; expected spaces (YAML does not allow tabs for indentation)"
    if problem == "second occurrence":
        return "an anchor that is already used in this file; expected another name"
    if error.context and error.context_mark:
        problem += f" ({error.context} that starts in line {error.context_mark.line + 1})"
    return f"not valid YAML: {_CONTENT.sub('…', problem)}"


def _hint(error: yaml.MarkedYAMLError, problem: str, text: str) -> str | None:
    """What was probably meant where YAML's own message does not lead to it."""
    if "undefined alias" in problem or "scanning an alias" in (error.context or ""):
        return 'an alias without its anchor; a value that begins with * needs quotes: expected "*…"'
    if "mapping values are not allowed" in problem and error.problem_mark:
        line = _line_without_space(text.splitlines()[: error.problem_mark.line + 1])
        if line is not None:
            return f"not valid YAML: is a space missing after the colon in line {line}?"
    return None


def _line_without_space(lines: list[str]) -> int | None:
    """The number of the last line with text right after a colon, of the last two with text."""
    written = [number for number, line in enumerate(lines, 1) if line.strip()]
    for number in reversed(written[-2:]):
        if re.match(r"[\s-]*\w+:[^\s:/]", lines[number - 1]):
            return number
    return None


class _Loader(yaml.SafeLoader):
    """Reads the nodes of a document as plain data; each use of an alias is followed.

    The number of nodes is bounded, when they are composed and when they are followed.
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
        """Read the first document, or the only one. Raises yaml.YAMLError, RecursionError."""
        if self._toolkit:
            self.check_node()  # skips the start of the stream
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
            elif not self._is_text(key):
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

    def _is_text(self, key: yaml.Node) -> bool:
        if not isinstance(key, yaml.ScalarNode):
            return False
        return self._toolkit or key.tag in _AS_TEXT

    def _merge(self, node: yaml.Node, path: KeyPath, found: dict[str, Any]) -> None:
        """Add the keys of `<<` that the mapping itself does not have."""
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
