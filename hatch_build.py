"""The README of the packages: on a package index its links lead to the repository.

The address is REPOSITORY_URL of the environment, which `make dist REPOSITORY_URL=…` sets. Without
it the README stays as it is.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(readme: str, repository: str, tag: str) -> str:
    """A README whose relative links and pictures lead to a tag of the repository."""

    def replaced(link: re.Match[str]) -> str:
        view = "raw" if link[1] else "blob"
        return f"{link[1]}{link[2]}({repository}/{view}/{tag}/{link[3]})"

    return LINK.sub(replaced, readme)


class Readme(MetadataHookInterface):
    """Adds the README, and the addresses of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Hatchling asks for what pyproject.toml calls dynamic."""
        root = Path(self.root)
        readme = (root / "README.md").read_text("utf-8")
        repository = os.environ.get("REPOSITORY_URL", "").rstrip("/")
        if repository:
            module = (root / "cdi_exporter" / "__init__.py").read_text("utf-8")
            (version,) = re.findall(r'^__version__ = "(.+)"$', module, re.MULTILINE)
            tag = f"v{version}"
            readme = absolute(readme, repository, tag)
            metadata["urls"] = {
                "Source": repository,
                "Documentation": f"{repository}/blob/{tag}/docs/README.md",
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
