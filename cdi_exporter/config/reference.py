"""The reference page of the configuration and its JSON Schema, made from the table of keys.

`python -m cdi_exporter.config.reference DIRECTORY` writes both files.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cdi_exporter.config.environment import VARIABLES
from cdi_exporter.config.schema import SECTIONS, File, Form, Section

PAGE = "configuration.md"
SCHEMA = "config.schema.json"

EXAMPLE = """\
# yaml-language-server: $schema=config.schema.json
refresh:
  min_interval: 10s
  rate_limit_share: 0.8
workspaces:
  - name: production
    endpoint: rest.iad-03.braze.com
    api_key_file: /run/secrets/braze-production
    exclude: ["*-sandbox"]
    stale_after:
      - {match: "users-*", after: 2h}
      - {match: "*-on-demand", after: never}
  - name: staging
    endpoint: https://rest.fra-01.braze.eu
    api_key_env: BRAZE_STAGING_KEY
    integrations:
      - {id: 3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10, name: users}
      - 0b9d4c1e-66a5-4c59-8d0f-2f8f1b7c3d21
    refresh:
      rate_limit_share: 0.4
"""

_INTRODUCTION = """\
# Configuration

<!-- Written by `python -m cdi_exporter.config.reference docs`; do not edit. -->

There are two ways: environment variables for one workspace, or a YAML file for any number.

## Environment: one workspace

Read when `--config.file` is not given, and only then. An empty variable counts as not set.

| variable | |
|---|---|
"""

_FILE = f"""
## File: any number of workspaces

`--config.file` names a YAML file in UTF-8:

```yaml
{EXAMPLE}```

The [JSON Schema]({SCHEMA}) lets editors complete and check the file: the first line of the
example is for those with the YAML language server. Anchors, aliases and merge keys (`<<`) work;
tags, a key that stands twice and a second document are mistakes. A key without a value is as
good as left out.

A file is accepted or rejected as a whole. `cdi-exporter check --offline` tells which. Each
mistake is one line that names the file, the line, the key, what stood there and what is
expected; what could be a secret is left out of it:

    config.yml:12: workspaces[1].endpoint: "http://rest.example.com" is plain http; expected …
    config.yml:13: workspaces[1].api_key_fle: unknown key; did you mean "api_key_file"?
"""

_NOTES = """\
## How values are written

**Durations** as in Prometheus: `10s`, `1h30m`, `500ms`, `1d`; the units are `y` (365 days), `w`,
`d`, `h`, `m`, `s`, `ms`, the larger first. Decimal seconds (`0.5s`) are taken too.

**Patterns** (`include`, `exclude`, `match`): `*` is any text, `?` one character, `[ab]` one of
these; upper and lower case differ. A pattern must fit the whole name or the whole ID. An
integration is watched when it fits a pattern of `include`, or there is none, and none of
`exclude`. Integrations that are listed are compared by their ID and the name that the list gives
them.

**Paths** that are relative lead from the directory of the configuration file, as in Prometheus.

**API keys**: an ASCII text; spaces and line ends around it are ignored. A key file is read for
each request, so a new key is used at once; while the file is missing or empty, the key before
stays. A key in the environment is read at the start and with each reload. Workspaces with the same
endpoint and key share one client and one budget.
"""


def reference_page() -> str:
    """The text of the page."""
    variables = "".join(f"| `{name}` | {text} |\n" for name, text in VARIABLES.items())
    parts = [_INTRODUCTION + variables + _FILE]
    parts += ["\n".join(_table(place, section)) for place, section in SECTIONS]
    return "\n".join([*parts, _NOTES])


def json_schema() -> dict[str, Any]:
    """The schema of the file, for editors; YAML is read as the JSON that it stands for."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_null_defaults(File.model_json_schema()),
        "title": "cdi-exporter configuration",
    }


def _without_null_defaults(part: Any) -> Any:
    """Leaves out `"default": null`, which only says that a key is optional."""
    if isinstance(part, list):
        return [_without_null_defaults(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {key: each for key, each in part.items() if key != "default" or each is not None}
    return {key: _without_null_defaults(each) for key, each in kept.items()}


def schema_text() -> str:
    """The schema as it is written to its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _table(place: str, section: type[Section]) -> Iterator[str]:
    yield f"### `{place}`" if place else "### Top of the file"
    yield ""
    if place:
        yield " ".join((section.__doc__ or "").split())
        yield ""
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for key, field in section.model_fields.items():
        default = "required" if field.is_required() else _default(field)
        yield f"| `{key}` | {_kind(field)} | {default} | {field.description} |"
    yield ""


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return f"`{extra['default']}`" if isinstance(extra, dict) and "default" in extra else ""


def _kind(field: FieldInfo) -> str:
    """How the value is written: the form that the field, or a part of its type, has."""
    for each in field.metadata:
        if isinstance(each, Form):
            return each.kind
    return _kind_of(field.annotation)


def _kind_of(annotation: Any) -> str:
    for each in getattr(annotation, "__metadata__", ()):
        if isinstance(each, Form):
            return each.kind
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    inner = [_kind_of(each) for each in get_args(annotation) if each is not type(None)]
    return f"list of {inner[0]}s" if getattr(annotation, "__origin__", None) is list else inner[0]


def write(directory: Path) -> None:
    """Write the page and the schema."""
    (directory / PAGE).write_text(reference_page(), "utf-8")
    (directory / SCHEMA).write_text(schema_text(), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
