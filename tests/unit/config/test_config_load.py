"""Loading of valid files."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from cdi_exporter.config import (
    ConfiguredIntegration,
    RateLimits,
    Refresh,
    Settings,
    StaleAfter,
    WorkspaceConfig,
    inline_key,
    load_file,
)

DATA = Path(__file__).parent / "testdata"
FULL = DATA / "good" / "full.yml"
GOOD = sorted((DATA / "good").glob("*.yml"))
ENVIRON = {"BRAZE_KEY_STAGING": " canary-staging-key\n", "NO": "canary-no-key"}

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the text of a file."""

    def load(text: str) -> Settings:
        path = tmp_path / "config.yml"
        path.write_text(text, "utf-8")
        return load_file(str(path), {})

    return load


def full() -> Settings:
    return load_file(str(FULL), ENVIRON)


def test_every_key_of_the_file_is_applied() -> None:
    """The settings have the values of the file, and defaults for all other keys."""
    production, staging, local = full().workspaces
    common = Refresh(15.0, 90.0, 0.5, RateLimits(40, 80))
    slow = replace(common, min_interval=60.0, rate_limits=RateLimits(30, 80))
    assert production == WorkspaceConfig(
        name="production",
        endpoint="https://rest.iad-03.braze.com",
        key=production.key,
        include=("users-*", "events-*"),
        exclude=("*-sandbox",),
        stale_after=(StaleAfter("users-*", 7200.0), StaleAfter("*", None)),
        refresh=slow,
    )
    assert staging == WorkspaceConfig(
        name="2026-11-24",
        endpoint="https://rest.fra-01.braze.eu",
        key=inline_key("canary-staging-key"),
        integrations=(
            ConfiguredIntegration("3f2b8a52-7f0e-4a8e-9f43-5c0c9d7e1a10"),
            ConfiguredIntegration("users/1", "Benutzer"),
        ),
        exclude=("*-sandbox",),
        refresh=replace(slow, min_interval=0.0, rate_limit_share=1.0),
    )
    assert local == WorkspaceConfig(
        name="local",
        endpoint="http://127.0.0.1:8080",
        key=inline_key("canary-5f0c9d7e1a10"),
        refresh=common,
    )


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_loads(path: Path) -> None:
    """Anchors, aliases and unusual notations give the same settings."""
    names = [workspace.name for workspace in load_file(str(path), ENVIRON).workspaces]
    assert names == [
        workspace["name"] for workspace in yaml.safe_load(path.read_bytes())["workspaces"]
    ]


def test_keys_without_a_value_are_treated_as_unset() -> None:
    """A key without a value, and an empty list, count as unset."""
    path = DATA / "good" / "keys-without-a-value.yml"
    assert load_file(str(path), {}) == load_file(str(DATA / "good" / "minimal.yml"), {})


def test_quoted_values_are_text() -> None:
    """Numbers, dates and booleans in quotes are text."""
    path = DATA / "good" / "values-in-quotes.yml"
    (workspace,) = load_file(str(path), ENVIRON).workspaces
    assert workspace.name == "123"
    assert workspace.key.known.reveal() == "canary-no-key"
    assert workspace.integrations == (
        ConfiguredIntegration("2026-11-24"),
        ConfiguredIntegration("0123456789", "yes"),
    )
    assert workspace.exclude == ("off",)
    assert workspace.stale_after == (StaleAfter("12:30", None),)


def test_the_smallest_file_has_the_documented_defaults(load: Load) -> None:
    (workspace,) = load("workspaces: [{name: a, endpoint: b.example, api_key: c}]").workspaces
    assert workspace.refresh == Refresh(10.0, 10.0, 0.8, RateLimits(50, 100))
    assert workspace.integrations is None
    assert workspace == WorkspaceConfig("a", "https://b.example", inline_key("c"))


def test_relative_paths_resolve_against_the_directory_of_the_file() -> None:
    """The working directory of the process does not matter."""
    key = full().workspaces[0].key
    assert key.file is not None
    assert key.known.reveal() == "canary-production-key"


def test_the_same_file_gives_equal_settings() -> None:
    """A reload compares the settings to find changes."""
    assert full() == full()
    other = load_file(str(FULL), {"BRAZE_KEY_STAGING": "another"})
    same = [old == new for old, new in zip(full().workspaces, other.workspaces, strict=True)]
    assert same == [True, False, True]


