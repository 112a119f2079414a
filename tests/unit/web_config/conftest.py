"""The test files, next to certificates that are created for this run."""

import shutil
from pathlib import Path

import pytest

from tests.certificates import all_certificates

TESTDATA = Path(__file__).parent / "testdata"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `server.crt`, `server.key` and the other certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    all_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def files(certificates: Path) -> Path:
    """The same folder with a copy of each test file. Tests must not change it."""
    for path in sorted(TESTDATA.glob("*/*.yml")):
        shutil.copy(path, certificates)
    return certificates
