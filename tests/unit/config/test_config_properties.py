"""Properties of the configuration that hold for any input."""

import json
import math
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.config import (
    Settings,
    format_duration,
    from_environment,
    load_file,
    parse_duration,
)
from cdi_exporter.config.environment import VARIABLES
from cdi_exporter.config.forms import keys_of
from cdi_exporter.config.settings import SECTIONS
from cdi_exporter.errors import ConfigError

KEYS = sorted({key for _, section in SECTIONS for key in keys_of(section)})
CANARY = "ca9a81e5-5f0c-4d7e-8a10-5f0c9d7e1a10"
"""Has the format of a key, because other paths and variable names are shown."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["auto", "never", "10s", "rest.iad-03.braze.com", "http://[::1", "https://"])
)
YAML_TEXT = st.text(
    st.sampled_from("aA01.:-_?,[]{}#&*!|>'\"%@`\\~<=\n\t \0\x85\u2028\ufeff\U0001f600é\x07")
)
RIGHT = b"workspaces: [{name: a, endpoint: b.example, api_key: c, exclude: [d], include: [a*]}]"
YAML_LIKE = st.builds(
    lambda place, put, cut: RIGHT[:place] + put + RIGHT[place + cut :],
    st.integers(0, len(RIGHT)),
    st.binary(max_size=4),
    st.integers(0, 8),
)
"""A valid file in which some bytes are replaced."""

TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


def mistakes(load: Callable[[], Settings]) -> tuple[str, ...]:
    """The errors, none if the settings load. Other exceptions than ConfigError fail the test."""
    try:
        assert load().workspaces
    except ConfigError as error:
        return error.mistakes or ("no mistake is named",)
    return ()


def are_clear(lines: tuple[str, ...], file: str) -> bool:
    return all(line.isprintable() and line.startswith(f"{file}:") for line in lines)


def load(content: bytes) -> tuple[str, ...]:
    """The errors of a file, after checking that each is one clear line."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "config.yml"
        path.write_bytes(content)
        found = mistakes(lambda: load_file(str(path), {}))
        assert are_clear(found, str(path))
        return found


@given(st.text() | YAML_TEXT)
def test_any_text_gives_settings_or_clear_errors(text: str) -> None:
    load(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200) | YAML_TEXT.map(str.encode) | YAML_LIKE)
def test_any_bytes_give_settings_or_clear_errors(content: bytes) -> None:
    load(content)


@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4))
def test_any_yaml_gives_settings_or_clear_errors(tree: dict[str, object]) -> None:
    """The files are valid YAML with known keys in wrong places."""
    load(json.dumps(tree).encode())


@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=6))
def test_any_workspace_gives_settings_or_clear_errors(section: dict[str, object]) -> None:
    """The workspace is valid except for some keys."""
    right = {"name": "a", "endpoint": "b.example", "api_key": "c"}
    load(json.dumps({"workspaces": [right | section]}).encode())


@given(
    st.sampled_from(["api_key", "api_key_env", "api_key_file", "apikey", "my_key"]),
    st.sampled_from(
        ["{}", " {} {}", "[{}]", "{{k: {}}}", "!t {}", "*{}", "|\n  {}\n {}", '"{}\\q"']
    ),
    TREES,
)
def test_a_key_in_the_wrong_shape_is_never_shown(key: str, shape: str, other: object) -> None:
    """No error shows the key, whatever is wrong with it or around it."""
    text = f"workspaces:\n- name: a\n  integrations: {json.dumps(other)}\n  {key}: "
    text += shape.replace("{}", CANARY).replace("{{", "{").replace("}}", "}")
    found = load(text.encode())
    assert CANARY not in "".join(found)


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text()))
def test_any_environment_gives_settings_or_clear_errors(environ: dict[str, str]) -> None:
    found = mistakes(lambda: from_environment(environ))
    assert all(line.isprintable() for line in found)


@given(st.integers(0, 100 * 365 * 86_400 * 1000))
def test_durations_round_trip(milliseconds: int) -> None:
    """A formatted duration is parsed as the same time, to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text() | st.text("0123456789ywdhms.", max_size=12))
def test_any_text_is_a_duration_or_is_rejected(text: str) -> None:
    """A valid text gives at least 0 seconds; any other text raises ValueError."""
    seconds = 0.0
    with suppress(ValueError):
        seconds = parse_duration(text)
    assert 0 <= seconds < math.inf


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("0.5s", 0.5),
        ("10s", 10),
        ("1m", 60),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("90m", 5400),
    ],
)
def test_durations_are_read_as_prometheus_writes_them(text: str, seconds: float) -> None:
    """Each unit has the same length as in Prometheus."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "1", "10", "s", "1.5h", "-1s", "+1s", "1s1m", "1m1m", " 1s", "1s ", "1S", "1 h", "1e3s"],
)
def test_text_that_is_not_a_duration_is_rejected(text: str) -> None:
    """Like Prometheus: a missing or repeated unit, a wrong order, signs and spaces are errors."""
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_duration(text)
