"""Reloading of the web configuration. A broken file keeps the last valid policy in use."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cdi_exporter import logs
from cdi_exporter.errors import ConfigError
from cdi_exporter.files import Files
from cdi_exporter.web.security.guard import Policy, Security

HEADERS = "http_server_config: {headers: {X-Frame-Options: deny}}\n"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "logfmt", stream)
    yield stream
    structlog.reset_defaults()


class Watched:
    """The web security of a file in its own folder, with its own time."""

    def __init__(self, folder: Path, content: str) -> None:
        self.file, self.now = folder / "web.yml", 1000.0
        self.file.write_text(content)
        self.security = Security(str(self.file), lambda: self.now, lambda: self.now)

    def policy(self) -> Policy:
        """The policy for a request that arrives now."""
        return asyncio.run(self.security.policy())


@pytest.fixture
def tls(certificates: Path, tmp_path: Path) -> Watched:
    """TLS with a certificate that a test can replace."""
    use(certificates, tmp_path, "server", "server")
    return Watched(tmp_path, "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n")


def use(certificates: Path, folder: Path, certificate: str, key: str) -> None:
    (folder / "tls.crt").write_bytes((certificates / f"{certificate}.crt").read_bytes())
    (folder / "tls.key").write_bytes((certificates / f"{key}.key").read_bytes())


def test_a_wrong_web_configuration_prevents_the_start(tmp_path: Path) -> None:
    """There is no earlier policy to use instead."""
    with pytest.raises(ConfigError):
        Watched(tmp_path, "nonsense: 1\n")


def test_a_file_with_the_same_content_is_not_loaded_again(tls: Watched) -> None:
    first = tls.policy()
    tls.file.write_bytes(tls.file.read_bytes())
    assert tls.policy() is first


def test_a_broken_change_keeps_the_last_valid_policy(tmp_path: Path, log: io.StringIO) -> None:
    """It is logged once. The time of the last successful reload does not change."""
    watched = Watched(tmp_path, HEADERS)
    good = watched.policy()
    watched.now = 2000.0
    watched.file.write_text("http_server_config: {headers: {X-Frame-Options: never}}\n")
    assert [watched.policy() for _ in range(5)] == [good] * 5
    assert (watched.security.reload_successful, watched.security.reloaded) == (False, 1000.0)
    (line,) = log.getvalue().splitlines()
    assert "level=error" in line
    assert f"{watched.file}:1: http_server_config.headers.X-Frame-Options" in line
    watched.file.unlink()
    assert watched.policy() is good
    assert "no such file" in log.getvalue().splitlines()[-1]
    watched.file.write_text(HEADERS)
    assert watched.policy().headers == good.headers
    assert (watched.security.reload_successful, watched.security.reloaded) == (True, 2000.0)
    assert "web configuration reloaded" in log.getvalue().splitlines()[-1]


def test_a_new_certificate_is_a_new_context(
    tls: Watched, certificates: Path, tmp_path: Path, log: io.StringIO
) -> None:
    """Only the certificate files change. If just one of them is replaced, the old pair is kept."""
    context = tls.policy().tls
    (tmp_path / "tls.crt").write_bytes((certificates / "renewed.crt").read_bytes())
    assert tls.policy().tls is context
    assert not tls.security.reload_successful
    assert "does not match" in log.getvalue()
    use(certificates, tmp_path, "renewed", "renewed")
    assert tls.policy().tls is not context
    assert tls.security.reload_successful


def test_a_swapped_link_is_a_change(tmp_path: Path, certificates: Path) -> None:
    """Kubernetes updates a secret by replacing one link to a folder."""
    for name in ("server", "renewed"):
        (tmp_path / name).mkdir()
        use(certificates, tmp_path / name, name, name)
    (tmp_path / "now").symlink_to("server")
    watched = Watched(
        tmp_path, "tls_server_config: {cert_file: now/tls.crt, key_file: now/tls.key}\n"
    )
    context = watched.policy().tls
    (tmp_path / "next").symlink_to("renewed")
    (tmp_path / "next").rename(tmp_path / "now")
    assert watched.policy().tls is not context
    assert watched.security.reload_successful


def test_tls_cannot_be_switched_on_or_off_by_a_reload(
    tls: Watched, tmp_path: Path, log: io.StringIO
) -> None:
    """Such a file is rejected. Clients would suddenly meet the other protocol."""
    context = tls.policy().tls
    tls.file.write_text(HEADERS)
    assert tls.policy().tls is context
    assert "TLS is switched off; this needs a restart" in log.getvalue()
    plain = tmp_path / "plain"
    plain.mkdir()
    watched = Watched(plain, HEADERS)
    watched.file.write_text("tls_server_config: {cert_file: ../tls.crt, key_file: ../tls.key}\n")
    assert watched.policy().tls is None
    assert watched.security.tls is None
    assert not watched.security.reload_successful


def test_a_file_that_appears_or_disappears_is_a_change(tmp_path: Path) -> None:
    """A missing file is a state like any other."""
    path, files = tmp_path / "a", Files()
    with pytest.raises(FileNotFoundError):
        files.read(str(path))
    assert not files.changed()
    path.write_text("x")
    assert files.changed()
    assert files.read(str(path)) == b"x"
    assert not files.changed()
    path.unlink()
    path.mkdir()
    assert files.changed()
