"""The page of the packages installed with the exporter, and their licences.

`python -m tools.licences` writes docs/licences.md from the lock and the metadata of the packages.
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
"""Some packages have the whole licence text instead of its name."""


def locked(lock: Path = LOCK) -> Iterator[Requirement]:
    """The requirements in a lock, each with its version but without hashes."""
    for line in lock.read_text("utf-8").splitlines():
        if line[:1].isalnum():
            yield Requirement(line.removesuffix("\\"))


def installed(lock: Path = LOCK) -> list[Requirement]:
    """The requirements in a lock that are installed on Linux."""
    here = {"sys_platform": "linux"}
    return [each for each in locked(lock) if each.marker is None or each.marker.evaluate(here)]


def licence(package: str) -> str:
    """The licence in a package's metadata: an SPDX expression, a name or classifiers."""
    fields = metadata(package)
    for key in ("License-Expression", "License"):
        if key in fields and len(fields[key]) <= LONGEST_NAME:
            return fields[key]
    classifiers = fields.get_all("Classifier") or []
    return ", ".join(
        each.removeprefix(CLASSIFIER) for each in classifiers if each.startswith(CLASSIFIER)
    )


def page() -> str:
    """The text of the page."""
    rows = []
    for each in installed():
        (version,) = each.specifier
        rows.append(f"| {each.name} | {version.version} | {licence(each.name)} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
