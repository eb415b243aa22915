"""Tests write in memory where the system has enough of it, and where the user wants it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import temporary_folder


@pytest.fixture(autouse=True)
def same_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the folder of the process as it was."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)


def test_shared_memory_is_the_folder_of_temporary_files(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    temporary_folder.use_memory(environment, tmp_path, needed_bytes=1)
    assert environment == {"TMPDIR": str(tmp_path)}


def test_the_folder_that_the_user_named_stays(tmp_path: Path) -> None:
    environment = {"TMPDIR": "/scratch"}
    temporary_folder.use_memory(environment, tmp_path, needed_bytes=1)
    assert environment == {"TMPDIR": "/scratch"}


def test_a_small_or_missing_shared_memory_is_not_used(tmp_path: Path) -> None:
    environment: dict[str, str] = {}
    temporary_folder.use_memory(environment, tmp_path / "missing", needed_bytes=1)
    temporary_folder.use_memory(environment, tmp_path, needed_bytes=2**62)
    assert environment == {}
