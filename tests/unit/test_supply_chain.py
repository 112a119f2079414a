"""Dependencies: locked with hashes, independent of the index, and with known licences."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import licences

ROOT = licences.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUNTIME, BUILD, DEV, MODELS = LOCKS = tuple(
    ROOT / f"requirements{part}.lock" for part in ("", "-build", "-dev", "-models")
)
STALE = "the lock is stale: run make lock"


def group(name: str) -> Iterator[Requirement]:
    """The requirements of a dependency group, including the groups it includes."""
    entries: list[Any] = PROJECT["dependency-groups"][name]
    for entry in entries:
        if isinstance(entry, dict):
            yield from group(entry["include-group"])
        else:
            yield Requirement(entry)


def wanted(lock: Path) -> list[Requirement]:
    """The requirements in pyproject.toml that the lock is made from."""
    project = PROJECT["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["postgresql"]]
    runtime = [Requirement(each) for each in named]
    of = {BUILD: [*group("build")], DEV: [*runtime, *group("dev")], MODELS: [*group("models")]}
    return runtime if lock == RUNTIME else of[lock]


def versions(lock: Path) -> dict[str, str]:
    """The locked version of each package."""
    pinned: dict[str, str] = {}
    for each in licences.locked(lock):
        (version,) = each.specifier
        pinned[canonicalize_name(each.name)] = version.version
    return pinned


def direct_requirements(lock: Path) -> set[str]:
    """The packages that the lock marks as direct requirements of pyproject.toml."""
    text = lock.read_text("utf-8")
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    return {block.partition("=")[0] for block in blocks if "cdi-exporter (pyproject.toml" in block}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_lock_file_satisfies_the_declared_dependencies(lock: Path) -> None:
    """Each requirement has a version that satisfies it.

    No obsolete direct requirement is locked.
    """
    pinned = versions(lock)
    for requirement in wanted(lock):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked; {STALE}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is locked as {version}; {STALE}"
        )
    assert direct_requirements(lock) == {canonicalize_name(each.name) for each in wanted(lock)}, (
        STALE
    )


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_lock_contains_no_host_index_or_path(lock: Path) -> None:
    """Packages can be installed from any index."""
    assert not re.search(r"[/@]|--index|--extra-index|--find-links", lock.read_text("utf-8"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_each_package_is_pinned_with_hashes(lock: Path) -> None:
    """pip compares each installed package with its hash."""
    blocks = re.split(r"^(?=\w)", lock.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert blocks
    assert all(re.match(r"[\w.-]+==\S+ ", block) for block in blocks)
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_development_lock_has_the_same_versions_as_the_image() -> None:
    """This covers the packages to run and to build."""
    shipped = versions(RUNTIME) | versions(BUILD)
    assert shipped.items() <= versions(DEV).items(), STALE


def test_the_licences_page_is_fresh() -> None:
    """docs/licences.md lists every package of the image, with its licence."""
    assert licences.PAGE.read_text("utf-8") == licences.page(), "run make generated"
    rows = [line for line in licences.page().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(licences.installed())
    assert all(row.split("|")[3].strip() for row in rows)


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def workflow(file: Path) -> dict[Any, Any]:
    """A workflow as parsed by YAML, which reads the key `on` as true."""
    read = yaml.safe_load(file.read_text("utf-8"))
    assert isinstance(read, dict)
    return read


def test_there_is_a_workflow_for_each_purpose() -> None:
    """There are four workflows and dependency updates, and no CODEOWNERS file."""
    assert [file.stem for file in WORKFLOWS] == ["ci", "code-scanning", "locks", "release"]
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text("utf-8"))["updates"]
    assert {each["package-ecosystem"] for each in updates} >= {"github-actions", "docker"}
    assert not list(ROOT.glob("**/CODEOWNERS"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_has_minimal_permissions(file: Path) -> None:
    """A workflow has no permissions. Each job lists the ones it needs."""
    read = workflow(file)
    assert read["permissions"] == {}
    for name, job in read["jobs"].items():
        assert isinstance(job["permissions"], dict), name


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """A tag can be moved. The comment names the release of the commit."""
    used = re.findall(r"uses: (.+)$", file.read_text("utf-8"), re.MULTILINE)
    others = [each for each in used if not each.startswith("./")]
    assert others
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in others)


def test_each_action_is_pinned_to_one_commit() -> None:
    """All workflows use the same release of an action."""
    text = "".join(file.read_text("utf-8") for file in WORKFLOWS)
    commits: dict[str, set[str]] = {}
    for action, commit in re.findall(r"uses: ([\w./-]+)@(.+)$", text, re.MULTILINE):
        commits.setdefault("/".join(action.split("/")[:2]), set()).add(commit)
    assert {action for action, pinned in commits.items() if len(pinned) > 1} == set()


def test_ci_runs_every_supported_python() -> None:
    """CI runs the versions that the package declares, and every target of .ci/run."""
    prefix = "Programming Language :: Python :: "
    supported = [
        each.removeprefix(prefix) for each in PROJECT["project"]["classifiers"] if prefix in each
    ]
    ci = ROOT / ".github" / "workflows" / "ci.yml"
    assert workflow(ci)["jobs"]["test"]["strategy"]["matrix"]["python"] == supported
    targets = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert set(targets) == {"test", "test-lowest", "test-deploy", "test-compat"}
    assert all(target in ci.read_text("utf-8") for target in targets)


def test_pre_commit_runs_the_checks_of_make_lint() -> None:
    """The commands are the same, in the same order, with the locked tools."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", makefile, re.MULTILINE)
    assert recipe
    assert entries == [
        line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()
    ]
