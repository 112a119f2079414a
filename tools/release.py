"""The version: prepare a release, or print its section of the changelog.

The only source of the version is cdi_exporter/__init__.py. Files that cannot import it repeat it:

python -m tools.release 1.2.3    sets the version, and makes Unreleased its section of the changelog
python -m tools.release --notes  prints the changelog's section of the current version
python -m tools.release --tag=v1.2.3  fails if the tag names another version
"""

import argparse
import datetime as dt
import re
import sys
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]
SOURCE = "cdi_exporter/__init__.py"
CHART = "deploy/helm/cdi-exporter"
UNRELEASED = "## [Unreleased]"

MENTIONS = {
    SOURCE: (r'^__version__ = "(.+)"$',),
    "Dockerfile": (r"^ARG VERSION=(.+)$",),
    f"{CHART}/Chart.yaml": (r"^version: (.+)$", r"^appVersion: (.+)$"),
    "deploy/kubernetes/cdi-exporter.yaml": (
        r'app\.kubernetes\.io/version: "(.+)"$',
        r"helm\.sh/chart: cdi-exporter-(.+)$",
        r'image: "cdi-exporter:(.+)"$',
    ),
    "docs/deploy.md": (
        r"registry\.example\.com/cdi-exporter:(\S+)",
        r"^ {4}version: (\d\S*)$",
    ),
}
"""The places with the version: patterns for each file, each with one group around the version."""


def mentioned(root: Path = ROOT) -> list[tuple[str, str]]:
    """Each place where the version is written: the file and the version there."""
    found = []
    for name, patterns in MENTIONS.items():
        text = (root / name).read_text("utf-8")
        for pattern in patterns:
            versions = re.findall(pattern, text, re.MULTILINE)
            if not versions:
                sys.exit(f"release: {name} does not name the version any more: {pattern}")
            found += [(name, version) for version in versions]
    return found


def current(root: Path = ROOT) -> str:
    """The version of the code."""
    return next(version for name, version in mentioned(root) if name == SOURCE)


def set_version(version: str, root: Path = ROOT) -> None:
    """Write the version everywhere."""

    def replaced(match: re.Match[str]) -> str:
        start, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:start] + version + match[0][end:]

    for name, patterns in MENTIONS.items():
        text = (root / name).read_text("utf-8")
        for pattern in patterns:
            text = re.sub(pattern, replaced, text, flags=re.MULTILINE)
        (root / name).write_text(text, "utf-8")


def section(changelog: str, version: str) -> str:
    """The changelog's section of a version, without its heading. Empty if there is none."""
    heading = rf"^## \[{re.escape(version)}\][^\n]*"
    found = re.search(rf"{heading}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def with_release(changelog: str, version: str, date: str) -> str:
    """The changelog with all unreleased changes moved to this version's section."""
    if section(changelog, version):
        sys.exit(f"release: CHANGELOG.md has a section of {version} already")
    if not section(changelog, "Unreleased"):
        sys.exit("release: CHANGELOG.md says nothing under Unreleased")
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n\n## [{version}] - {date}", 1)


def prepare(version: str, date: str, root: Path = ROOT) -> None:
    """Set the version and write its section of the changelog."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?", version):
        sys.exit(f"release: VERSION={version}: a version has the form 1.2.3 or 1.2.3-rc.1")
    if Version(version) < Version(current(root)):
        sys.exit(f"release: VERSION={version} is older than {current(root)}")
    changelog = root / "CHANGELOG.md"
    text = with_release(changelog.read_text("utf-8"), version, date)
    set_version(version, root)
    changelog.write_text(text, "utf-8")


def main() -> None:
    """Run the command from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("version", nargs="?")
    chosen.add_argument("--notes", action="store_true")
    chosen.add_argument("--tag")
    wanted, version = parser.parse_args(), current()
    if wanted.notes:
        notes = section((ROOT / "CHANGELOG.md").read_text("utf-8"), version)
        if not notes:
            sys.exit(f"release: CHANGELOG.md has no section of {version}: run make release")
        print(notes)
    elif wanted.tag:
        if wanted.tag != f"v{version}":
            sys.exit(f"release: the tag {wanted.tag} is not that of the code: v{version}")
    else:
        prepare(wanted.version, dt.datetime.now(dt.UTC).date().isoformat())


if __name__ == "__main__":
    main()
