"""The generated reference page and JSON Schema of the configuration."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cdi_exporter.config import load_file
from cdi_exporter.config.environment import VARIABLES
from cdi_exporter.config.forms import keys_of
from cdi_exporter.config.settings import SECTIONS
from tools.configuration_reference import (
    EXAMPLE,
    PAGE,
    SCHEMA,
    descriptions,
    json_schema,
    reference,
    schema,
)

DATA = Path(__file__).parent / "testdata"
GOOD = sorted((DATA / "good").glob("*.yml"))
AGAIN = "python -m tools.configuration_reference"

SEEN_BY_THE_SCHEMA = [
    "unknown-key-near",
    "unknown-key-in-integration",
    "unknown-key-in-stale-after",
    "unknown-key-in-rate-limits",
    "no-workspaces",
    "workspaces-empty",
    "name-missing",
    "name-number",
    "key-missing",
    "key-twice",
    "key-number",
    "integrations-text",
    "integrations-empty",
    "include-is-text",
    "refresh-duration-without-unit",
    "refresh-duration-order",
    "refresh-share-above-one",
    "refresh-limit-zero",
    "stale-after-no-duration",
]


def check(document: Any) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(document)


def test_the_reference_page_is_current() -> None:
    """`docs/configuration.md` equals the page generated from the keys and flags."""
    assert PAGE.read_text("utf-8") == reference(), AGAIN


def test_the_schema_is_current() -> None:
    """`docs/config.schema.json` equals the schema generated from the keys."""
    assert SCHEMA.read_text("utf-8") == schema(), AGAIN


def test_the_reference_page_describes_every_key_and_variable() -> None:
    """The page has each key with a description, and each environment variable."""
    page = PAGE.read_text("utf-8")
    for _, section in SECTIONS:
        described = descriptions(section)
        for name in keys_of(section):
            assert described[name]
            assert f"| `{name}` | " in page
    assert all(f"| `{name}` |" in page for name in VARIABLES)


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema()))


def test_the_example_of_the_reference_page_loads(tmp_path: Path) -> None:
    """The loader accepts the example if its key file exists."""
    (tmp_path / "key").write_text("k")
    path = tmp_path / "config.yml"
    path.write_text(EXAMPLE.replace("/run/secrets/braze-production", "key"))
    settings = load_file(str(path), {"BRAZE_STAGING_KEY": "k"})
    assert [workspace.name for workspace in settings.workspaces] == ["production", "staging"]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_the_schema_accepts_good_files(path: Path) -> None:
    """An editor reports no error for a file that the loader accepts."""
    check(yaml.safe_load(path.read_text("utf-8")))


def test_the_schema_accepts_the_example() -> None:
    """An editor reports no error for the example of the page."""
    check(yaml.safe_load(EXAMPLE))


@pytest.mark.parametrize("name", SEEN_BY_THE_SCHEMA)
def test_the_schema_rejects_wrong_shapes(name: str) -> None:
    """An editor reports values of the wrong type or structure."""
    document = yaml.safe_load((DATA / "bad" / f"{name}.yml").read_text("utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        check(document)
