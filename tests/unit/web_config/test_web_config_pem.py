"""PEM text in a temporary file that only this user can read."""

import os
import stat
from pathlib import Path

import pytest

from cdi_exporter.pem import as_file


def test_the_text_is_in_a_file_in_memory() -> None:
    """If the system supports it, the key is never written to a disk."""
    with as_file(b"key") as path:
        assert Path(path).read_bytes() == b"key"
        assert str(Path(path).readlink()).startswith("/memfd:")
    assert not Path(path).exists()


def test_without_memfd_the_key_is_in_a_private_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is private and is removed afterwards."""

    def forbidden(name: str, flags: int) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "memfd_create", forbidden)
    with as_file(b"key") as path:
        assert Path(path).read_bytes() == b"key"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert not Path(path).exists()
