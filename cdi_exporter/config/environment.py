"""The quick start: one workspace, configured by environment variables."""

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import TypeVar

from cdi_exporter.config import values
from cdi_exporter.config.keys import FileKey, KeySource, inline_key
from cdi_exporter.config.mistakes import (
    RedactedError,
    copied_with_more,
    phrase,
    raise_mistakes,
    show_value,
)
from cdi_exporter.config.settings import (
    MOST_INTEGRATIONS,
    ConfiguredIntegration,
    Settings,
    WorkspaceConfig,
)
from cdi_exporter.errors import ConfigError

ENDPOINT = "BRAZE_REST_ENDPOINT"
KEY = "BRAZE_API_KEY"
KEY_FILE = "BRAZE_API_KEY_FILE"
WORKSPACE = "BRAZE_WORKSPACE"
INTEGRATION_IDS = "BRAZE_INTEGRATION_IDS"
DEFAULT_WORKSPACE = "default"

VARIABLES = {
    ENDPOINT: "The workspace's REST endpoint, such as `rest.iad-03.braze.com`.",
    KEY: "The REST API key, with the permissions `cdi.integration_list` and "
    "`cdi.integration_job_status`.",
    KEY_FILE: f"The file that contains the key, instead of `{KEY}`.",
    WORKSPACE: f"The value of the label `workspace`. Default: `{DEFAULT_WORKSPACE}`.",
    INTEGRATION_IDS: "Comma-separated IDs of the integrations to watch. Default: discover them.",
}
"""The variables with their descriptions for the reference page. An empty one counts as unset."""

PREFIXES = ("CDI_EXPORTER_", "BRAZE_")
"""The prefixes of our variables."""

RESEMBLES = 0.75
"""The least similarity of two names for a suggestion: that of ENDPOINT and REST_ENDPOINT."""

_OF_A_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_[0-9]+_\w+)?)$")

_NOTHING_SET = (
    "no configuration: set these variables, or pass a YAML file with --config.file; "
    '"cdi-exporter demo" needs neither'
)
_EXPECTED_IDS = "expected comma-separated integration IDs"

Value = TypeVar("Value")


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings of the quick start; raises ConfigError with a line for each error."""
    written = {variable: environ.get(variable, "").strip() for variable in VARIABLES}
    mistakes: list[str] = []

    def attempt(variable: str, read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except RedactedError as error:
            mistakes.append(f"{variable}: {error}")
        except ValueError as error:
            shown = show_value(written[variable] or None)
            mistakes.append(f"{variable}: {phrase(shown, str(error))}")
        return None

    endpoint = attempt(ENDPOINT, lambda: _endpoint(written[ENDPOINT]))
    source = KEY_FILE if written[KEY_FILE] and not written[KEY] else KEY
    key = attempt(source, lambda: _key(written[KEY], written[KEY_FILE]))
    name = attempt(WORKSPACE, lambda: values.name(written[WORKSPACE] or DEFAULT_WORKSPACE))
    ids = attempt(INTEGRATION_IDS, lambda: _integrations(written[INTEGRATION_IDS]))
    if not any(map(written.get, (ENDPOINT, KEY, KEY_FILE))):
        mistakes.append(_NOTHING_SET)
    raise_mistakes(mistakes, {written[KEY]})
    if endpoint is None or key is None or name is None:  # pragma: no cover -- raised above
        raise ConfigError([_NOTHING_SET])
    return Settings((WorkspaceConfig(name, endpoint, key, integrations=ids or None),))


def misspelt(environ: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Unknown variables that resemble a known one, each with that one.

    Only those with a known prefix, and none that Kubernetes sets for a Service named cdi-exporter.
    """
    found = {}
    for name in environ.keys() - set(known):
        prefix = next((each for each in PREFIXES if name.startswith(each)), None)
        if prefix is None or _OF_A_SERVICE.search(name):
            continue
        endings = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
        near = get_close_matches(name.removeprefix(prefix), endings, 1, RESEMBLES)
        if near:
            found[name] = prefix + near[0]
    return dict(sorted(found.items()))


def _endpoint(written: str) -> str:
    if not written:
        expected = "expected the REST endpoint of the workspace, such as rest.iad-03.braze.com"
        msg = f"not set; {expected}"
        raise RedactedError(msg)
    return values.endpoint(written)


def _key(key: str, path: str) -> KeySource:
    if key and path:
        msg = f"set together with {KEY_FILE}; expected one of the two"
        raise RedactedError(msg)
    if path:
        return FileKey(path)
    if not key:
        msg = (
            "not set; expected a REST API key with the permissions cdi.integration_list and "
            f"cdi.integration_job_status, or its file in {KEY_FILE}"
        )
        raise RedactedError(msg)
    return inline_key(key)


def _integrations(written: str) -> tuple[ConfiguredIntegration, ...]:
    """The IDs, none if they are to be discovered; a comma at the end is allowed."""
    if written in ("", "auto"):
        return ()
    problem = copied_with_more(written) or _separator_problem(written)
    if problem is not None:
        msg = f"{problem}; {_EXPECTED_IDS}, such as id1,id2"
        raise ValueError(msg)
    parts = [part.strip() for part in written.split(",")]
    ids = [values.integration_id(part) for part in parts if part]
    if not ids:
        raise ValueError(_EXPECTED_IDS)
    if len(ids) > MOST_INTEGRATIONS:
        msg = f"has {len(ids):,} IDs; expected at most {MOST_INTEGRATIONS:,}"
        raise ValueError(msg)
    if len(set(ids)) < len(ids):
        msg = f"has an ID twice; {_EXPECTED_IDS}, each once"
        raise ValueError(msg)
    return tuple(map(ConfiguredIntegration, ids))


def _separator_problem(written: str) -> str | None:
    """Why a list of IDs is not one with commas; None if it is."""
    if written[0] in "[({":
        return "is in brackets"
    if '"' in written or "'" in written:
        return "contains quotes"
    if ";" in written:
        return "contains a semicolon"
    if any(len(part.split()) > 1 for part in written.split(",")):
        return "contains a space between IDs"
    return None
