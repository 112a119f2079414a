"""Writes `docs/configuration.md` and `docs/config.schema.json` from the code.

The keys and defaults come from `config.settings`, the flags from the commands. Run it as
`python -m tools.configuration_reference`.
"""

import json
from collections.abc import Iterable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any

import click

from cdi_exporter.cli import cli
from cdi_exporter.config.environment import VARIABLES
from cdi_exporter.config.forms import Key, keys_of
from cdi_exporter.config.settings import SECTIONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "configuration.md"
SCHEMA = DOCS / "config.schema.json"

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

<!-- Written by tools/configuration_reference.py from the code; do not edit. -->

Configure what to watch in one of two ways: environment variables for one workspace, or a YAML file
for any number of workspaces. [Flags](#flags) configure the process itself.

## Environment: one workspace

These variables are read only if `--config.file` is not set. An empty variable is treated as unset.

| variable | |
|---|---|
"""

_FILE = f"""
## File: any number of workspaces

`--config.file` names a YAML file in UTF-8:

```yaml
{EXAMPLE}```

Editors with the YAML language server use the [JSON Schema]({SCHEMA.name}) in the first line of the
example to complete and check the file. Anchors, aliases and merge keys (`<<`) work. Tags, duplicate
keys and a second document are errors. A key with no value is treated as unset.

A file is accepted or rejected as a whole. `cdi-exporter check --offline` checks it. Each error is
one line with the file, the line, the key, the value found and what is expected. Values that could
be secrets are not shown:

    config.yml:12: workspaces[1].endpoint: "http://rest.example.com" uses plain http; expected …
    config.yml:13: workspaces[1].api_key_fle: unknown key; did you mean "api_key_file"?
"""

_NOTES = """\
## How values are written

**Text** that YAML reads as another type (`no`, `0123`, `12:30`, `2026-11-24`) must be quoted,
and so must a value that starts with `*`.

**Durations** as in Prometheus: `10s`, `1h30m`, `500ms`, `1d`; the units are `y` (365 days), `w`,
`d`, `h`, `m`, `s`, `ms`, the larger first. Decimal seconds (`0.5s`) are accepted.

**Patterns** (`include`, `exclude`, `match`): `*` matches any text, `?` one character, `[ab]` one of
the characters. Patterns are case-sensitive and must match the whole name or the whole ID. An
integration is watched if it matches a pattern of `include` (or `include` is not set) and no pattern
of `exclude`. Integrations in a configured list are matched by their ID and their configured name.

**Relative paths** resolve against the directory of the configuration file, as in Prometheus.

**API keys** are ASCII text. Surrounding spaces, line ends and a byte order mark are ignored. A key
in the environment is read at start and at each reload. Workspaces with the same endpoint and key
share one budget. When a key changes, its workspace uses the new key and its budget, which it shares
with other workspaces that have the same key. Requests made with the old key in the last minute also
count against the new budget, because Braze's limit applies to the workspace.

**Files** named in the configuration may be replaced at any time, without a reload: key files and
`ca_file` are checked before each request. A file that becomes unusable (missing, empty, malformed,
or on a mount that does not answer) does not stop the exporter: the last good version stays in use,
one line is logged, and `cdi_exporter_file_reload_successful` is 0. At start and at a reload such a
file is an error. Only regular files are read.

## Proxies and certificates

| variable | |
|---|---|
| `HTTPS_PROXY` | The proxy for all workspaces, such as `http://proxy.example:3128`; `http://` \
may be omitted. Requests use CONNECT. A user and a password in the URL are sent to the proxy and \
never shown |
| `ALL_PROXY` | The same, if `HTTPS_PROXY` is not set |
| `HTTP_PROXY` | The proxy for endpoints with plain `http://`, which are loopback addresses |
| `NO_PROXY` | Comma-separated hosts to reach without a proxy: domain names, which include their \
subdomains (`braze.com`, `.braze.com`, `*.braze.com`), IP addresses (`10.1.2.3`, `::1`, \
`[::1]`) and networks (`10.0.0.0/8`, `fd00::/8`); a name or an address with `:PORT` for one port \
only; or `*`. Addresses and networks match endpoints that are IP addresses. An invalid entry is \
ignored and logged as `NO_PROXY entry ignored` |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | The system's trusted certificates, for workspaces without \
`ca_file`; by default the paths of OpenSSL |

Lowercase names of the proxy variables work too and take precedence. SOCKS proxies are not
supported. An invalid proxy that would be used is a configuration error: one line that names the
variable, exit status 2. `SSLKEYLOGFILE` and `.netrc` are not used.

Certificates, including the system's, are read before the first request and checked for changes
before each later one. With every version of Python, a CA whose basicConstraints are not critical is
accepted, and so is an issuing CA without its root.

## Unknown environment variables

An unknown variable that starts with `CDI_EXPORTER_` or `BRAZE_` and resembles a known one is logged
as `unknown environment variable`, with the likely name.
"""

_FLAGS = """\
## Flags

`cdi-exporter [COMMAND] [FLAGS]`, as `--flag=value` or `--flag value`. Without a command, `serve`
runs. Each flag can also be set by its environment variable. Command-line flags override environment
variables. `-h` or `--help` after a command lists its flags, `--version` prints the version.

### Shell completion

Add one of these lines to the start-up file of your shell:

```sh
eval "$(_CDI_EXPORTER_COMPLETE=bash_source cdi-exporter)"     # ~/.bashrc
eval "$(_CDI_EXPORTER_COMPLETE=zsh_source cdi-exporter)"      # ~/.zshrc
_CDI_EXPORTER_COMPLETE=fish_source cdi-exporter | source      # ~/.config/fish/config.fish
```
"""


def reference() -> str:
    """The text of the page."""
    variables = "".join(f"| `{name}` | {text} |\n" for name, text in VARIABLES.items())
    parts = [_INTRODUCTION + variables + _FILE]
    parts += ["\n".join(_table(place, section)) for place, section in SECTIONS]
    return "\n".join([*parts, _NOTES, _FLAGS, *_commands()])


def _commands() -> Iterator[str]:
    """A section for each command; a flag that is as in an earlier one is named there alone."""
    shown: dict[str, str] = {}
    for name, command in cli.every_command().items():
        params = (each for each in command.params if isinstance(each, click.Option))
        options = [each for each in params if each.envvar]
        yield f"### `{name}`\n\n{command.get_short_help_str(200)}\n"
        rows = {each.opts[0]: _flag(each) for each in options}
        new = [row for flag, row in rows.items() if shown.get(flag) != row]
        if new:
            yield "\n".join(_flag_table(new))
        same = [f"`{flag}`" for flag, row in rows.items() if shown.get(flag) == row]
        if same:
            yield f"And as above: {', '.join(same)}.\n"
        shown |= rows


def _flag_table(rows: Iterable[str]) -> Iterator[str]:
    yield "| flag | environment variable | default | |"
    yield "|---|---|---|---|"
    yield from rows
    yield ""


def _flag(option: click.Option) -> str:
    several = " In the variable with spaces between them." if option.multiple else ""
    text = f"{option.help}{_choices(option)}{several}".replace("|", "\\|")
    return f"| `{option.opts[0]}` | `{option.envvar}` | {_flag_default(option)} | {text} |"


def _flag_default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    match default:
        case None:
            return ""
        case bool():
            return "on" if default else "off"
        case list() | tuple():
            return ", ".join(f"`{each}`" for each in default)
    return f"`{default}`"


def _choices(option: click.Option) -> str:
    if not isinstance(option.type, click.Choice):
        return ""
    return f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."


def json_schema() -> dict[str, Any]:
    """The schema of the file, for editors; YAML is read as the JSON that it stands for."""
    file, *parts = (section for _, section in SECTIONS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {each.__name__: _object(each) for each in parts},
        **_object(file),
        "title": "cdi-exporter configuration",
    }


def _object(section: type) -> dict[str, Any]:
    keys = keys_of(section)
    one_of = [{"required": [name]} for name, key in keys.items() if key.name]
    return {
        "type": "object",
        "additionalProperties": False,
        "description": getdoc(section),
        "properties": {name: _property(key) for name, key in keys.items()},
        "required": [name for name, key in keys.items() if key.required],
        **({"oneOf": one_of} if one_of else {}),
    }


def _property(key: Key) -> dict[str, Any]:
    optional = not key.required and not key.name
    form = {"anyOf": [key.form.schema, {"type": "null"}]} if optional else key.form.schema
    default = {} if key.default is None else {"default": key.default}
    examples = {"examples": [key.example]} if key.example else {}
    return {"description": key.description, **form, **default, **examples}


def schema() -> str:
    """The schema as it is written to its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _table(place: str, section: type) -> Iterator[str]:
    yield f"### `{place}`" if place else "### Top of the file"
    yield ""
    if place:
        yield " ".join((section.__doc__ or "").split())
        yield ""
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for name, key in keys_of(section).items():
        default = "" if key.default is None else f"`{key.default}`"
        default = "required" if key.required else default
        yield f"| `{name}` | {key.form.kind} | {default} | {key.description} |"
    yield ""


def write() -> None:
    """Write the page and the schema."""
    PAGE.write_text(reference(), "utf-8")
    SCHEMA.write_text(schema(), "utf-8")


if __name__ == "__main__":
    write()
