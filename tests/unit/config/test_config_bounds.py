"""Limits of a configuration, and that many errors are reported quickly and in few lines."""

import fnmatch
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.config import from_environment, load_file
from cdi_exporter.config.mistakes import MOST_SHOWN
from cdi_exporter.config.settings import MOST_INTEGRATIONS, MOST_PATTERNS, MOST_WORKSPACES
from cdi_exporter.config.values import LONGEST_NAME
from cdi_exporter.config.yaml_lines import MOST_BYTES, MOST_NODES
from cdi_exporter.errors import ConfigError
from tests.harness import workspace

ENVIRON = {"BRAZE_KEY": "k"}
HEAD = "workspaces:\n- name: w\n  endpoint: rest.iad-03.braze.com\n  api_key_env: BRAZE_KEY\n"
SECONDS = 60.0
"""CPU seconds: far more than each test needs, and far less than a quadratic algorithm needs."""


def refused(path: Path, text: str) -> list[str]:
    """The error lines of a file, without its name."""
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_file(str(path), ENVIRON)
    assert time.process_time() - began < SECONDS
    lines = [line.removeprefix(f"{path}:") for line in caught.value.mistakes]
    assert len(lines) <= MOST_SHOWN + 1
    assert all(len(line) < 500 and line.isprintable() for line in lines)
    return lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the configuration file."""
    return tmp_path / "config.yml"


def test_a_file_that_is_too_large_is_rejected_in_one_line(path: Path) -> None:
    """It is not parsed."""
    assert refused(path, HEAD.ljust(MOST_BYTES + 1, "#")) == [
        " is too large; expected at most 1 MiB"
    ]
    path.write_text(HEAD + "#".ljust(MOST_BYTES - len(HEAD), "#"))
    assert load_file(str(path), ENVIRON).workspaces[0].name == "w"


@pytest.mark.parametrize(
    "text",
    [
        "workspaces:\n" + "- a\n" * (MOST_BYTES // 4 - 4),
        "workspaces: [" + "a," * (MOST_BYTES // 2 - 20) + "]",
        "a: &a {b: 1}\nc:\n" + " <<: *a\n" * (MOST_BYTES // 8 - 4),
    ],
    ids=["lines", "flow", "merges"],
)
def test_a_file_with_too_many_values_is_rejected_in_one_line(path: Path, text: str) -> None:
    """Parsing many tiny values takes long, so the parser stops."""
    (line,) = refused(path, text)
    assert line.endswith(f"repeated too often; expected at most {MOST_NODES:,}")


@pytest.mark.parametrize("number", ["1" * 5_000, "1:" * 400_000 + "1", "1" * 1_000_000 + ".5"])
def test_a_number_that_takes_long_to_convert_is_not_converted(path: Path, number: str) -> None:
    """Python rejects a long decimal number, and needs minutes for a number to the base of 60."""
    assert refused(path, f"workspaces: {number}")[0] == (
        "1: workspaces: a number of more than 100 characters; expected a shorter one"
    )


def test_only_the_first_hundred_errors_are_reported(path: Path) -> None:
    """The first errors are shown in the order of their lines; the others are counted."""
    entries = "".join(f"unknown{number}: 1\n" for number in range(20_000))
    lines = refused(path, entries)
    assert lines[0] == "1: unknown0: unknown key; expected one of refresh, workspaces"
    assert lines[MOST_SHOWN] == f"… and {20_001 - MOST_SHOWN:,} more errors"


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"token{number}: secret-{number}-{number}\n" for number in range(30_000)),
        "workspaces:\n" + "- {api_key: 'a b c d e f', ca_file: /x, z: 1}\n" * MOST_WORKSPACES,
        HEAD + "  integrations:\n" + "  - aaaaaaaa\n" * MOST_INTEGRATIONS,
        HEAD + "  integrations:\n" + "  - 1\n" * MOST_INTEGRATIONS,
        "workspaces:\n- name: '" + "passw" * 200_000 + "'\n",
    ],
    ids=["secrets", "workspaces", "the same ID", "numbers", "long text"],
)
def test_a_file_full_of_errors_is_rejected_quickly(path: Path, text: str) -> None:
    """The time is not quadratic in the number of errors, secrets or characters."""
    assert refused(path, text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("workspaces:\n" + "- {}\n" * (MOST_WORKSPACES + 1), "1: workspaces: a list of 501; …500"),
        (
            HEAD + "  integrations:\n" + "  - a\n" * (MOST_INTEGRATIONS + 1),
            "5: workspaces[0].integrations: a list of 20,001; …20,000",
        ),
        *(
            (HEAD + f"  {key}:\n" + entry * (MOST_PATTERNS + 1), f"5: workspaces[0].{key}: …")
            for key, entry in (
                ("include", "  - a\n"),
                ("exclude", "  - a\n"),
                ("stale_after", "  - {match: a, after: 1h}\n"),
            )
        ),
    ],
    ids=["workspaces", "integrations", "include", "exclude", "stale_after"],
)
def test_a_list_that_is_too_long_is_rejected_in_one_line(path: Path, text: str, line: str) -> None:
    """The entries of a list that is too long are not checked."""
    start, _, end = line.partition("…")
    (reported,) = refused(path, text)
    assert reported.startswith(start)
    assert reported.endswith(f"expected at most {end or MOST_PATTERNS}")


def test_names_ids_and_patterns_have_a_maximum_length(path: Path) -> None:
    """A name becomes a label, and a pattern is compared with every name."""
    long, fits = "x" * (LONGEST_NAME + 1), "x" * LONGEST_NAME
    rest = "  endpoint: rest.iad-03.braze.com\n  api_key_env: BRAZE_KEY\n"
    lists = "  integrations: [{{id: {0}, name: {0}}}]\n  include: ['*', {0}]\n  exclude: [y{1}]\n"
    stale = "  stale_after: [{{match: {0}, after: 1h}}]\n"
    text = "workspaces:\n- name: {0}\n" + rest + lists + stale
    problem = f'"{"x" * 100}…" has 201 characters; expected at most 200'
    assert [line.partition(": ")[2] for line in refused(path, text.format(long, long[1:]))] == [
        f"workspaces[0].name: {problem}",
        f"workspaces[0].integrations[0].id: {problem}",
        f"workspaces[0].integrations[0].name: {problem}",
        f"workspaces[0].include[1]: {problem}",
        f'workspaces[0].exclude[0]: "y{"x" * 99}…" has 201 characters; expected at most 200',
        f"workspaces[0].stale_after[0].match: {problem}",
    ]
    path.write_text(text.format(fits, fits[1:]))
    assert load_file(str(path), ENVIRON)


def test_the_environment_has_the_same_bounds() -> None:
    """An environment variable may have 128 KiB."""
    environ = {"BRAZE_REST_ENDPOINT": "rest.iad-03.braze.com", "BRAZE_API_KEY": "k"}
    ids = ",".join(map(str, range(MOST_INTEGRATIONS + 1)))
    with pytest.raises(ConfigError, match="has 20,001 IDs; expected at most 20,000"):
        from_environment(environ | {"BRAZE_INTEGRATION_IDS": ids})
    with pytest.raises(ConfigError, match="has 201 characters; expected at most 200"):
        from_environment(environ | {"BRAZE_WORKSPACE": "x" * 201})


@given(
    st.text("ab*?[]!-.", max_size=12),
    st.text("abAB.-", max_size=8),
    st.none() | st.text("abAB.-\n", max_size=8),
)
def test_patterns_match_as_fnmatch_does(pattern: str, key: str, name: str | None) -> None:
    """Each pattern is compiled once, and matches the same names as before."""
    expected = fnmatch.fnmatchcase(key, pattern) or (
        name is not None and fnmatch.fnmatchcase(name, pattern)
    )
    assert workspace(include=(pattern,)).selects(key, name) is expected


def test_many_patterns_are_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refresh compares all integrations with all patterns."""
    patterns = tuple(f"{'*a' * 90}{number}" for number in range(MOST_PATTERNS))
    config = workspace(include=(*patterns, "*"), exclude=patterns)
    compiled = []
    compile_ = re.compile

    def counting(text: str, *rest: int) -> re.Pattern[str]:
        compiled.append(text)
        return compile_(text, *rest)

    monkeypatch.setattr(re, "compile", counting)
    for number in range(20):
        assert config.selects(str(number), "a" * 180)
    assert len(compiled) <= MOST_PATTERNS + 1
