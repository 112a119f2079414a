"""The packages: reproducible, accepted by an index, and sufficient to run the exporter."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.deploy.containers import output
from tests.e2e.processes import ROOT, clean_environment
from tools import licences

pytestmark = pytest.mark.timeout(580)

REPOSITORY = "https://git.example.com/owner/cdi-exporter"
END_TO_END = ("backfill", "check", "discovery", "healthcheck", "notify", "state", "web_config")
"""The end-to-end tests that start the exporter's command and need no other program."""


def program(name: str) -> str:
    """A program of the environment in which the tests run."""
    return str(Path(sys.executable).with_name(name))


def built(source: Path, out: Path, epoch: str, *options: str) -> list[Path]:
    """The packages built from a source tree or an unpacked archive."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options]
    subprocess.run(
        [*command, str(source)],
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch, "REPOSITORY_URL": REPOSITORY},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel and the source archive of the checkout."""
    return built(ROOT, tmp_path_factory.mktemp("dist"), "1700000000")


def wheel_of(packages: Sequence[Path]) -> Path:
    """The wheel among the packages."""
    (wheel,) = (each for each in packages if each.suffix == ".whl")
    return wheel


def metadata(wheel: Path) -> str:
    """The metadata of the wheel, including the README."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def test_two_builds_are_byte_equal(packages: list[Path], tmp_path: Path) -> None:
    """A copy of the checkout with other file times gives the same packages."""
    copy = tmp_path / "elsewhere" / "checkout"
    left_out = (".git", ".venv*", "__pycache__", "dist", "build", ".*_cache", ".hypothesis")
    shutil.copytree(
        ROOT,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns(*left_out),
        copy_function=shutil.copy,
    )
    again = built(copy, tmp_path / "dist", "1700000000")
    assert [each.name for each in again] == [each.name for each in packages]
    for one, other in zip(packages, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_source_archive_builds_the_wheel(packages: list[Path], tmp_path: Path) -> None:
    """It builds the same wheel, byte for byte, without the checkout."""
    (archive,) = (each for each in packages if each.suffix == ".gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (wheel,) = built(source, tmp_path / "dist", "1700000000", "--wheel")
    assert wheel.read_bytes() == wheel_of(packages).read_bytes()


def test_an_index_accepts_the_packages(packages: list[Path]) -> None:
    """Their metadata is complete, the README renders, and the wheel's contents are as usual."""
    output(program("twine"), "check", "--strict", *map(str, packages))
    output(program("check-wheel-contents"), str(wheel_of(packages)))


def test_the_links_of_the_readme_work_on_an_index(packages: list[Path]) -> None:
    """Each link leads to an existing file in the repository, at the tag of the version."""
    text = metadata(wheel_of(packages))
    (version,) = re.findall(r"^Version: (.+)$", text, re.MULTILINE)
    readme = re.sub(r"```.*?```", "", text.partition("\n\n")[2], flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", readme) if not link.startswith("#")]
    own = [link for link in links if link.startswith(REPOSITORY)]
    assert len(own) > 20
    assert all(link.startswith("https://") for link in links)
    for link in own:
        place = re.fullmatch(rf"{REPOSITORY}/(?:blob|raw)/v{version}/([^#]+)(#.*)?", link)
        assert place, link
        assert (ROOT / place[1]).exists(), link
    assert f"Project-URL: Source, {REPOSITORY}" in text


@pytest.fixture(scope="module")
def installed(packages: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with only the wheel and the locked packages."""
    place = tmp_path_factory.mktemp("empty") / "venv"
    output(sys.executable, "-m", "venv", "--without-pip", str(place))
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install"]
    output(*pip, "--require-hashes", "--requirement", str(licences.LOCK), timeout=280)
    output(*pip, "--no-deps", "--no-index", str(wheel_of(packages)))
    return python


def test_the_wheel_and_the_locked_packages_are_enough(installed: Path, tmp_path: Path) -> None:
    """Every module can be imported outside the checkout."""
    code = (
        "import pkgutil, importlib, cdi_exporter\n"
        "found = pkgutil.walk_packages(cdi_exporter.__path__, 'cdi_exporter.')\n"
        "names = [each.name for each in found if not each.name.endswith('__main__')]\n"
        "[importlib.import_module(name) for name in names]\n"
        "print(len(names), cdi_exporter.__file__)"
    )
    count, place = subprocess.run(
        [str(installed), "-I", "-c", code],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split()
    assert int(count) > 100
    assert Path(place).is_relative_to(installed.parents[1])


def test_the_wheel_passes_the_end_to_end_tests(installed: Path) -> None:
    """The tests start the processes from the wheel instead of the checkout."""
    printed = output(
        *(sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal"),
        *(f"tests/e2e/test_{name}.py" for name in END_TO_END),
        environment={"TEST_PYTHON": str(installed)},
        timeout=570,
    )
    assert re.search(r"^\d+ passed in ", printed.splitlines()[-1]), printed
