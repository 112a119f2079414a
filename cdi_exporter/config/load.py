"""What the user wrote → settings; every mistake in one go, one line each."""

import difflib
import math
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cdi_exporter.config.document import Document, KeyPath, read_document, show_path
from cdi_exporter.config.schema import (
    File,
    IntegrationSection,
    RateLimitsSection,
    RefreshSection,
    StaleAfterSection,
    WorkspaceSection,
    check_endpoint,
    check_integration_id,
)
from cdi_exporter.config.secret import (
    FileKey,
    InlineKey,
    KeyMistake,
    KeySource,
    key_from_environment,
)
from cdi_exporter.config.settings import (
    ConfiguredIntegration,
    RateLimits,
    Refresh,
    Settings,
    StaleAfter,
    WorkspaceConfig,
)
from cdi_exporter.errors import ConfigError

KEY_SOURCES = ("api_key", "api_key_env", "api_key_file")
_UNSHOWN = {"api_key", "api_key_env", "api_key_file"}
"""Keys whose value could be a secret that was put into the wrong place."""

LONGEST_SHOWN = 60
Value = TypeVar("Value")


def load_file(path: str, environ: Mapping[str, str]) -> Settings:
    """The settings of a YAML file; raises ConfigError with a line for each mistake."""
    document = read_document(path)
    found = _Mistakes(path, document)
    if document.mistakes:
        for line, text in document.mistakes:
            found.at_line(line, text)
        found.stop()
    data = document.data
    if not isinstance(data, dict):
        found.add((), None, "expected a mapping with the key workspaces", show=False)
        found.stop()
    file = _validate(data, found)
    keys = _keys(data, found, environ)
    _check_unique(data, found)
    _check_budgets(data, found)
    _check_ca_files(data, found)
    found.stop()
    if file is None:  # pragma: no cover -- an invalid file has mistakes
        raise ConfigError([f"{path}: not valid"])
    return Settings(
        tuple(
            _workspace(section, key, file.refresh)
            for section, key in zip(file.workspaces, keys, strict=True)
        )
    )


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings of the quick start, one workspace; raises ConfigError likewise."""
    mistakes: list[str] = []

    def attempt(name: str, read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except ValueError as error:
            mistakes.append(f"{name}: {error}")
            return None

    endpoint = attempt("BRAZE_REST_ENDPOINT", lambda: _endpoint_variable(environ))
    key = attempt("BRAZE_API_KEY", lambda: _key_variable(environ))
    ids = [part.strip() for part in environ.get("BRAZE_INTEGRATION_IDS", "").split(",")]
    integrations = attempt(
        "BRAZE_INTEGRATION_IDS",
        lambda: tuple(
            ConfiguredIntegration(check_integration_id(each)) for each in dict.fromkeys(ids) if each
        ),
    )
    name = environ.get("BRAZE_WORKSPACE", "").strip() or "default"
    if not name.isprintable():
        mistakes.append("BRAZE_WORKSPACE: expected text without control characters")
    if mistakes or endpoint is None or key is None:
        raise ConfigError(mistakes)
    return Settings((WorkspaceConfig(name, endpoint, key, integrations=integrations or None),))


def _endpoint_variable(environ: Mapping[str, str]) -> str:
    text = environ.get("BRAZE_REST_ENDPOINT", "")
    if not text.strip():
        msg = (
            "not set; expected the REST endpoint of the workspace, such as rest.iad-03.braze.com "
            "(or name a configuration with --config.file, or look around with: cdi-exporter demo)"
        )
        raise ValueError(msg)
    try:
        return check_endpoint(text)
    except ValueError as error:
        msg = _stood(_shown(text), str(error))
        raise ValueError(msg) from error


def _key_variable(environ: Mapping[str, str]) -> KeySource:
    key, path = environ.get("BRAZE_API_KEY", ""), environ.get("BRAZE_API_KEY_FILE", "")
    if key.strip() and path:
        msg = "set together with BRAZE_API_KEY_FILE; expected one of the two"
        raise ValueError(msg)
    if path:
        try:
            return FileKey(path)
        except KeyMistake as error:
            msg = f"BRAZE_API_KEY_FILE names a file: {error}"
            raise ValueError(msg) from error
    if not key.strip():
        msg = "not set; expected a REST API key with the permissions cdi.integration_list and "
        raise ValueError(msg + "cdi.integration_job_status (or its file in BRAZE_API_KEY_FILE)")
    return InlineKey(key)


class _Mistakes:
    """Lines of the form `config.yml:12: workspaces[1].endpoint: "…" is …; expected …`."""

    def __init__(self, path: str, document: Document) -> None:
        self._path, self._document = path, document
        self._lines: list[tuple[int, str]] = []

    def at_line(self, line: int, text: str) -> None:
        self._lines.append(
            (line, f"{self._path}:{line}: {text}" if line else f"{self._path}: {text}")
        )

    def add(self, path: KeyPath, value: object, text: str, *, show: bool = True) -> None:
        """A mistake at a key; its value is shown unless it could be a secret."""
        hidden = not show or any(part in _UNSHOWN for part in path)
        place = f"{show_path(path)}: " if path else ""
        shown = "" if hidden else _shown(value)
        self.at_line(self._document.line(path), place + _stood(shown, text))

    def line(self, path: KeyPath) -> int:
        return self._document.line(path)

    def stop(self) -> None:
        """Raise ConfigError where there are any."""
        if self._lines:
            raise ConfigError([text for _, text in sorted(dict.fromkeys(self._lines))])


def _stood(shown: str, text: str) -> str:
    """What stood there and what is wrong with it, as one phrase."""
    if not shown:
        return text
    return f"{shown}; {text}" if text.startswith("expected") else f"{shown} {text}"


def _shown(value: object) -> str:
    """The value in quotes, where it is a short plain one that holds no credentials."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return str(value) if len(str(value)) <= LONGEST_SHOWN else ""
    if not isinstance(value, str) or "@" in value or "?" in value or not value.isprintable():
        return ""
    return f'"{value}"' if len(value) <= LONGEST_SHOWN else ""


