"""A file is written where its name says, whatever the folder holds already."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from leastpriv.atomic_file import write_atomically


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no write into the checkout may change."""
    file = tmp_path / "outside"
    file.write_text("mine")
    return file


@pytest.mark.parametrize("name", ["report.html", ".report.html.part"])
def test_a_link_in_the_folder_leads_no_write_out_of_it(
    name: str, tmp_path: Path, outside: Path
) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / name).symlink_to(outside)
    write_atomically(folder / "report.html", b"written")
    assert outside.read_text() == "mine"
    assert (folder / "report.html").read_text() == "written"
    assert not (folder / "report.html").is_symlink()
    assert [file.name for file in folder.iterdir()] == ["report.html"]


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text("{}")
    file.chmod(0o640)
    write_atomically(file, b"[]")
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_no_part(tmp_path: Path) -> None:
    folder = tmp_path / "policy.json"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(folder, b"[]")
    assert [file.name for file in tmp_path.iterdir()] == ["policy.json"]


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system writes no file of more than 1,000 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text("{}")
    with pytest.raises(OSError, match="File too large"):
        write_atomically(file, b"x" * 2_000)
    assert file.read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["policy.json"]
