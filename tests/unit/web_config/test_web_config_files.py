"""Good and bad web configuration files with their exact messages, compared with promtool."""

import re
import subprocess
from pathlib import Path

import pytest

from cdi_exporter.config.forms import keys_of
from cdi_exporter.errors import ConfigError
from cdi_exporter.files import Files
from cdi_exporter.web.security.guard import Policy, load
from cdi_exporter.web.security.sections import (
    CURVES,
    HEADERS,
    SECTIONS,
    UNVERIFIED,
    VERIFIED,
    VERSIONS,
)
from tests.e2e.processes import program

TESTDATA = Path(__file__).parent / "testdata"
BAD, GOOD, REFUSED = (
    sorted((TESTDATA / kind).glob("*.yml")) for kind in ("bad", "good", "refused")
)
DEPENDS_ON_VERSION = re.compile(
    r"^\s*(cert|key|client_ca|client_allowed_sans|rate_limit):|TLS_RSA_", re.MULTILINE
)
"""Keys that promtool 2.42 does not know, and cipher suites that newer versions refuse."""


def loaded(path: Path) -> Policy:
    return load(str(path), Files().read)


def errors(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        loaded(path)
    return caught.value.mistakes


@pytest.mark.parametrize("path", [*BAD, *REFUSED], ids=lambda path: path.stem)
def test_a_bad_file_gives_the_expected_errors(path: Path, files: Path) -> None:
    """The expected errors are in the `.txt` file next to it. They contain no secret."""
    message = "\n".join(errors(files / path.name)).replace(f"{files}/", "")
    assert message + "\n" == path.with_suffix(".txt").read_text("utf-8")
    assert "canary" not in message


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_loads(path: Path, files: Path) -> None:
    """TLS is on only if the file configures it."""
    assert (loaded(files / path.name).tls is not None) == path.stem.startswith("tls")


def test_each_expected_error_text_has_a_configuration_file() -> None:
    """When a file is renamed, its `.txt` file must be renamed as well."""
    messages = {path.stem for path in TESTDATA.glob("*/*.txt")}
    assert messages == {path.stem for path in [*BAD, *REFUSED]}


def test_promtool_accepts_and_rejects_the_same_files(files: Path) -> None:
    """It rejects the bad files and accepts the others, except where its versions differ.

    The folder `refused` has files that the toolkit accepts but that make no sense or cannot be
    supported in Python.
    """
    names = [path.name for path in [*BAD, *GOOD, *REFUSED]]
    done = subprocess.run(
        [program("promtool"), "check", "web-config", *names],
        cwd=files,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    verdicts = dict(
        re.findall(r"^(\S+\.yml) (SUCCESS|FAILED)", done.stdout + done.stderr, re.MULTILINE)
    )
    assert verdicts.keys() == set(names)
    for path in [*BAD, *GOOD, *REFUSED]:
        if path in BAD:
            assert verdicts[path.name] == "FAILED", path.name
        elif not DEPENDS_ON_VERSION.search(path.read_text("utf-8")):
            assert verdicts[path.name] == "SUCCESS", path.name


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A path that is not a regular file is an error as well. The message is one line."""
    absent = tmp_path / "absent.yml"
    reason = "no such file or directory"
    assert errors(absent) == (f"{absent}: cannot be read ({reason}); expected a YAML file",)
    assert errors(Path("/dev/zero")) == (
        "/dev/zero: cannot be read (not a plain file); expected a YAML file",
    )


def test_certificates_may_be_inline_text(certificates: Path, tmp_path: Path) -> None:
    """Certificate, key and client CA can be written in the file itself."""
    path = tmp_path / "web.yml"
    path.write_text(inline(certificates, "server", "server"))
    policy = loaded(path)
    assert policy.tls is not None
    assert [each["subject"] for each in policy.tls.get_ca_certs()] == [
        ((("commonName", "authority"),),)
    ]


def test_a_key_in_the_file_is_never_shown(certificates: Path, tmp_path: Path) -> None:
    """An error about the pair shows no part of the key, and no file stays on the disk."""
    path = tmp_path / "web.yml"
    path.write_text(inline(certificates, "server", "renewed"))
    (error,) = errors(path)
    assert "the private key does not match the certificate" in error
    key = (certificates / "renewed.key").read_text()
    assert not any(line in error for line in key.splitlines() if len(line) > 8)
    assert [each.name for each in tmp_path.iterdir()] == ["web.yml"]


def inline(certificates: Path, certificate: str, key: str) -> str:
    def block(name: str) -> str:
        return "".join(f"    {line}\n" for line in (certificates / name).read_text().splitlines())

    return (
        f"tls_server_config:\n  cert: |\n{block(certificate + '.crt')}"
        f"  key: |\n{block(key + '.key')}"
        f"  client_auth_type: RequireAndVerifyClientCert\n"
        f"  client_ca: |\n{block('authority.crt')}"
    )


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0", 0.0),
        ('"0"', 0.0),
        ("5", 5e-9),
        ("1.5", 1e-9),
        ("1s", 1.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("100ms", 0.1),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("7ns", 7e-9),
        ("-1s", -1.0),
        ("+1s", 1.0),
    ],
)
def test_an_interval_is_a_go_duration(written: str, seconds: float, tmp_path: Path) -> None:
    """It has Go's units. A number without a unit is in nanoseconds."""
    path = tmp_path / "web.yml"
    path.write_text(f"rate_limit: {{interval: {written}, burst: 2}}\n")
    policy = loaded(path)
    assert policy.interval == pytest.approx(seconds)
    assert policy.burst == 2


def test_headers_are_sent_on_one_line(files: Path) -> None:
    """A number is sent as it is written. Line ends in YAML become spaces."""
    sent = dict(loaded(files / "headers.yml").headers)
    assert sent[b"X-XSS-Protection"] == b"1"
    assert sent[b"Content-Security-Policy"] == b"default-src 'none'; img-src 'self'"
    assert dict(loaded(files / "header-without-a-value.yml").headers) == {
        b"Strict-Transport-Security": b""
    }


def test_users_may_have_any_name(files: Path) -> None:
    """A name that YAML reads as a number or boolean is used as it is written."""
    assert set(loaded(files / "users-named-by-numbers.yml").users) == {b"1", b"yes"}


def test_the_docs_describe_each_key_and_header() -> None:
    page = (Path(__file__).parents[3] / "docs" / "web-config.md").read_text("utf-8")
    keys = {key for _, section in SECTIONS for key in keys_of(section)}
    for name in (*keys, *HEADERS, *VERSIONS, *CURVES, *VERIFIED, *UNVERIFIED):
        assert f"`{name}`" in page or f"`.{name}`" in page, name
