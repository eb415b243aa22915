"""What was read of a folder is kept between runs, and changes no answer."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import local_store
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.models import Gap
from tests.fakes.counted import evidence_in

ACCOUNT = "123456789012"
START = datetime(2026, 1, 2, 8, tzinfo=UTC)
DEPLOY = Principals(frozenset({parse_principal(f"arn:aws:iam::{ACCOUNT}:role/deploy")}))


def record(number: int, role: str = "deploy", **fields: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/s{number}",
        },
        "eventTime": f"{START + timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "awsRegion": "eu-west-1",
        "eventID": f"{role}-{number}",
        "eventType": "AwsApiCall",
        "requestParameters": {"bucketName": "b", "key": f"ü{number}", "rate": 0.5},
        "readOnly": True,
        **fields,
    }


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    for file in range(6):
        records = [
            record(number, role)
            for number in range(file * 9, file * 9 + 10)
            for role in ("deploy", "other")
        ]
        deliver(folder, file, records)
    return folder


def deliver(folder: Path, file: int, records: list[dict[str, Any]]) -> Path:
    path = folder / f"{file}.json.gz"
    path.write_bytes(
        gzip.compress(json.dumps({"Records": records}, separators=(",", ":")).encode())
    )
    return path


def read(
    logs: Path,
    cache: Path | None,
    window: Window | None = None,
    *,
    survey: bool = True,
    principals: Principals = DEPLOY,
) -> tuple[list[Gap | tuple[str, str]], Any]:
    source = TrailFolder(logs, cache=cache, survey=survey)
    by_parts = cache is not None
    observations = evidence_in(source, window or Window(), principals, by_parts=by_parts)
    return observations, source.statistics if survey else None


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were opened."""
    names: list[str] = []
    real = local_store.open_regular

    def note(path: Path, *options: Any) -> Any:
        names.append(path.name)
        return real(path, *options)

    monkeypatch.setattr(local_store, "open_regular", note)
    return names


@pytest.mark.parametrize("survey", [True, False])
def test_a_second_run_opens_only_new_files_and_finds_all_calls(
    tmp_path: Path, opened: list[str], survey: bool
) -> None:
    logs, cache = tmp_path / "logs", tmp_path / "cache"
    logs.mkdir()
    for file in range(6):
        deliver(logs, file, [record(number) for number in range(file * 10, file * 10 + 10)])
    first = read(logs, cache, survey=survey)
    assert first == read(logs, None, survey=survey)
    opened.clear()
    assert read(logs, cache, survey=survey) == first
    assert opened == []
    deliver(logs, 7, [record(100)])
    second = read(logs, cache, survey=survey)
    assert opened == ["7.json.gz"]
    assert second == read(logs, None, survey=survey)


@pytest.mark.parametrize("survey", [True, False])
def test_a_second_run_counts_files_with_copies_of_events_again(
    logs: Path, tmp_path: Path, opened: list[str], survey: bool
) -> None:
    """Only the first file has no event of an earlier one."""
    first = read(logs, tmp_path / "cache", survey=survey)
    opened.clear()
    assert read(logs, tmp_path / "cache", survey=survey) == first
    assert opened == [f"{file}.json.gz" for file in range(1, 6)]
    assert first == read(logs, None, survey=survey)


def test_a_number_without_an_encoding_is_read_with_a_cache_too(logs: Path, tmp_path: Path) -> None:
    """A call whose denial is encoded keeps its request."""
    denied = record(
        100,
        eventSource="ec2.amazonaws.com",
        eventName="RunInstances",
        errorCode="Client.UnauthorizedOperation",
        errorMessage="You are not authorized. Encoded authorization failure message: abcDEF123",
        requestParameters={"a": 2**70},
    )
    deliver(logs, 7, [denied, record(101)])
    uncached = read(logs, None)
    assert read(logs, tmp_path / "cache") == read(logs, tmp_path / "cache") == uncached