def test_a_file_with_a_byte_order_mark_loads(load: Load) -> None:
    """Some editors write a byte order mark at the start of a file."""
    assert load("\ufeffworkspaces: [{name: a, endpoint: b.example, api_key: c}]")


def test_settings_never_show_a_key() -> None:
    """No text representation of the settings contains a key, and a key cannot be pickled."""
    settings = full()
    keys = [workspace.key.known for workspace in settings.workspaces]
    written = [repr(settings), str(settings), f"{settings}", repr(asdict(settings))]
    written += [f"{key} {key!r} {key!s} {key:>12} {vars(type(key))}" for key in keys]
    written += [repr(vars(workspace.key)) for workspace in settings.workspaces[:1]]
    written += [repr(copy.deepcopy(settings)), repr(copy.copy(keys[0]))]
    assert all("canary" not in text for text in written)
    for thing in (settings, *keys):
        with pytest.raises(TypeError, match="not written"):
            pickle.dumps(thing)
    with pytest.raises(TypeError):
        json.dumps(keys[0])


def test_a_key_equals_only_the_same_key() -> None:
    """Keys are equal if their text is, and never equal to a plain string."""
    secret = inline_key("a").known
    assert secret == inline_key("a").known
    assert hash(secret) == hash(inline_key("a").known)
    assert secret not in (inline_key("b").known, "a")
    assert inline_key("a") == inline_key("a")
    assert inline_key("a") != inline_key("b")


@pytest.mark.parametrize(
    ("include", "exclude", "integration_id", "name", "selected"),
    [
        ((), (), "i", "users", True),
        (("users-*",), (), "i", "users-eu", True),
        (("users-*",), (), "i", "Users-eu", False),
        (("users-*",), (), "i", "all-users-eu", False),
        (("i",), (), "i", "users", True),
        (("users-*", "ev?nts"), (), "i", "events", True),
        (("users-*",), ("*-test",), "i", "users-test", False),
        ((), ("i",), "i", "users", False),
        (("users-*",), (), "i", None, False),
        ((), ("[ab]*",), "i", "best", False),
    ],
)
def test_include_and_exclude_select_integrations(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    integration_id: str,
    name: str | None,
    selected: bool,
) -> None:
    """A pattern matches a whole name or a whole ID; `exclude` overrides `include`."""
    key = inline_key("c")
    workspace = WorkspaceConfig("a", "b", key, include=include, exclude=exclude)
    assert workspace.selects(integration_id, name) is selected


def test_the_first_matching_stale_after_rule_applies() -> None:
    """The first matching rule applies, also if it is `never`."""
    rules = (StaleAfter("users-*", None), StaleAfter("*", 60.0), StaleAfter("i", 1.0))
    workspace = WorkspaceConfig("a", "b", inline_key("c"), stale_after=rules)
    assert workspace.stale_after_for("i", "users-eu") == StaleAfter("users-*", None)
    assert workspace.stale_after_for("i", None) == StaleAfter("*", 60.0)
    assert replace(workspace, stale_after=()).stale_after_for("i", "users-eu") is None


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("rest.iad-03.braze.com", "https://rest.iad-03.braze.com"),
        ("rest.iad-03.braze.com/", "https://rest.iad-03.braze.com"),
        ("https://rest.iad-03.braze.com", "https://rest.iad-03.braze.com"),
        ("https://rest.iad-03.braze.com:8443/", "https://rest.iad-03.braze.com:8443"),
        ("rest.iad-03.braze.com:443", "https://rest.iad-03.braze.com"),
        (" REST.iad-03.Braze.com ", "https://rest.iad-03.braze.com"),
        ("http://localhost:80", "http://localhost"),
        ("http://LOCALHOST:8080/", "http://localhost:8080"),
        ("http://127.8.9.10:1", "http://127.8.9.10:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("[2001:db8::1]", "https://[2001:db8::1]"),
        ("braze_proxy:8443", "https://braze_proxy:8443"),
    ],
)
def test_endpoints_are_normalised(load: Load, written: str, endpoint: str) -> None:
    """Scheme, trailing slash and default port do not change the base URL."""
    text = f'workspaces: [{{name: a, endpoint: "{written}", api_key: c}}]'
    assert load(text).workspaces[0].endpoint == endpoint
