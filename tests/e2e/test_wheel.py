"""The built wheel that users install, instead of the source tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, clean_environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(out), str(ROOT)]
    subprocess.run(command, check=True, timeout=120)
    (built,) = out.glob("cdi_exporter-*.whl")
    return built


def test_the_wheel_contains_the_data_files(wheel: Path) -> None:
    """It contains templates, the stylesheet, the licence and `py.typed`, but no tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for room in ("templates", "static")
        for path in (ROOT / "cdi_exporter" / "web" / room).rglob("*")
        if path.is_file()
    }
    assert wanted
    assert wanted | {"cdi_exporter/py.typed"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/", "tools/")) for name in names)


def test_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """The command works with only the wheel and the installed dependencies."""
    code = "import cdi_exporter; print(cdi_exporter.__file__)"
    env = clean_environment(PYTHONPATH=str(wheel))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert wheel.name in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "cdi_exporter", "--version"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cdi-exporter" in done.stdout
