"""Properties of every web configuration file."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from cdi_exporter.config.forms import keys_of
from cdi_exporter.errors import ConfigError
from cdi_exporter.files import Files
from cdi_exporter.web.security.guard import Policy, load
from cdi_exporter.web.security.sections import HEADERS, SECTIONS

NAMES = [key for _, section in SECTIONS for key in keys_of(section)]
TEXT = st.text(max_size=70) | st.sampled_from([*HEADERS, "TLS12", "CurveP256", "deny", "$2y$10$"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.dates()
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | TEXT | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
FILES = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4)


def outcome(content: bytes) -> Policy | None:
    """The policy of a file, or None if it has errors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "web.yml"
        path.write_bytes(content)
        with suppress(ConfigError):
            return load(str(path), Files().read)
    return None


@given(FILES)
def test_every_file_loads_or_has_errors(data: dict[str, Any]) -> None:
    """No other error is raised, whatever the values are."""
    outcome(yaml.safe_dump(data, allow_unicode=False).encode())


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_every_content_loads_or_has_errors(content: bytes) -> None:
    """The content may not even be YAML."""
    outcome(content)


def test_a_lone_surrogate_is_an_ordinary_error() -> None:
    """YAML can contain a lone surrogate. UTF-8 cannot."""
    for content in (
        'tls_server_config: {cert: "\\ud800", key: "\\ud800"}',
        'tls_server_config: {cert_file: "\\ud800", key: x}',
        'basic_auth_users: {alice: "\\ud800"}',
        'http_server_config: {headers: {X-XSS-Protection: "\\ud800"}}',
    ):
        assert outcome(content.encode()) is None
    hashed = "$2y$04$" + "a" * 53
    policy = outcome(f'basic_auth_users: {{"\\ud800": {hashed}}}'.encode())
    assert policy is not None
    assert len(policy.users) == 1
