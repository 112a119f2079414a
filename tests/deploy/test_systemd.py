"""The systemd unit: validity, rating, and whether it allows all that the command needs."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from cdi_exporter.cli import WRONG_USE
from tests.deploy.containers import output
from tests.e2e.braze_server import KEY
from tests.e2e.processes import (
    ROOT,
    clean_environment,
    eventually,
    free_port,
    program,
    running,
    serves,
)

UNIT = ROOT / "deploy" / "systemd" / "cdi-exporter.service"
INSTALLED = "/opt/cdi-exporter/bin/cdi-exporter"
HERE = str(Path(sys.executable).with_name("cdi-exporter"))


def settings(key: str) -> list[str]:
    """Every value of a key in the unit, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


def system_calls(names: list[str]) -> Iterator[str]:
    """The system calls in a list that can contain sets, which start with @."""
    for name in names:
        if name.startswith("@"):
            lines = output(program("systemd-analyze"), "syscall-filter", name).splitlines()
            members = [line.strip() for line in lines[1:] if not line.strip().startswith("#")]
            yield from system_calls(members)
        else:
            yield name


def allowed() -> set[str]:
    """The system calls that the unit's filter allows."""
    calls: set[str] = set()
    for line in settings("SystemCallFilter"):
        if line.startswith("~"):
            calls -= set(system_calls(line[1:].split()))
        else:
            calls |= set(system_calls(line.split()))
    return calls


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd-analyze finds no unknown key and no invalid value."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace(INSTALLED, HERE), "utf-8")
    assert output(program("systemd-analyze"), "verify", "--man=no", str(unit)) == ""


def test_the_unit_is_hardened() -> None:
    """systemd rates its exposure as 1.5 of 10 or better."""
    output(program("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(UNIT))


def test_the_unit_works_with_a_fixed_user(tmp_path: Path) -> None:
    """The change in the guide is valid and leaves the unit as hardened as before."""
    guide = (ROOT / "docs" / "systemd.md").read_text("utf-8")
    (change,) = re.findall(r"# systemctl edit cdi-exporter\n(.+?)```", guide, re.DOTALL)
    assert "DynamicUser=no" in change
    unit = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8").replace(INSTALLED, HERE)
    unit.write_text(text.replace("DynamicUser=yes\n", change.partition("[Service]\n")[2]), "utf-8")
    assert output(program("systemd-analyze"), "verify", "--man=no", str(unit)) == ""
    output(program("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(unit))


def test_the_fixed_user_is_created(tmp_path: Path) -> None:
    """It is a system user without a shell whose home is the state directory."""
    (tmp_path / "etc").mkdir()
    output(program("systemd-sysusers"), f"--root={tmp_path}", str(UNIT.with_suffix(".sysusers")))
    (line,) = (
        each
        for each in (tmp_path / "etc" / "passwd").read_text("utf-8").splitlines()
        if each.startswith("cdi-exporter:")
    )
    *_, home, shell = line.split(":")
    assert home == "/var/lib/cdi-exporter"
    assert shell.endswith("nologin")


def test_only_root_can_read_the_folders_of_the_keys(tmp_path: Path) -> None:
    """This holds even if a key in them is readable by everyone."""
    keys = tmp_path / "etc" / "cdi-exporter" / "keys"
    keys.mkdir(parents=True)
    for key in (keys / "production", keys.with_name("api-key")):
        key.write_text("key\n")
        key.chmod(0o644)
    file = UNIT.with_suffix(".tmpfiles")
    output(program("systemd-tmpfiles"), "--create", f"--root={tmp_path}", str(file))
    modes = {path.name: path.stat().st_mode & 0o777 for path in keys.parent.rglob("*")}
    assert modes == {"keys": 0o700, "production": 0o600, "api-key": 0o600}
    assert keys.parent.stat().st_mode & 0o777 == 0o755


def test_the_unit_waits_until_it_serves() -> None:
    """The process itself notifies systemd, in a way that version 252 supports."""
    assert settings("Type") == ["notify"]
    assert set(settings("NotifyAccess")) <= {"main"}


def test_no_core_dump_is_written() -> None:
    """A process that crashes does not write its memory to disk."""
    assert settings("LimitCORE") == ["0"]


def unit_environment(folder: Path) -> dict[str, str]:
    """The variables that the unit sets, with the state and the credentials in one directory."""
    variables = (line.partition("=") for line in settings("Environment"))
    return {
        name: value.replace("%S", str(folder)).replace("%d", str(folder))
        for name, _, value in variables
    }


def traced(braze: str, folder: Path, manager: socket.socket) -> str:
    """The system calls of the unit's command: start, scrape, reload and stop.

    `manager` receives its notifications to systemd.
    """
    (folder / "cdi-exporter").mkdir()
    (folder / "api-key").write_text(f"{KEY}\n")
    manager.bind(str(folder / "notify"))
    url = f"127.0.0.1:{free_port()}"
    environment = clean_environment(
        BRAZE_REST_ENDPOINT=braze,
        CDI_EXPORTER_WEB_LISTEN_ADDRESS=url,
        NOTIFY_SOCKET=str(folder / "notify"),
        **unit_environment(folder),
    )
    (command,) = settings("ExecStart")
    log, trace = folder / "log", folder / "trace"
    strace = [program("strace"), "-f", "-qq", "-e", "signal=none", "-o", str(trace)]
    with running([*strace, *command.replace(INSTALLED, HERE).split()], log, environment) as process:
        serves(f"http://{url}/-/healthy")

        def known() -> bool:
            return 'integration_name="orders"' in httpx.get(f"http://{url}/metrics").text

        eventually(known, "the integrations are shown")
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGHUP)
        eventually(lambda: "configuration reloaded" in log.read_text(), "the reload succeeds")
        os.kill(int(child), signal.SIGTERM)
        assert process.wait(60) == 0
    return trace.read_text()


def test_the_unit_allows_what_the_command_needs(braze: str, tmp_path: Path) -> None:
    """The unit allows its system calls, sockets and memory, and the state is kept."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        trace = traced(braze, tmp_path, manager)
        assert manager.recv(1_000) == b"READY=1"
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)[( ]", trace, re.MULTILINE))
    assert {"execve", "epoll_wait", "accept4"} <= called
    # SQLite changes the owner of its files to that of the database only if it runs as root.
    assert called - {"fchown"} <= allowed()
    assert "PROT_WRITE|PROT_EXEC" not in trace
    (families,) = settings("RestrictAddressFamilies")
    assert set(re.findall(r"socket\((AF_\w+)", trace)) <= set(families.split())
    assert (tmp_path / "cdi-exporter" / "state.sqlite").exists()


def test_the_service_restarts_after_a_crash_but_not_after_a_configuration_error() -> None:
    """After the exit status of an invalid flag or configuration, systemd does not restart it."""
    assert settings("Restart") == ["on-failure"]
    assert settings("RestartPreventExitStatus") == [str(WRONG_USE)]
