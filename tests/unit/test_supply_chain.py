"""What is installed with the exporter: locked with hashes, wherever it comes from, and licensed."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
    """The requirements of a dependency group and of those that it includes."""
    entries: list[Any] = PROJECT["dependency-groups"][name]
    for entry in entries:
        if isinstance(entry, dict):
            yield from group(entry["include-group"])
        else:
            yield Requirement(entry)


def wanted(lock: Path) -> list[Requirement]:
    """What pyproject.toml asks for, of which the lock is made."""
    runtime = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
    of = {BUILD: [*group("build")], DEV: [*runtime, *group("dev")], MODELS: [*group("models")]}
    return runtime if lock == RUNTIME else of[lock]


def versions(lock: Path) -> dict[str, str]:
    """The locked versions by their packages' names."""
    pinned: dict[str, str] = {}
    for each in licences.locked(lock):
        (version,) = each.specifier
        pinned[canonicalize_name(each.name)] = version.version
    return pinned


def asked_for(lock: Path) -> set[str]:
    """The packages that the lock says were asked for by pyproject.toml itself."""
    text = lock.read_text("utf-8")
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    return {block.partition("=")[0] for block in blocks if "cdi-exporter (pyproject.toml" in block}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_lock_is_what_is_asked_for(lock: Path) -> None:
    """Each requirement has a version that satisfies it, and none is there for what is no more."""
    pinned = versions(lock)
    for requirement in wanted(lock):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked; {STALE}"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is locked as {version}; {STALE}"
        )
    assert asked_for(lock) == {canonicalize_name(each.name) for each in wanted(lock)}, STALE


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_the_lock_names_no_place(lock: Path) -> None:
    """No host, no index and no path: it installs from wherever packages come from."""
    assert not re.search(r"[/@]|--index|--extra-index|--find-links", lock.read_text("utf-8"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_everything_is_pinned_with_hashes(lock: Path) -> None:
    """Each line pins one version, and what is installed is compared with its hash."""
    blocks = re.split(r"^(?=\w)", lock.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert blocks
    assert all(re.match(r"[\w.-]+==\S+ ", block) for block in blocks)
    assert all("--hash=sha256:" in block for block in blocks)


def test_what_is_tested_is_what_is_shipped() -> None:
    """The developers' lock has the versions of the image's, for running and for building."""
    shipped = versions(RUNTIME) | versions(BUILD)
    assert shipped.items() <= versions(DEV).items(), STALE


def test_the_licences_page_is_fresh() -> None:
    """docs/licences.md lists every locked package and a licence for each."""
    assert licences.PAGE.read_text("utf-8") == licences.page(), "run make generated"
    rows = [line for line in licences.page().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(versions(RUNTIME))
    assert all(row.split("|")[3].strip() for row in rows)