def _validate(data: dict[str, Any], found: _Mistakes) -> File | None:
    try:
        return File.model_validate(data)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=True):
            _report(each["loc"], each["type"], each["msg"], each["input"], found)
        return None


def _report(path: KeyPath, kind: str, message: str, value: object, found: _Mistakes) -> None:
    if kind == "extra_forbidden":
        found.add(path, None, _unknown_key(path), show=False)
    elif kind == "missing":
        found.add(path, None, f"missing; expected {_description(path)}", show=False)
    elif kind == "value_error":
        found.add(path, value, message.removeprefix("Value error, "))
    else:
        found.add(path, value, _EXPECTED.get(kind, f"expected {_description(path)}"))


_EXPECTED = {
    "list_type": "expected a list",
    "too_short": "expected at least one",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dict_type": "expected a mapping",
}


def _unknown_key(path: KeyPath) -> str:
    known = list(_section(path[:-1]).model_fields)
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(known)}"
    return f"unknown key; {hint}"


def _section(path: KeyPath) -> type[BaseModel]:
    """The section that a key path leads to."""
    section: type[BaseModel] = File
    rooms: dict[str, type[BaseModel]] = {
        "refresh": RefreshSection,
        "workspaces": WorkspaceSection,
        "integrations": IntegrationSection,
        "stale_after": StaleAfterSection,
        "rate_limits": RateLimitsSection,
    }
    for part in path:
        if isinstance(part, str):
            section = rooms.get(part, section)
    return section


def _description(path: KeyPath) -> str:
    field = _section(path[:-1]).model_fields.get(str(path[-1]))
    text = (field.description if field else None) or "something else"
    return text[0].lower() + text[1:].rstrip(".")


