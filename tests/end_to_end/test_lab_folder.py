"""`make lab` removes only the records of its last start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.lab import by_hand


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which a lab would have been started."""
    folders: list[Path] = []

    def start(folder: Path, **_: object) -> None:
        folders.append(folder)
        raise by_hand.LabError("not here")

    monkeypatch.setattr(by_hand.Lab, "start", start)
    return folders


def test_a_folder_with_other_files_is_an_error_and_unchanged(
    tmp_path: Path, started: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "records" / "2026" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    assert by_hand.main(["--folder", str(tmp_path)]) == 2
    assert (theirs.read_text(), started) == ("years of work", [])
    assert [each.name for each in tmp_path.iterdir()] == ["records"]
    assert "not the lab's own" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["empty", "new/below"])
def test_a_new_or_empty_folder_becomes_the_lab_s_and_loses_its_records_at_the_next_start(
    tmp_path: Path, started: list[Path], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    folder = tmp_path / name
    by_hand.main(["--folder", str(folder)])
    (folder / "records").mkdir()
    (folder / "notes.txt").touch()
    by_hand.main(["--folder", str(folder)])
    assert started == [folder, folder]
    assert not (folder / "records").exists()
    assert (folder / "notes.txt").exists()


def test_a_path_that_is_no_folder_is_an_error_sentence(
    tmp_path: Path, started: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert by_hand.main(["--folder", str(tmp_path / "file")]) == 2
    assert (started, "cannot be used" in capsys.readouterr().err) == ([], True)


@pytest.mark.parametrize("port", ["99999", "-1", "http", "٣"])
def test_a_value_that_is_no_port_is_an_error_sentence(
    port: str, started: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        by_hand.main([f"--port={port}"])
    assert (
        started,
        capsys.readouterr().err.splitlines()[-1].endswith("is no port: write 0 to 65535"),
    ) == ([], True)
