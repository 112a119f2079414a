"""One workspace, configured by environment variables: the quick start."""

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from cdi_exporter.config import values
from cdi_exporter.config.keys import KeySource, inline_key
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
"""The descriptions of the variables on the reference page. An empty variable counts as unset."""

PREFIXES = ("CDI_EXPORTER_", "BRAZE_")
"""The prefixes of the exporter's own variables."""

RESEMBLES = 0.75
"""The least similarity of two names for a suggestion: ENDPOINT and REST_ENDPOINT are as similar."""

_OF_A_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT\w*|PORT(_[0-9]+_\w+)?)$")

_EXPECTED_IDS = "expected comma-separated integration IDs"


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings from environment variables. Raises ConfigError with one line per error."""
    written = {variable: environ.get(variable, "").strip() for variable in VARIABLES}
    mistakes: list[str] = []

    def attempt(variable: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(written[variable])
        except RedactedError as error:
            mistakes.append(f"{variable}: {error}")
        except ValueError as error:
            shown = show_value(written[variable] or None)
            mistakes.append(f"{variable}: {phrase(shown, str(error))}")
        return None

    endpoint = attempt(ENDPOINT, _endpoint)
    if written[KEY_FILE] and not written[KEY]:
        key = attempt(KEY_FILE, lambda path: KeySource(file=path))
    else:
        key = attempt(KEY, lambda key: _key(key, written[KEY_FILE]))
    name = attempt(WORKSPACE, lambda name: values.name(name or DEFAULT_WORKSPACE))
    integrations = attempt(INTEGRATION_IDS, _integrations)
    if not any(map(written.get, (ENDPOINT, KEY, KEY_FILE))):
        mistakes.append(
            "no configuration: set these variables, or pass a YAML file with --config.file; "
            '"cdi-exporter demo" needs neither'
        )
    raise_mistakes(mistakes, {written[KEY]})
    return Settings((WorkspaceConfig(name, endpoint, key, integrations),))


def misspelt(environ: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """The known variable that each misspelt variable resembles, by the misspelt name.

    Variables that Kubernetes sets for a Service named cdi-exporter are not misspelt.
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
        msg = "not set; expected the REST endpoint of the workspace, such as rest.iad-03.braze.com"
        raise RedactedError(msg)
    return values.endpoint(written)


def _key(key: str, path: str) -> KeySource:
    if path:
        msg = f"set together with {KEY_FILE}; expected one of the two"
        raise RedactedError(msg)
    if not key:
        msg = (
            "not set; expected a REST API key with the permissions cdi.integration_list and "
            f"cdi.integration_job_status, or its file in {KEY_FILE}"
        )
        raise RedactedError(msg)
    return inline_key(key)


def _integrations(written: str) -> tuple[ConfiguredIntegration, ...] | None:
    """The listed integrations; None to discover them. A comma at the end is allowed."""
    if written in ("", "auto"):
        return None
    copied = copied_with_more(written)
    problems = (
        (copied, copied),
        (written[0] in "[({", "is in brackets"),
        ('"' in written or "'" in written, "contains quotes"),
        (";" in written, "contains a semicolon"),
        (any(len(part.split()) > 1 for part in written.split(",")), "contains a space between IDs"),
    )
    values.raise_first(problems, f"{_EXPECTED_IDS}, such as id1,id2")
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