def _workspaces(data: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    sections = data.get("workspaces")
    for number, section in enumerate(sections if isinstance(sections, list) else ()):
        if isinstance(section, dict):
            yield number, section


def _keys(data: dict[str, Any], found: _Mistakes, environ: Mapping[str, str]) -> list[KeySource]:
    """The key of each workspace, read once to see that it is there."""
    keys = []
    for number, section in _workspaces(data):
        place: KeyPath = ("workspaces", number)
        sources = [source for source in KEY_SOURCES if section.get(source) is not None]
        if len(sources) != 1:
            said = " and ".join(sources) if sources else "no key"
            found.add(place, None, f"{said}; expected one of {', '.join(KEY_SOURCES)}", show=False)
            continue
        (source,) = sources
        try:
            keys.append(_key(source, section[source], environ))
        except KeyMistake as error:
            found.add((*place, source), None, str(error), show=False)
    return keys


def _key(source: str, value: object, environ: Mapping[str, str]) -> KeySource:
    if not isinstance(value, str) or not value.strip():
        msg = "expected text; put it into quotes"
        raise KeyMistake(msg)
    if source == "api_key_file":
        return FileKey(value)
    return key_from_environment(value, environ) if source == "api_key_env" else InlineKey(value)


def _check_unique(data: dict[str, Any], found: _Mistakes) -> None:
    names: dict[object, KeyPath] = {}
    for number, section in _workspaces(data):
        path: KeyPath = ("workspaces", number, "name")
        _check_new(section.get("name"), path, names, found)
        ids: dict[object, KeyPath] = {}
        listed = section.get("integrations")
        for index, each in enumerate(listed if isinstance(listed, list) else ()):
            where: KeyPath = ("workspaces", number, "integrations", index)
            identifier = each.get("id") if isinstance(each, dict) else each
            _check_new(identifier, where, ids, found)


def _check_new(
    value: object, path: KeyPath, known: dict[object, KeyPath], found: _Mistakes
) -> None:
    if not isinstance(value, str):
        return
    if value in known:
        first = found.line(known[value])
        found.add(path, value, f"stands in line {first} already; expected once")
    known.setdefault(value, path)


def _check_budgets(data: dict[str, Any], found: _Mistakes) -> None:
    """Whether `share x limit` lets at least one request a minute through."""
    for number, section in _workspaces(data):
        try:
            refresh = _refresh(
                *(
                    RefreshSection.model_validate(part) if isinstance(part, dict) else None
                    for part in (section.get("refresh"), data.get("refresh"))
                )
            )
        except ValidationError:
            continue
        limits = {
            "integrations": refresh.rate_limits.integrations,
            "job_sync_status": refresh.rate_limits.job_sync_status,
        }
        for endpoint, limit in limits.items():
            if math.floor(round(refresh.rate_limit_share * limit, 9)) < 1:
                found.add(
                    ("workspaces", number),
                    None,
                    f"rate_limit_share {refresh.rate_limit_share:g} of {limit} requests per minute "
                    f"({endpoint}) allows none; expected at least one",
                    show=False,
                )


def _check_ca_files(data: dict[str, Any], found: _Mistakes) -> None:
    for number, section in _workspaces(data):
        path = section.get("ca_file")
        if isinstance(path, str) and path.strip():
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                reason = "holds no certificates" if isinstance(error, ssl.SSLError) else ""
                found.add(
                    ("workspaces", number, "ca_file"),
                    path,
                    reason or f"cannot be read: {error.strerror}",
                )


def _refresh(own: RefreshSection | None, common: RefreshSection | None) -> Refresh:
    """The workspace's own settings over the common ones over the defaults."""
    said: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for section in (common, own):
        if section is not None:
            told = section.model_dump(exclude_none=True)
            limits |= told.pop("rate_limits", {})
            said |= told
    return Refresh(**said, rate_limits=RateLimits(**limits))


def _workspace(
    section: WorkspaceSection, key: KeySource, common: RefreshSection | None
) -> WorkspaceConfig:
    listed = section.integrations
    return WorkspaceConfig(
        name=section.name,
        endpoint=section.endpoint,
        key=key,
        integrations=None
        if listed is None
        else tuple(ConfiguredIntegration(each.id, each.name) for each in listed),
        include=tuple(section.include or ()),
        exclude=tuple(section.exclude or ()),
        stale_after=tuple(
            StaleAfter(rule.match, None if math.isinf(rule.after) else rule.after)
            for rule in section.stale_after or ()
        ),
        ca_file=section.ca_file,
        refresh=_refresh(section.refresh, common),
    )
