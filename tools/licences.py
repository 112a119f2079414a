"""The page of what is installed with the exporter, and under which licences.

python -m tools.licences writes docs/licences.md from the lock and what the packages say.
"""

from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
PAGE = ROOT / "docs" / "licences.md"
HEAD = """\
# Licences

cdi-exporter has the [Apache License 2.0](../LICENSE). The packages of `requirements.lock` are
installed with it. The table shows the licence that each package declares. `make generated` writes
this page.

| package | version | licence |
|---|---|---|
"""
CLASSIFIER = "License :: OSI Approved :: "
LONGEST_NAME = 60
"""Some packages give the licence's whole text where its name belongs."""


def locked(lock: Path = LOCK) -> Iterator[Requirement]:
    """The requirements of a lock, each of one version, without their hashes."""
    for line in lock.read_text("utf-8").splitlines():
        if line[:1].isalnum():
            yield Requirement(line.removesuffix("\\"))


def installed(lock: Path = LOCK) -> list[Requirement]:
    """Those of a lock that are installed on Linux."""
    here = {"sys_platform": "linux"}
    return [each for each in locked(lock) if each.marker is None or each.marker.evaluate(here)]


def licence(package: str) -> str:
    """What an installed package says: an SPDX expression, a name, or its classifiers."""
    said = metadata(package)
    for key in ("License-Expression", "License"):
        if key in said and len(said[key]) <= LONGEST_NAME:
            return said[key]
    classifiers = said.get_all("Classifier") or []
    return ", ".join(
        each.removeprefix(CLASSIFIER) for each in classifiers if each.startswith(CLASSIFIER)
    )


def page() -> str:
    """The page as it should stand."""
    rows = []
    for each in installed():
        (version,) = each.specifier
        rows.append(f"| {each.name} | {version.version} | {licence(each.name)} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
