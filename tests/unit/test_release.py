"""Releases: the version in all files, the changelog, and the links on a package index."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cdi_exporter import __version__
from tools import release

ROOT = release.ROOT
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- One thing.

## [0.0.1] - 2026-01-01

- Another thing.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that contain the version, and a changelog."""
    for name in release.MENTIONS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, "utf-8")
    return tmp_path


def test_the_version_is_the_same_everywhere() -> None:
    """Code, image, chart, manifests and docs contain the version of the package."""
    assert {version for _, version in release.mentioned()} == {__version__}
    assert {name for name, _ in release.mentioned()} == set(release.MENTIONS)


def test_no_other_file_contains_the_version() -> None:
    """The release tool knows each file that contains the version."""
    listed = subprocess.run(
        [
            "git",
            "grep",
            "-lwF",
            __version__,
            "--",
            "cdi_exporter",
            "deploy",
            "docs",
            "*file",
            "*.md",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 128:  # an unpacked source archive has no Git repository
        return
    generated = {"CHANGELOG.md", f"{release.CHART}/README.md"}
    assert set(listed.stdout.split()) - generated <= set(release.MENTIONS)


def test_the_docs_build_the_image_that_the_chart_pulls() -> None:
    """The image tag in docs/deploy.md is the chart's appVersion, which is the default tag."""
    docs = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    chart = (ROOT / release.CHART / "Chart.yaml").read_text("utf-8")
    values = (ROOT / release.CHART / "values.yaml").read_text("utf-8")
    tags = re.findall(r"docker (?:build|push).*/cdi-exporter:(\S+)", docs)
    (app_version,) = re.findall(r"^appVersion: (\S+)$", chart, re.MULTILINE)
    assert len(tags) == 2
    assert set(tags) == {app_version}
    assert re.search(r'^  tag: ""$', values, re.MULTILINE)


def test_a_release_sets_the_version_everywhere(project: Path) -> None:
    """The unreleased changes become its section of the changelog."""
    release.prepare("9.8.7", "2026-12-01", project)
    assert {version for _, version in release.mentioned(project)} == {"9.8.7"}
    assert len(release.mentioned(project)) == len(release.mentioned())
    changelog = (project / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]\n\n## [9.8.7] - 2026-12-01\n\n### Added" in changelog
    assert release.section(changelog, "9.8.7") == "### Added\n\n- One thing."
    assert release.section(changelog, "0.0.1") == "- Another thing."
    assert release.section(changelog, "Unreleased") == ""


def test_the_first_release_may_have_the_version_of_the_code(project: Path) -> None:
    """A version without a section in the changelog has not been released."""
    release.prepare(__version__, "2026-12-01", project)
    assert {version for _, version in release.mentioned(project)} == {__version__}


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("", "has the form 1.2.3"),
        ("v1.2.3", "has the form 1.2.3"),
        ("1.2", "has the form 1.2.3"),
        ("0.0.1", "is older than"),
    ],
)
def test_an_invalid_version_changes_nothing(project: Path, version: str, words: str) -> None:
    """The error is one line."""
    before = release.mentioned(project)
    with pytest.raises(SystemExit, match=words):
        release.prepare(version, "2026-12-01", project)
    assert release.mentioned(project) == before
    assert (project / "CHANGELOG.md").read_text("utf-8") == CHANGELOG


def test_a_version_cannot_be_released_twice(project: Path) -> None:
    """A release without unreleased changes is refused as well. Nothing is changed."""
    release.prepare("9.8.7", "2026-12-01", project)
    with pytest.raises(SystemExit, match=r"has a section of 9\.8\.7 already"):
        release.prepare("9.8.7", "2026-12-02", project)
    with pytest.raises(SystemExit, match="says nothing under Unreleased"):
        release.prepare("9.9.0", "2026-12-02", project)
    assert release.current(project) == "9.8.7"


def test_links_point_to_the_repository() -> None:
    """A page links to its rendered view, an image to its file. Other links are unchanged."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    text = "[a](docs/a.md#b) ![p](p.png) [here](#here) [web](https://x.test/) <http://localhost/>"
    assert hook.absolute(text, "https://git.test/o/r", "v1") == (
        "[a](https://git.test/o/r/blob/v1/docs/a.md#b) ![p](https://git.test/o/r/raw/v1/p.png) "
        "[here](#here) [web](https://x.test/) <http://localhost/>"
    )
    readme = hook.absolute((ROOT / "README.md").read_text("utf-8"), "https://git.test/o/r", "v1")
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", readme, flags=re.DOTALL))
    assert targets
    assert all(re.match(r"https?://|#", target) for target in targets)
