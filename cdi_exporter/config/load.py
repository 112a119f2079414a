"""Loads the settings from a YAML file, and reports all errors at once."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from cdi_exporter.config.forms import Reader, Values, is_valid
from cdi_exporter.config.mistakes import show_kind, show_path
from cdi_exporter.config.settings import (
    KEY_SOURCES,
    MOST_INTEGRATIONS,
    MOST_WORKSPACES,
    SECTIONS,
    ConfiguredIntegration,
    RateLimits,
    Refresh,
    Settings,
    StaleAfter,
    WorkspaceConfig,
)
from cdi_exporter.config.yaml_lines import KeyPath, read_yaml


def load_file(path: str, environ: Mapping[str, str]) -> Settings:
    """The settings of a YAML file. Raises ConfigError with one line per error.

    Environment variables are looked up in `environ`. Key files and CA files are read as well.
    """
    yaml = read_yaml(path)
    reader = Reader(path, yaml, SECTIONS, environ)
    data = yaml.data
    values: Values = {}
    if isinstance(data, dict):
        values = reader.mapping(Settings, data, ())
        _check_rules(data, values, reader)
    elif data is not None or not yaml.mistakes:
        what = "empty" if data is None else show_kind(data)
        reader.add((), f'{what}; expected a mapping with the key "workspaces"')
    reader.stop()
    common = values.get("refresh", {})
    workspaces = tuple(_workspace(each, common) for each in values["workspaces"])
    for number, workspace in enumerate(workspaces):
        if workspace.integrations == ():
            problem = "include and exclude leave out every integration; expected at least one"
            reader.add(("workspaces", number, "integrations"), problem)
    reader.stop()
    return Settings(workspaces, refresh=_refresh(common))


def _workspace(values: Values, common: Values) -> WorkspaceConfig:
    """A workspace from valid values, with the listed integrations that its patterns select."""
    stale_after = tuple(StaleAfter(**each) for each in values.pop("stale_after", ()))
    listed = values.pop("integrations", None)
    key = next(values.pop(each) for each in KEY_SOURCES if each in values)
    refresh = _refresh(common, values.pop("refresh", {}))
    patterns: Values = {each: tuple(values.pop(each, ())) for each in ("include", "exclude")}
    workspace = WorkspaceConfig(
        **values, **patterns, key=key, stale_after=stale_after, refresh=refresh
    )
    if listed is None:
        return workspace
    named = (ConfiguredIntegration(**each) for each in listed)
    selected = tuple(each for each in named if workspace.selects(each.id, each.name))
    return replace(workspace, integrations=selected)


def _refresh(*sections: Values) -> Refresh:
    """The merged sections: later ones override earlier ones, and these the defaults, by key."""
    merged: Values = {}
    limits: Values = {}
    for section in sections:
        limits |= section.get("rate_limits", {})
        merged |= section
    return Refresh(**merged | {"rate_limits": RateLimits(**limits)})


def _check_rules(data: Values, values: Values, reader: Reader) -> None:
    """Check the rules between several values.

    They are checked even if single values have errors, so that all errors are reported together.
    """
    names: list[tuple[KeyPath, object]] = []
    for number, each in enumerate(_entries(data.get("workspaces"), MOST_WORKSPACES)):
        if isinstance(each, dict):
            path = ("workspaces", number)
            names.append(((*path, "name"), each.get("name")))
            _check_key_sources(path, each, reader)
            _check_unique(list(_ids(each, path)), "the ID", reader)
            own = values["workspaces"][number]
            _check_budget(path, _budget(own), _budget(values), reader)
    _check_unique(names, "the name", reader)


def _entries(value: object, most: int) -> list[Any]:
    """The entries of a list; none if it is too long, which is already an error."""
    return value if isinstance(value, list) and len(value) <= most else []


def _ids(section: Values, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    for number, each in enumerate(_entries(section.get("integrations"), MOST_INTEGRATIONS)):
        place = (*path, "integrations", number)
        yield ((*place, "id"), each.get("id")) if isinstance(each, dict) else (place, each)


def _check_key_sources(path: KeyPath, section: Values, reader: Reader) -> None:
    sources = [source for source in KEY_SOURCES if section.get(source) is not None]
    expected = f"expected one of {', '.join(KEY_SOURCES)}"
    if not sources:
        reader.add(path, f"no API key; {expected}")
    elif len(sources) > 1:
        lines = (f"{source} in line {reader.yaml.line((*path, source))}" for source in sources)
        reader.add(path, f"{' and '.join(lines)}; {expected}")


def _check_unique(values: list[tuple[KeyPath, object]], what: str, reader: Reader) -> None:
    first: dict[str, KeyPath] = {}
    for path, value in values:
        if not isinstance(value, str):
            continue
        if value in first:
            other = first[value]
            place = f"{show_path(other)} in line {reader.yaml.line(other)}"
            reader.add_value(path, value, f"is already {what} at {place}; expected a different one")
        first.setdefault(value, path)


def _check_budget(path: KeyPath, own: Values, common: Values, reader: Reader) -> None:
    """Check that share times limit allows at least one request per minute."""
    if not is_valid([own, common]):
        return
    refresh = _refresh(common, own)
    share = refresh.rate_limit_share
    for endpoint, limit in asdict(refresh.rate_limits).items():
        if math.floor(round(share * limit, 9)) < 1:
            reader.add(
                _budget_path(path, own, common, endpoint),
                f"a share of {share:g} of {limit} requests per minute ({endpoint}) allows "
                "none; expected share times limit to be at least 1",
            )


def _budget(values: Values) -> Values:
    """The values under `refresh` that determine the budget; none if it is not a mapping."""
    refresh: Any = values.get("refresh")
    keys = ("rate_limit_share", "rate_limits") if isinstance(refresh, dict) else ()
    return {key: refresh[key] for key in keys if key in refresh}


def _budget_path(path: KeyPath, own: Values, common: Values, endpoint: str) -> KeyPath:
    """The key that makes the budget too small: the workspace's own key if there is one."""
    for place, section in (((*path, "refresh"), own), (("refresh",), common)):
        if "rate_limit_share" in section:
            return (*place, "rate_limit_share")
        if endpoint in section.get("rate_limits", {}):
            return (*place, "rate_limits", endpoint)
    return path
