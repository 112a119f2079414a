"""The command as a process: start, errors, signals and demo."""

import json
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import (
    PATIENCE,
    clean_environment,
    eventually,
    exporter_command,
    free_port,
    running,
    serves,
)

KEY = "canary-key-77aa"


def fails(*flags: str, **env: str) -> tuple[int, list[str]]:
    """The exit status and the lines on stderr of a command that cannot start."""
    done = subprocess.run(
        exporter_command(*flags),
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr
    return done.returncode, done.stderr.splitlines()


def test_without_any_configuration_it_lists_what_to_set() -> None:
    """The error names both variables, one per line."""
    status, lines = fails()
    assert status == 2
    assert "BRAZE_REST_ENDPOINT: not set" in lines[0]
    assert "BRAZE_API_KEY" in lines[1]
    assert "cdi-exporter demo" in lines[-1]


def test_all_errors_of_the_file_are_reported_together(tmp_path: Path) -> None:
    """Each error is one line with file and line number. The exit status is 2."""
    config = tmp_path / "config.yml"
    config.write_text(
        f"workspaces:\n  - name: a\n    endpont: x\n    api_key: {KEY}\n    api_key_env: NOPE\n"
    )
    status, lines = fails(f"--config.file={config}")
    assert status == 2
    assert [line.split(": ")[1] for line in lines] == [
        f"{config}:{number}" for number in (2, 2, 3, 5)
    ]


@pytest.mark.parametrize(
    "flags",
    [
        ["--nonsense"],
        ["serve", "extra"],
        ["nocommand"],
        ["--log.level=loud"],
        ["--web.listen-address=10234"],
        ["--web.listen-address=:99999"],
        ["--web.telemetry-path=metrics"],
        ["--scrape.timeout-offset=fast"],
        ["--config.file=/does/not/exist.yml"],
        ["--config.file"],
        ["--web.telemetry-path=/sd"],
        ["--web.enable-lifecycle=perhaps"],
        ["demo", "--speed=nan"],
        ["demo", "--speed=1e300"],
    ],
)
def test_a_wrong_flag_is_one_line_of_error(flags: list[str]) -> None:
    """The error is the only line, and the exit status is 2."""
    status, lines = fails(*flags, BRAZE_REST_ENDPOINT="rest.iad-01.braze.com", BRAZE_API_KEY=KEY)
    assert status == 2
    assert len(lines) == 1


def test_all_errors_of_the_flags_are_reported_together() -> None:
    """Each error is one line, whatever its kind."""
    status, lines = fails(
        "--log.level=loud",
        "--log.format=xml",
        "--web.listen-address=a",
        "--web.listen-address=b",
        "--web.listen-address=:80",
        "--nonsense",
        "--log.lvel=info",
        "extra",
    )
    assert status == 2
    expected = ("'loud'", "'xml'", "'a'", "'b'", "'--nonsense'", "'--log.level'")
    assert [word for line, word in zip(lines, expected, strict=True) if word not in line] == []


def test_errors_of_both_files_are_reported_together(tmp_path: Path) -> None:
    """Errors of the configuration come first, then those of the web configuration."""
    config, web = tmp_path / "config.yml", tmp_path / "web.yml"
    config.write_text("workspaces: 7\n")
    web.write_text("users: 7\n")
    status, lines = fails(f"--config.file={config}", f"--web.config.file={web}")
    assert status == 2
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [str(config), str(web)]


@pytest.mark.parametrize("flag", ["--web.listen-address", "--web.health-address"])
def test_a_port_in_use_is_status_1(flag: str) -> None:
    """The configuration is valid, but the port is taken. The error names the flag to change."""
    flags = {each: f"127.0.0.1:{free_port()}" for each in ("--web.listen-address", flag)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        flags[flag] = f"127.0.0.1:{taken.getsockname()[1]}"
        status, lines = fails(
            *(f"{name}={address}" for name, address in flags.items()),
            BRAZE_REST_ENDPOINT="rest.iad-01.braze.com",
            BRAZE_API_KEY=KEY,
        )
    assert status == 1
    (line,) = lines
    assert line.startswith(f"cdi-exporter: cannot listen on {flags[flag]}: ")
    assert line.endswith(f"; choose another {flag}")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_answers_the_scrape_that_waits(
    signum: signal.Signals, tmp_path: Path
) -> None:
    """The exit status is 0. A waiting scrape gets the data that is available."""
    port, health = free_port(), free_port()
    answers: list[httpx.Response] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running(
            exporter_command(
                f"--web.listen-address=127.0.0.1:{port}",
                f"--web.health-address=127.0.0.1:{health}",
            ),
            tmp_path / "log",
            clean_environment(
                BRAZE_REST_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
                BRAZE_API_KEY=KEY,
            ),
        ) as process,
    ):
        serves(f"http://127.0.0.1:{health}/-/healthy")
        assert httpx.get(f"http://127.0.0.1:{health}/metrics", timeout=60).status_code == 404
        scrape = threading.Thread(
            target=lambda: answers.append(
                httpx.get(
                    f"http://127.0.0.1:{port}/metrics",
                    headers={"X-Prometheus-Scrape-Timeout-Seconds": "50"},
                    timeout=55,
                )
            )
        )
        scrape.start()
        connection, _ = silent.accept()  # the exporter sends a request, so the scrape waits
        with connection:
            process.send_signal(signum)
            assert process.wait(40) == 0  # the scrape would have waited longer
            scrape.join(PATIENCE)
    assert [answer.status_code for answer in answers] == [200]
    assert "cdi_exporter_build_info" in answers[0].text


def test_the_demo_shows_every_status(tmp_path: Path) -> None:
    """Without a key or a network, each status appears within a minute. The log gives the URL."""
    port = free_port()
    with running(
        exporter_command("demo", f"--web.listen-address=127.0.0.1:{port}", "--log.format=json"),
        tmp_path / "log",
    ) as process:
        base = f"http://127.0.0.1:{port}"
        serves(f"{base}/-/ready")

        shown: set[str] = set()

        def every_status() -> bool:
            page = httpx.get(f"{base}/metrics").text
            shown.update(re.findall(r'_last_sync_status{.*status="(\w+)".*} 1\.0', page))
            return shown >= {"success", "partial", "error", "config_error", "unknown"}

        eventually(every_status, "every status is shown")
        assert httpx.get(base, timeout=PATIENCE).status_code == 200
        log = tmp_path / "log"
        eventually(lambda: "sync finished" in log.read_text(), "a new run finishes")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    output = (tmp_path / "log").read_text()
    assert f"{base}/metrics" in output
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert any(event["event"] == "sync finished" for event in events)


def test_version_and_help() -> None:
    """Both print to stdout with status 0, and the help lists every documented flag."""
    for flags, wanted in (
        (["--version"], ["cdi-exporter 0", "Python 3"]),
        (["serve", "--version"], ["cdi-exporter 0", "Python 3"]),
        (["--log.level=debug", "--version"], ["cdi-exporter 0", "Python 3"]),
        (["--help"], ["serve", "demo", "--state.file", "--scrape.timeout-offset"]),
        (["serve", "--help"], ["--config.file", "--web.listen-address", "--log.format"]),
    ):
        done = subprocess.run(
            exporter_command(*flags), capture_output=True, text=True, check=True, timeout=60
        )
        assert all(text in done.stdout for text in wanted)
