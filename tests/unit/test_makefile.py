"""The Makefile and the CI script."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def would_run(*arguments: str, target: str = "demo", **environment: str) -> str:
    """The last command that `make` would run for a target."""
    dropped = ("PYTHON", "VENV", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target, *arguments],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_make_demo_leaves_the_command_in_venv() -> None:
    """This is the environment for the default interpreter."""
    assert would_run() == ".venv/bin/cdi-exporter demo"


def test_each_version_of_python_has_its_environment() -> None:
    """PYTHON can be set as an argument or an environment variable. VENV overrides it."""
    chosen = f"PYTHON={sys.executable}"
    assert would_run(chosen) == f".venv-{VERSION}/bin/cdi-exporter demo"
    assert would_run(PYTHON=sys.executable) == f".venv-{VERSION}/bin/cdi-exporter demo"
    assert would_run(chosen, "VENV=elsewhere") == "elsewhere/bin/cdi-exporter demo"


def test_the_duration_of_the_hostile_soak_test_can_be_set() -> None:
    """The default is ten minutes."""
    command = ".venv/bin/python -m tests.hostile.soak --seconds"
    assert would_run(target="soak-hostile") == f"{command} 600"
    assert would_run("SECONDS=5", target="soak-hostile") == f"{command} 5"


def test_ci_tests_the_lowest_versions_first() -> None:
    """`make test` comes last, so that the last line of CI is its summary."""
    commands = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert commands[-2:] == ["make test-lowest", "make test"]
    assert "--deselect" in would_run(target="test-lowest")


def test_links_are_set_in_the_rule_files(tmp_path: Path) -> None:
    """`make links` sets one or both URLs, and can replace them later."""
    rules = tmp_path / "prometheus" / "rules"
    rules.mkdir(parents=True)
    for file in (ROOT / "prometheus" / "rules").iterdir():
        (rules / file.name).write_text(file.read_text("utf-8"), "utf-8")

    def links(*arguments: str) -> set[str]:
        subprocess.run(
            ["make", "--silent", f"--makefile={ROOT / 'Makefile'}", "links", *arguments],
            cwd=tmp_path,
            check=True,
            timeout=60,
        )
        text = "".join(file.read_text("utf-8") for file in rules.iterdir())
        return {line.strip().partition("?")[0] for line in text.splitlines() if "_url: " in line}

    before = links()
    one = links("RUNBOOK_URL=https://wiki.test/old")
    assert "runbook_url: https://wiki.test/old/BrazeCDISyncLate.md" in one
    assert "# dashboard_url: /d/braze-cdi-integration" in one
    both = links("RUNBOOK_URL=https://wiki.test/new", "GRAFANA_URL=https://grafana.test")
    assert "runbook_url: https://wiki.test/new/BrazeCDISyncLate.md" in both
    assert "dashboard_url: https://grafana.test/d/braze-cdi-integration" in both
    assert len(before) == len(one) == len(both)
    assert all(line.split(": ")[1].startswith("https://") for line in both)


def test_make_test_prints_how_long_each_part_took(tmp_path: Path) -> None:
    """The times are printed before the last part, so that its summary stays the last line."""
    fake = tmp_path / "make"
    fake.write_text('#!/bin/sh\necho "makes $2"\n[ "$2" != broken ]\n', "utf-8")
    fake.chmod(0o755)
    command = [str(ROOT / "scripts" / "timed"), str(fake)]

    def timed(*targets: str) -> tuple[int, list[str]]:
        done = subprocess.run(
            [*command, *targets], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, [" ".join(line.split()) for line in done.stdout.splitlines()]

    status, lines = timed("lint", "types", "unit")
    assert status == 0
    assert lines[:2] == ["makes lint", "makes types"]
    assert [re.sub(r"^\d+ s", "N s", line) for line in lines[2:] if line] == [
        "N s make lint",
        "N s make types",
        "makes unit",
    ]
    assert timed("lint", "broken", "unit") == (1, ["makes lint", "makes broken"])
    recipe = re.search(r"^test:.*\n\t@(.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe
    assert recipe[1].split()[2:] == ["debian-packages", "lint", "types", "unit"]


def test_the_tests_print_how_long_each_folder_took(tmp_path: Path) -> None:
    """The times are printed before pytest's summary, which stays the last line."""
    for folder in ("one", "other"):
        place = tmp_path / "tests" / folder
        place.mkdir(parents=True)
        (place / "test_it.py").write_text("def test_it():\n    pass\n", "utf-8")
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests" / "conftest.py")
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", f"--rootdir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    *_, one, other, summary = (line for line in done.stdout.splitlines() if line)
    assert {one.split(" s ")[1].strip(), other.split(" s ")[1].strip()} == {
        "tests/one",
        "tests/other",
    }
    assert summary.startswith("2 passed in ")
