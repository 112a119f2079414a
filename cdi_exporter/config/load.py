"""A configuration file → settings; every mistake in one go, one line each."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from cdi_exporter.config import rules
from cdi_exporter.config.document import Document, read_document
from cdi_exporter.config.findings import Findings
from cdi_exporter.config.mistakes import show_kind
from cdi_exporter.config.schema import File, RefreshSection, WorkspaceSection
from cdi_exporter.config.settings import (
    ConfiguredIntegration,
    Settings,
    StaleAfter,
    WorkspaceConfig,
)
from cdi_exporter.errors import ConfigError


def load_file(path: str, environ: Mapping[str, str]) -> Settings:
    """The settings of a YAML file; raises ConfigError with a line for each mistake.

    `environ` is where `api_key_env` is looked up; key files and `ca_file` are read.
    """
    return settings_of(read_document(path), path, environ)


def settings_of(document: Document, path: str, environ: Mapping[str, str]) -> Settings:
    """The settings of a document that was read from `path`; raises ConfigError."""
    found = Findings(path, document)
    data = document.data
    if not document.broken and not isinstance(data, dict):
        what = "empty" if data is None else show_kind(data)
        found.add((), f'{what}; expected a mapping with the key "workspaces"')
    file = None
    context = {"environ": environ, "directory": os.path.dirname(path)}  # noqa: PTH120 -- keeps ""
    if isinstance(data, dict):
        try:
            file = File.model_validate(data, context=context)
        except ValidationError as error:
            found.add_invalid(error)
        rules.check(data, found)
    found.stop()
    if file is None:  # pragma: no cover -- there are mistakes, so stop() has raised
        raise ConfigError([f"{path}: not valid"])
    workspaces = tuple(_workspace(section, file.refresh) for section in file.workspaces)
    for number, workspace in enumerate(workspaces):
        if workspace.integrations == ():
            where = ("workspaces", number, "integrations")
            found.add(where, "include and exclude leave none of them; expected at least one")
    found.stop()
    return Settings(workspaces)


def _workspace(section: WorkspaceSection, common: RefreshSection | None) -> WorkspaceConfig:
    key = section.api_key or section.api_key_env or section.api_key_file
    if key is None:  # pragma: no cover -- the rules see to it
        raise ConfigError([f"{section.name}: no key"])
    workspace = WorkspaceConfig(
        name=section.name,
        endpoint=section.endpoint,
        key=key,
        include=tuple(section.include or ()),
        exclude=tuple(section.exclude or ()),
        stale_after=tuple(
            StaleAfter(rule.match, None if math.isinf(rule.after) else rule.after)
            for rule in section.stale_after or ()
        ),
        ca_file=section.ca_file,
        refresh=rules.merge_refresh(section.refresh, common),
    )
    if section.integrations is None:
        return workspace
    listed = (ConfiguredIntegration(each.id, each.name) for each in section.integrations)
    selected = tuple(each for each in listed if workspace.selects(each.id, each.name))
    return replace(workspace, integrations=selected)
