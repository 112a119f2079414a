"""An API key, an e-mail address and a password in a URL, which must never be shown."""

import gzip
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from cdi_exporter.cli import cli
from tests.e2e.leaky_braze import KEY, MARK, PASSWORD, PERSON, TROUBLES, LeakyBraze
from tests.e2e.processes import (
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
    serves,
)
from tests.harness import SCRAPER
from tests.shown import serving

PROXY = f"http://canary:{PASSWORD}@127.0.0.1:1"
"""A proxy that does not exist. Requests through it fail, and the error must not quote its URL."""

REQUESTS: list[tuple[str, str]] = [
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
    ("POST", "/metrics"),
    ("GET", "/probe?workspace=w"),
    ("GET", "/probe?workspace=proxied"),
    ("GET", "/probe?workspace=unknown"),
    ("GET", "/probe"),
    ("GET", "/-/metrics"),
    ("GET", "/sd"),
    ("GET", "/"),
    ("GET", "/?q=users&sort=name"),
    ("GET", "/?sort=nonsense"),
    ("GET", "/api/v1/status"),
    ("GET", "/-/healthy"),
    ("GET", "/-/ready"),
    ("POST", "/-/reload"),
    ("GET", "/-/reload"),
    ("GET", "/nowhere"),
]
PATHS_WITH_ERRORS = [("GET", path) for path in ("/metrics", "/", "/api/v1/status")]
"""The paths that show problems with Braze."""

ACCEPTED = ["text/plain", "application/openmetrics-text; version=1.0.0", "text/html", "*/*"]

BROKEN = {
    "next to the key": f"""
workspaces:
  - name: w
    endpoint: http://canary:{PASSWORD}@192.0.2.1/{KEY}
    api_key: {KEY}
    api_key_fle: {KEY}
    {KEY}: {PERSON}
  - {{name: w, endpoint: "https://{KEY}", api_key: [{KEY}]}}
  - {{name: {KEY}, endpoint: "x?key={KEY}", api_key_env: {KEY}, api_key_file: /tmp/{KEY}}}
refresh: {KEY}
""",
    "no YAML": f'workspaces:\n  - name: w\n    api_key: "{KEY}\n',
    "unknown alias": f"workspaces:\n  - name: w\n    api_key: *{KEY}\n",
    "unknown tag": f"workspaces:\n  - name: w\n    api_key: !{KEY} {KEY}\n",
    "text alone": KEY,
    "no UTF-8": f"workspaces: [{{name: w, api_key: {KEY}\xff}}]",
}
"""Invalid configurations in which the error is next to a secret."""


@dataclass
class Exporter:
    """A real exporter and everything that it writes."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        """The path of its configuration."""
        return self.folder / "config.yml"

    def answers(self, requests: Sequence[tuple[str, str]] = REQUESTS) -> Iterator[bytes]:
        """The head and the body of its response to each request."""
        with httpx.Client(base_url=self.url, timeout=30) as client:
            for method, path in requests:
                for accepted in ACCEPTED if path.endswith("=w") else ["*/*"]:
                    answer = client.request(method, path, headers={"accept": accepted})
                    yield repr(answer.headers).encode() + answer.content

    def scrape(self) -> str:
        """Scrape the workspace of the leaky Braze."""
        return httpx.get(f"{self.url}/probe?workspace=w", headers=SCRAPER, timeout=30).text

    def meets(self, braze: LeakyBraze, trouble: str) -> bool:
        """Scrape.

        Returns whether Braze has failed this way more often than one request is tried.
        """
        return bool(self.scrape()) and braze.failed[trouble] > 3

    def files(self) -> Iterator[bytes]:
        """The bytes of all files that it has written: log, state file and auxiliary files."""
        for path in self.folder.iterdir():
            if path != self.config:
                yield path.name.encode() + path.read_bytes()


def assert_clean(several: Iterator[bytes]) -> int:
    """Assert that no output contains a secret. Returns the number of outputs."""
    outputs = [*several]
    for output in outputs:
        place = output.lower().find(MARK)
        assert place < 0, output[max(0, place - 200) : place + 200]
    return len(outputs)


def configuration(braze: str, key: str = f"api_key: {KEY}") -> str:
    """A configuration with the leaky Braze and a workspace behind a proxy that does not exist."""
    return f"""
refresh:
  min_interval: 0s
  request_timeout: 500ms
  rate_limits: {{integrations: 1000000, job_sync_status: 1000000}}
