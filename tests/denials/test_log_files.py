"""Logs in files, folders, archives and pipes; what cannot be read is told in a sentence."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from leastpriv.denials import job_logs
from leastpriv.denials.job_logs import read_logs
from leastpriv.errors import InputError

SENTENCE = (
    b"x\nUser: arn:aws:iam::123456789012:user/ci is not authorized to perform: sqs:ListQueues\n"
)


def places(names: list[str], standard_input: bytes = b"") -> list[tuple[str, int]]:
    return [
        (logged_denial.file, logged_denial.line)
        for logged_denial in read_logs(names, io.BytesIO(standard_input))
    ]


def archive(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, content in members.items():
            zip_file.writestr(name, content)
    return packed.getvalue()


def test_files_and_standard_input_are_read_in_the_order_named(tmp_path: Path) -> None:
    first_file = tmp_path / "one.log"
    first_file.write_bytes(SENTENCE)
    assert places([str(first_file), "-"], SENTENCE) == [(str(first_file), 2), ("-", 2)]


def test_without_a_name_standard_input_is_read() -> None:
    assert places([], SENTENCE) == [("-", 2)]


def test_a_folder_is_read_to_its_depth(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "3_deploy.txt").write_bytes(SENTENCE)
    assert places([str(tmp_path)]) == [(str(tmp_path / "build" / "3_deploy.txt"), 2)]


def test_an_archive_is_read_from_a_file_and_from_a_pipe(tmp_path: Path) -> None:
    packed = archive(
        {
            "0_build.txt": SENTENCE,
            "build/": b"",
            "build/1_x.txt": b"nothing",
            "build/2_y.txt": SENTENCE,
        }
    )
    file = tmp_path / "logs.zip"
    file.write_bytes(packed)
    assert places([str(file)]) == [(f"{file}/0_build.txt", 2), (f"{file}/build/2_y.txt", 2)]
    assert places(["-"], packed) == [("-/0_build.txt", 2), ("-/build/2_y.txt", 2)]


@pytest.mark.parametrize(
    "damaged", [lambda packed: packed[:60], lambda packed: packed[:40] + b"\xff" * 9 + packed[49:]]
)
def test_a_damaged_archive_is_reported(damaged: object) -> None:
    packed = damaged(archive({"0_build.txt": SENTENCE * 50}))  # type: ignore[operator]
    with pytest.raises(InputError, match="'-' is a zip archive that cannot be read"):
        places(["-"], packed)


def test_an_archive_bomb_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "MAX_DECOMPRESSED", 1_000_000)
    with pytest.raises(InputError, match="unfolds to more than"):
        places(["-"], archive({"a": b"\n" * 600_000, "b": b"\n" * 600_000}))


def test_a_log_that_gzip_compressed_is_read_from_a_file_and_from_a_pipe(tmp_path: Path) -> None:
    packed = gzip.compress(b"begin\n") + gzip.compress(SENTENCE)
    file = tmp_path / "deploy.log.gz"
    file.write_bytes(packed)
    assert places([str(file), "-"], packed) == [(str(file), 3), ("-", 3)]


def test_a_damaged_gzip_file_is_reported() -> None:
    packed = gzip.compress(SENTENCE * 50)
    for damaged in (packed[:-12], packed[:20] + b"\xff" * 9 + packed[29:], packed[:5]):
        with pytest.raises(InputError, match="'-' is a gzip file that cannot be read"):
            places(["-"], damaged)


def test_a_gzip_bomb_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "MAX_DECOMPRESSED", 1_000)
    with pytest.raises(InputError, match="unfolds to more than"):
        places(["-"], gzip.compress(b"x" * 2_000))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.log' cannot be read: No such file"):
        places([str(tmp_path / "absent.log")])


def test_empty_and_tiny_logs_have_no_denials() -> None:
    assert places([], b"") == places([], b"P") == places([], b"PK\x03") == []