@pytest.mark.parametrize("where", ["key", "eventID", "eventName", "userAgent"])
def test_a_text_without_an_encoding_is_read_with_a_cache_too(
    logs: Path, tmp_path: Path, where: str
) -> None:
    """Half of a surrogate pair, as JSON may have it."""
    name = "a\ud800"
    request = {"bucketName": "c", "key": name}
    fields: dict[str, Any] = {"requestParameters": request} if where == "key" else {where: name}
    deliver(logs, 7, [record(100, **fields), record(101)])
    uncached = read(logs, None)
    assert read(logs, tmp_path / "cache") == read(logs, tmp_path / "cache") == uncached


def test_a_rewritten_file_is_read_again(logs: Path, tmp_path: Path) -> None:
    read(logs, tmp_path / "cache")
    path = deliver(logs, 2, [record(200)])
    os.utime(path, ns=(1, 1))
    assert read(logs, tmp_path / "cache") == read(logs, None)


def test_results_with_and_without_a_survey_are_cached_separately(
    logs: Path, tmp_path: Path
) -> None:
    read(logs, tmp_path / "cache", survey=False)
    assert read(logs, tmp_path / "cache") == read(logs, None)


def test_cached_results_of_one_pattern_do_not_apply_to_another(logs: Path, tmp_path: Path) -> None:
    """Roles that a wildcard means are no targets by name."""
    for pattern in ("dep*", "oth*", "*"):
        like = Principals(frozenset(), frozenset({f"arn:aws:iam::{ACCOUNT}:role/{pattern}"}))
        uncached = read(logs, tmp_path / "cache", principals=like)
        assert uncached == read(logs, None, principals=like)
        assert uncached[0]


def test_a_cache_with_an_invalid_schema_costs_only_time(logs: Path, tmp_path: Path) -> None:
    """SQLite quotes its bytes in a message that Python cannot decode."""
    first = read(logs, tmp_path / "cache")
    [file] = (tmp_path / "cache").glob("*.sqlite")
    file.write_bytes(file.read_bytes().replace(b"CREATE TABLE", b"CREATE \xff\xfe\xfdBLE"))
    assert read(logs, tmp_path / "cache") == first


def test_a_cache_locked_by_another_run_is_awaited_once(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite waits for five seconds each time, and there may be thousands of files."""
    read(logs, tmp_path / "cache")
    for number in range(10, 20):
        deliver(logs, number, [record(200 + number)])
    [file] = (tmp_path / "cache").glob("*.sqlite")
    other_run = sqlite3.connect(file)
    other_run.execute("DELETE FROM objects")
    inserts: list[str] = []

    class Impatient(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            inserts.extend([sql] if sql.startswith("INSERT") else [])
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0, factory=Impatient))
    assert read(logs, tmp_path / "cache") == read(logs, None)
    other_run.close()
    assert len(inserts) == 1


def test_a_folder_whose_name_is_not_utf8_is_cached_too(logs: Path, tmp_path: Path) -> None:
    try:
        odd = logs.rename(Path(os.fsdecode(bytes(tmp_path) + b"/\xff")))
    except OSError:
        pytest.skip("names of this file system are text")
    assert read(odd, tmp_path / "cache") == read(odd, tmp_path / "cache") == read(odd, None)


def test_a_truncated_file_is_reported_again(logs: Path, tmp_path: Path) -> None:
    path = logs / "3.json.gz"
    path.write_bytes(path.read_bytes()[:-40])
    first = read(logs, tmp_path / "cache")
    assert any(isinstance(observation, Gap) for observation in first[0])
    assert read(logs, tmp_path / "cache") == first


@pytest.mark.parametrize("survey", [True, False])
def test_the_window_of_another_run_does_not_change_results(
    logs: Path, tmp_path: Path, survey: bool
) -> None:
    """Neither which calls there are, nor which records cannot be read."""
    cache = tmp_path / "cache"
    deliver(logs, 6, [record(70, eventName="two words"), record(71)])
    for begin, minutes in ((0, 90), (20, 15), (5, 40), (-60, 600), (71, 1)):
        start = START + timedelta(minutes=begin)
        window = Window(start, start + timedelta(minutes=minutes))
        assert read(logs, cache, window, survey=survey) == read(logs, None, window, survey=survey)