workspaces:
  - {{name: w, endpoint: "{braze}", {key}}}
  - {{name: proxied, endpoint: rest.iad-01.braze.com, api_key_env: OTHER_KEY}}
"""


def environment() -> dict[str, str]:
    """An environment with secrets in every variable that can contain one."""
    return clean_environment(
        BRAZE_API_KEY=KEY,
        OTHER_KEY=f"{KEY}-2",
        HTTPS_PROXY=PROXY,
        ALL_PROXY=PROXY,
        NO_PROXY="127.0.0.1",
    )


@contextmanager
def exporter(folder: Path, config: str, log_format: str) -> Iterator[Exporter]:
    """A real exporter at its most verbose log level."""
    port = free_port()
    (folder / "config.yml").write_text(config)
    command = exporter_command(
        f"--config.file={folder}/config.yml",
        f"--state.file={folder}/state.sqlite",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
        "--log.level=debug",
        f"--log.format={log_format}",
    )
    with running(command, folder / "log", environment()) as process:
        url = f"http://127.0.0.1:{port}"
        serves(f"{url}/-/ready")
        yield Exporter(url, folder, process)


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_the_exporter_shows_no_secret(log_format: str, tmp_path: Path) -> None:
    """No response, log line or state file contains a secret while Braze fails in every way."""
    braze = LeakyBraze()
    with (
        serving(braze) as url,
        exporter(tmp_path, configuration(url), log_format) as made,
    ):
        eventually(lambda: 'braze_cdi_up{workspace="w"} 1' in made.scrape(), "the workspace is up")
        eventually(lambda: "rows_failed_total" in made.scrape(), "a history is read")
        assert assert_clean(made.answers()) > 20
        for trouble in TROUBLES:
            braze.trouble = trouble
            eventually(partial(made.meets, braze, trouble), trouble)
            assert_clean(made.answers(PATHS_WITH_ERRORS))
        braze.trouble = ""
        now = braze.integration.runs[-1].start / 1e6 + 1800
        braze.integration.run(now, now + 60, "error")
        log = tmp_path / "log"
        eventually(lambda: made.scrape() and "sync finished" in log.read_text(), "a run is counted")
        assert_clean(made.answers())
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(30) == 0
        assert assert_clean(made.files()) >= 2
    assert {*braze.keys} == {KEY}
    logged = log.read_text()
    assert all(words in logged for words in (*TROUBLES.values(), "Connection refused"))


def test_a_broken_configuration_shows_no_secret(tmp_path: Path) -> None:
    """The configuration is reloaded by POST and by SIGHUP."""
    with (
        serving(LeakyBraze()) as url,
        exporter(tmp_path, configuration(url), "logfmt") as made,
    ):
        log = tmp_path / "log"
        for broken in BROKEN.values():
            made.config.write_bytes(broken.encode("latin-1"))
            answer = httpx.post(f"{made.url}/-/reload", timeout=60)
            assert answer.status_code == 400
            assert str(made.config) in answer.text
            before = log.read_text().count("configuration reload failed")
            made.process.send_signal(signal.SIGHUP)
            eventually(
                lambda before=before: log.read_text().count("configuration reload failed") > before,  # type: ignore[misc]
                "the reload is refused",
            )
            assert_clean(made.answers())
        assert_clean(made.files())


@pytest.mark.parametrize("command", ["serve", "check", "backfill"])
@pytest.mark.parametrize("broken", ["next to the key", "no YAML"])
def test_no_command_shows_the_secrets_of_a_broken_configuration(
    broken: str, command: str, tmp_path: Path
) -> None:
    """Each command names the file and the line, but no value."""
    config = tmp_path / "config.yml"
    config.write_text(BROKEN[broken])
    status, output = outcome(command, f"--config.file={config}", folder=tmp_path)
    assert status == 2
    assert f"{config}:".encode() in output


def outcome(*arguments: str, folder: Path | None = None) -> tuple[int, bytes]:
    """The exit status and the output of a command, which must contain no secret."""
    done = subprocess.run(
        exporter_command(*arguments),
        env=environment(),
        capture_output=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
    assert_clean(iter([done.stdout, done.stderr]))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("trouble", ["", "401", "web page", "silence"])
def test_check_shows_no_secret(trouble: str, tmp_path: Path) -> None:
    """Neither output format contains a secret at the lowest log level, whatever Braze returns."""
    braze = LeakyBraze()
    braze.trouble = trouble
    config = tmp_path / "config.yml"
    with serving(braze) as url:
        config.write_text(configuration(url))
        for output in ("table", "json"):
            flags = [f"--output={output}", f"--config.file={config}", "--log.level=debug"]
            status, printed = outcome("check", *flags)
            assert status == 1, "the proxied workspace is not reached"
            assert b"HTTPS_PROXY" in printed
    assert {*braze.keys} == {KEY}


@pytest.mark.parametrize("trouble", ["", "401", "403"])
def test_backfill_shows_no_secret(trouble: str, tmp_path: Path) -> None:
    """Neither the output, the day files nor the progress files contain a secret."""
    braze = LeakyBraze()
    braze.trouble = trouble
    config, output = tmp_path / "config.yml", tmp_path / "out"
    with serving(braze) as url:
        config.write_text(configuration(url).partition("  - {name: proxied")[0])
        flags = [
            f"--config.file={config}",
            f"--output={output}",
            "--since=4h",
            "--until=0s",
            "--force",
        ]
        status, _ = outcome("backfill", *flags, "--log.level=debug", folder=tmp_path)
    assert (status == 0) is (trouble == "")
    files = [path for path in output.rglob("*") if path.is_file()]
    assert_clean(path.read_bytes() for path in files)
    assert_clean(gzip.decompress(path.read_bytes()) for path in files if path.suffix == ".gz")
    assert any(path.suffix == ".om" for path in files) is (trouble == "")
    assert KEY in braze.keys


def test_help_shows_no_secret() -> None:
    """Values from the environment are not shown as defaults."""
    for command in ("", *cli.list_commands(None)):  # type: ignore[arg-type]
        status, output = outcome(*filter(None, [command]), "--help")
        assert status == 0
        assert b"Usage" in output


@pytest.mark.parametrize("linked", [False, True])
def test_a_key_file_is_rotated_without_a_restart(linked: bool, tmp_path: Path) -> None:
    """The next request uses the new key. While the file is missing or empty, the old key is used.

    One case replaces a link to a directory, as Kubernetes does.
    """
    braze, keys = LeakyBraze(), tmp_path / "keys"
    (keys / "first").mkdir(parents=True)
    (keys / "data").symlink_to("first")
    path = keys / "data" / "key" if linked else keys / "key"

    def write(text: str) -> None:
        folder = keys / f"folder-{len(list(keys.iterdir()))}" if linked else keys
        folder.mkdir(exist_ok=True)
        fresh = folder / ("key" if linked else "key.new")
        fresh.write_text(text)
        if linked:
            (keys / "data.new").symlink_to(folder.name)
            os.replace(keys / "data.new", keys / "data")  # noqa: PTH105 -- the link, not its target
        else:
            fresh.replace(path)

    write(f"{KEY}-a\n")
    config_key = f"api_key_file: {path}"
    with (
        serving(braze) as url,
        exporter(tmp_path, configuration(url, config_key), "json") as made,
    ):

        def requests_with(key: str) -> None:
            braze.simulator.key = key
            braze.keys.clear()
            works = 'braze_cdi_up{workspace="w"} 1'
            eventually(
                lambda: works in made.scrape() and braze.keys, "it sends a request with the key"
            )
            assert {*braze.keys} == {key}

        requests_with(f"{KEY}-a")
        write(f"{KEY}-b")
        requests_with(f"{KEY}-b")
        path.unlink()
        requests_with(f"{KEY}-b")
        write("\n")
        requests_with(f"{KEY}-b")
        write(f"  {KEY}-c  \n")
        requests_with(f"{KEY}-c")
        assert_clean(made.answers())
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(30) == 0
    assert_clean(iter([(tmp_path / "log").read_bytes(), (tmp_path / "state.sqlite").read_bytes()]))


def test_a_leak_would_be_detected() -> None:
    """The leaky Braze does send all secrets, and the search finds each of them."""
    braze = LeakyBraze()
    found = []
    with serving(braze) as url:
        for trouble in ("", "401", "web page"):
            braze.trouble = trouble
            answer = httpx.get(
                f"{url}/cdi/integrations", headers={"authorization": f"Bearer {KEY}"}, timeout=60
            )
            found.append(repr(answer.headers) + answer.text)
    assert PERSON in found[0]
    for output in found:
        assert KEY in output
        assert PASSWORD in output
        with pytest.raises(AssertionError):
            assert_clean(iter([output.encode()]))
