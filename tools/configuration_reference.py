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

What to watch is said in one of two ways: environment variables for one workspace, or a YAML file
for any number. How the process runs is said by [flags](#flags).

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

The [JSON Schema]({SCHEMA.name}) lets editors complete and check the file: the first line of the
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

**Text** that YAML takes for something else (`no`, `0123`, `12:30`, `2026-11-24`) is to be put into
quotes.

**Durations** as in Prometheus: `10s`, `1h30m`, `500ms`, `1d`; the units are `y` (365 days), `w`,
`d`, `h`, `m`, `s`, `ms`, the larger first. Decimal seconds (`0.5s`) are taken too.

**Patterns** (`include`, `exclude`, `match`): `*` is any text, `?` one character, `[ab]` one of
these; upper and lower case differ. A pattern must fit the whole name or the whole ID. An
integration is watched when it fits a pattern of `include`, or there is none, and none of
`exclude`. Integrations that are listed are compared by their ID and the name that the list gives
them.

**Paths** that are relative lead from the directory of the configuration file, as in Prometheus.

**API keys**: an ASCII text; spaces, line ends and a byte order mark around it are ignored. A key in
the environment is read at the start and with each reload. Workspaces with the same endpoint and key
share one budget. When a key changes, its workspace sends the new one and has the budget of the new
one: shared with the workspaces that have the same key by then, its own if there are none. What was
spent with the old key in the last minute counts for the new one too, since the limit is that of the
workspace in Braze.

**Files** that the configuration names may be replaced at any time, without a reload: key files and
`ca_file` are looked at before each request. A file that cannot be used (it is missing, empty,
malformed, or on a mount that does not answer) never stops the exporter: what was read last stays in
use, the log has one line, and `cdi_exporter_file_reload_successful` is 0. At the start and at a
reload such a file is an error. Only regular files are read.

## Proxies and certificates

| variable | |
|---|---|
| `HTTPS_PROXY` | The proxy for all workspaces, such as `http://proxy.example:3128`; `http://` \
may be missing. It is asked with CONNECT. A user and a password in the URL are sent to it, and \
never shown |
| `ALL_PROXY` | The same, if `HTTPS_PROXY` is not set |
| `HTTP_PROXY` | The proxy for endpoints with plain `http://`, which are loopback addresses |
| `NO_PROXY` | What is reached without a proxy, with commas between: names, which cover all \
names below them (`braze.com`, `.braze.com`, `*.braze.com`), IP addresses (`10.1.2.3`, `::1`, \
`[::1]`) and networks (`10.0.0.0/8`, `fd00::/8`); a name or an address with `:PORT` for one port \
only; or `*`. An address or network covers an endpoint that is written as an IP address. An \
entry that means nothing is ignored, with the log line `proxy exception ignored` |
| `SSL_CERT_FILE`, `SSL_CERT_DIR` | The system's trusted certificates, for workspaces without \
`ca_file`; by default the paths of OpenSSL |

The names of the proxy variables may also be written in small letters, which count first. SOCKS
proxies are not supported. A proxy that would be used and cannot be is an error of the
configuration: one line that names the variable, exit status 2. `SSLKEYLOGFILE` and `.netrc` are not
used.

The certificates are read before the first request and looked at before each other one, also those
of the system. A CA whose basicConstraints are not critical is accepted, and so is an issuing CA
without its root, with every version of Python.

## Unknown environment variables

A variable that begins with `CDI_EXPORTER_` or `BRAZE_`, that nothing reads and that resembles one
that is read, is logged as `unknown environment variable` with the likely name.
"""

_FLAGS = """\
## Flags

`cdi-exporter [COMMAND] [FLAGS]`, as `--flag=value` or `--flag value`. Without a command `serve` is
meant. Each flag can be set by its environment variable too; what stands on the command line is
stronger. `--help` after a command lists its flags, `--version` alone tells the version.
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
