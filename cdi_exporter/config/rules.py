"""What must hold between the values of a file.

Each rule looks at the data as it stands, so that its mistakes come in one go with those of
the single values.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from cdi_exporter.config.findings import Findings
from cdi_exporter.config.mistakes import KeyPath, show_path
from cdi_exporter.config.schema import RefreshSection
from cdi_exporter.config.settings import (
    MOST_INTEGRATIONS,
    MOST_WORKSPACES,
    RateLimits,
    Refresh,
)

KEY_SOURCES = ("api_key", "api_key_env", "api_key_file")


def check(data: Mapping[str, Any], found: Findings) -> None:
    """Apply all rules."""
    workspaces = list(_mappings(data.get("workspaces"), ("workspaces",)))
    names = [((*path, "name"), section.get("name")) for path, section in workspaces]
    _check_unique(names, "the name", found)
    for path, section in workspaces:
        _check_key_sources(path, section, found)
        _check_unique(list(_ids(section, path)), "the ID", found)
    _check_budgets(data, workspaces, found)


def merge_refresh(own: RefreshSection | None, common: RefreshSection | None) -> Refresh:
    """The workspace's own settings over the common ones over the defaults, key by key."""
    said: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for section in (common, own):
        if section is not None:
            told = section.model_dump(exclude_none=True)
            limits |= told.pop("rate_limits", {})
            said |= told
    return Refresh(**said, rate_limits=RateLimits(**limits))


def _mappings(sections: object, place: KeyPath) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    for number, section in enumerate(_entries(sections, MOST_WORKSPACES)):
        if isinstance(section, dict):
            yield (*place, number), section


def _entries(value: object, most: int) -> list[object]:
    """The entries of a list; of one that is too long, which is an error itself, none."""
    return value if isinstance(value, list) and len(value) <= most else []


def _ids(section: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    listed = section.get("integrations")
    for number, each in enumerate(_entries(listed, MOST_INTEGRATIONS)):
        place = (*path, "integrations", number)
        yield ((*place, "id"), each.get("id")) if isinstance(each, dict) else (place, each)


def _check_key_sources(path: KeyPath, section: Mapping[str, Any], found: Findings) -> None:
    sources = [source for source in KEY_SOURCES if section.get(source) is not None]
    expected = f"expected one of {', '.join(KEY_SOURCES)}"
    if not sources:
        found.add(path, f"no key; {expected}")
    elif len(sources) > 1:
        lines = (f"{source} in line {found.line((*path, source))}" for source in sources)
        found.add(path, f"{' and '.join(lines)}; {expected}")


def _check_unique(values: list[tuple[KeyPath, object]], what: str, found: Findings) -> None:
    first: dict[str, KeyPath] = {}
    for path, value in values:
        if not isinstance(value, str):
            continue
        if value in first:
            other = first[value]
            place = f"{show_path(other)} in line {found.line(other)}"
            found.add_value(path, value, f"is {what} at {place} already; expected another")
        first.setdefault(value, path)


def _check_budgets(
    data: Mapping[str, Any], workspaces: list[tuple[KeyPath, dict[str, Any]]], found: Findings
) -> None:
    """Whether share x limit lets at least one request a minute through."""
    common = _refresh_section(data)
    for path, section in workspaces:
        own = _refresh_section(section)
        if common is None or own is None:
            continue
        refresh = merge_refresh(own, common)
        for endpoint, limit in asdict(refresh.rate_limits).items():
            share = refresh.rate_limit_share
            if math.floor(round(share * limit, 9)) < 1:
                found.add(
                    _budget_place(path, own, common, endpoint),
                    f"a share of {share:g} of {limit} requests per minute ({endpoint}) allows "
                    "none; expected share times limit to be at least 1",
                )


def _refresh_section(holder: Mapping[str, Any]) -> RefreshSection | None:
    """What a mapping's `refresh` says of the budget; None where that is invalid."""
    written = holder.get("refresh")
    said = written if isinstance(written, dict) else {}
    budget = {key: said[key] for key in ("rate_limit_share", "rate_limits") if key in said}
    try:
        return RefreshSection.model_validate(budget)
    except ValidationError:
        return None


def _budget_place(
    path: KeyPath, own: RefreshSection, common: RefreshSection, endpoint: str
) -> KeyPath:
    """The key that makes the budget too small: the workspace's own where it has one."""
    for place, section in (((*path, "refresh"), own), (("refresh",), common)):
        if section.rate_limit_share is not None:
            return (*place, "rate_limit_share")
        if getattr(section.rate_limits, endpoint, None) is not None:
            return (*place, "rate_limits", endpoint)
    return path
