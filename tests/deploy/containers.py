"""Images and containers in a directory, without a daemon or registry, by buildah and podman."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.processes import ROOT, eventually, free_port, program

DOCKERFILE = ROOT / "Dockerfile"
IMAGE = "localhost/cdi-exporter:test"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
ISOLATION = ("--isolation", "chroot")
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


def output(
    *command: str,
    cwd: Path = ROOT,
    timeout: float = 120,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The stdout and stderr of a command, which must succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout.strip()


def script(name: str, *arguments: str) -> str:
    """The output of one of the project's scripts."""
    return output(str(ROOT / "scripts" / name), *arguments)


def base_image() -> str:
    """The name of the Dockerfile's base image."""
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


@dataclass(frozen=True, slots=True)
class Containers:
    """Images, volumes and containers in one directory."""

    folder: Path

    def _storage(self) -> list[str]:
        return [
            *("--root", str(self.folder / "storage"), "--runroot", str(self.folder / "run")),
            *("--storage-driver", "overlay"),
        ]

    def buildah(self, *arguments: str) -> str:
        """The output of buildah."""
        return output(program("buildah"), *self._storage(), *arguments, timeout=170)

    def podman(self, *arguments: str) -> str:
        """The output of podman."""
        return output(program("podman"), *self._storage(), "--runtime=runc", *arguments)

    def make_base_image(self) -> None:
        """Build an image of Debian with Python, under the name of the Dockerfile's base image."""
        container = self.buildah("from", "scratch")
        self.buildah("add", "-q", container, script("debian-root"), "/")
        link = ("ln", "-s", "/usr/bin/python3", "/usr/local/bin/python")
        self.buildah("run", *ISOLATION, container, "--", *link)
        path = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.buildah("config", "--env", path, "--env", "LANG=C.UTF-8", container)
        self.buildah("commit", "-q", "--rm", container, base_image())

    def build(self) -> None:
        """Build the image from the unchanged Dockerfile."""
        options = [*ISOLATION, "--pull-never", "--network", "host", "--format", "docker"]
        options += ["-v", f"{AUTHORITIES}:{AUTHORITIES}:ro"]
        self.buildah("bud", *options, "-t", IMAGE, str(ROOT))

    def image(self, name: str = IMAGE) -> dict[str, Any]:
        """The configuration of an image."""
        (image,) = json.loads(self.podman("image", "inspect", name))
        assert isinstance(image, dict)
        return image

    def inside(self, *command: str) -> str:
        """The output of a command in the image, which does not run as root."""
        options = ["--rm", "--network", "host", *HARDENED, *LIMITS]
        options += ["--no-healthcheck", "--entrypoint", command[0]]
        return self.podman("run", *options, IMAGE, *command[1:])

    def state(self, name: str) -> dict[str, Any]:
        """The state of a container's process."""
        (container,) = json.loads(self.podman("inspect", name))
        state = container["State"]
        assert isinstance(state, dict)
        return state

    @contextmanager
    def running(
        self, name: str, *command: str, answer: int = 200, **options: Any
    ) -> Iterator["Served"]:
        """Run the image's program, hardened, on the loopback. Remove the container at the end.

        `answer` is the HTTP status that shows that it serves.
        """
        served = Served(self, name, free_port())
        served.start(*command, **options)
        try:
            health = f"{served.url}/-/healthy"
            eventually(lambda: httpx.get(health).status_code == answer, f"{health} answers")
            yield served
        finally:
            self.podman("rm", "--force", "--time", "20", name)

    def clear(self) -> None:
        """Remove everything."""
        self.podman("rm", "--all", "--force", "--time", "20")
        for line in reversed(Path("/proc/self/mountinfo").read_text("utf-8").splitlines()):
            place = line.split()[4]
            if Path(place).is_relative_to(self.folder):
                output(program("umount"), place)
        shutil.rmtree(self.folder)


@dataclass(frozen=True, slots=True)
class Served:
    """A container of the exporter."""

    containers: Containers
    name: str
    port: int

    @property
    def url(self) -> str:
        """The base URL of the exporter."""
        return f"http://127.0.0.1:{self.port}"

    def start(
        self,
        *command: str,
        environment: Mapping[str, str] | None = None,
        volumes: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        """Start it in the background. `volumes` maps names or files to paths in the container.

        The only change to the image's defaults is the listen address, set by a flag.
        """
        options = ["--detach", "--name", self.name, "--network", "host", *HARDENED, *LIMITS]
        for key, value in (environment or {}).items():
            options += ["--env", f"{key}={value}"]
        for source, target in (volumes or {}).items():
            options += ["--volume", f"{source}:{target}"]
        if user is not None:
            options += ["--user", user]
        address = f"--web.listen-address=127.0.0.1:{self.port}"
        self.containers.podman("run", *options, IMAGE, *command, address)

    def healthy(self) -> None:
        """Assert that the image's health check succeeds."""
        self.containers.podman("healthcheck", "run", self.name)

    def process(self) -> dict[str, str]:
        """The status of the process in /proc."""
        pid = self.containers.state(self.name)["Pid"]
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def log(self) -> str:
        """Its output to stdout and stderr."""
        return self.containers.podman("logs", self.name)

    def stop(self) -> int:
        """Stop it as a user would. Returns the exit status."""
        self.containers.podman("stop", "--time", "20", self.name)
        return int(self.containers.state(self.name)["ExitCode"])
