"""What was read from a bucket and kept: the next run reads what is new, and finds the same."""

from __future__ import annotations

import gzip
import json
import sqlite3
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import cache
from leastpriv.cloudtrail.cache import ObjectCache
from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.record_reader import ReadOptions
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.cloudtrail.trail import S3Trail, S3TrailOptions
from leastpriv.denials.encoded_message import Decoder
from leastpriv.errors import InputError
from leastpriv.evidence.parts import CountingFiles, FileCounter
from leastpriv.models import Gap, GapKind
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.counted import evidence_in
from tests.hypothesis_profiles import examples

ACCOUNT = "123456789012"
ROLES = [f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("deploy", "other")]
START = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
OBJECTS = 12
NOTHING = FileCounter(ReadOptions(Window(), Principals(frozenset())), None).count([])


def deliver(s3: FakeS3, number: int, *records: dict[str, Any]) -> str:
    """One file of two roles' records around its time."""
    time = START + timedelta(hours=number)
    minute_records = [
        record(number, minutes, role) for minutes in (-20, 0) for role in ("deploy", "other")
    ]
    name = f"{ACCOUNT}_CloudTrail_eu-west-1_{time:%Y%m%dT%H%MZ}_{number:04}.json.gz"
    key = f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/{time:%Y/%m/%d}/{name}"
    s3.objects[key] = gzip.compress(json.dumps({"Records": [*minute_records, *records]}).encode())
    return key


def record(number: int, minutes: int, role: str, **fields: Any) -> dict[str, Any]:
    time = START + timedelta(hours=number, minutes=minutes)
    return {
        "eventVersion": "1.08", "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "s3.amazonaws.com",
        "eventName": f"Put{number}", "awsRegion": "eu-west-1",
        "eventID": f"{role}-{number}-{minutes}",
        "eventType": "AwsApiCall", "readOnly": False, "eventCategory": "Data",
        "userIdentity": {"type": "AssumedRole",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/17{number:08}"},
        "requestParameters": {"bucketName": "b", "key": f"ключ {number}", "nested": [{"a": None},
        1.5]},
        "resources": [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::b/{number}"}],
        **({"errorCode": "AccessDenied", "errorMessage": "no"} if number % 3 == 0 else {}),
        **fields,
    }  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as server:
        yield server


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    server.forget()
    for number in range(OBJECTS):
        deliver(server, number)
    return server


def read(
    s3: FakeS3,
    cache: Path | None,
    role: str = ROLES[0],
    window: Window | None = None,
    decoder: Decoder | None = None,
) -> tuple[list[Gap | tuple[str, str]], ReadStatistics, int]:
    """What is found, the figures, and how many objects were fetched for it."""
    before = s3.gets()
    source = S3Trail(s3.aws(), "s3://logs", S3TrailOptions(cache=cache))
    principals = Principals(frozenset({parse_principal(role)}))
    all_observations = evidence_in(
        source, window or Window(), principals, by_parts=cache is not None, decoder=decoder
    )
    observations = [
        observation
        for observation in all_observations
        if not isinstance(observation, Gap) or observation.kind is not GapKind.SETTINGS_UNKNOWN
    ]
    return observations, source.statistics, s3.gets() - before


def test_a_second_run_reads_only_new_objects_and_finds_all_calls(
    s3: FakeS3, tmp_path: Path
) -> None:
    first = read(s3, tmp_path / "cache")
    assert first == read(s3, None)
    assert read(s3, tmp_path / "cache") == (first[0], first[1], 0)
    deliver(s3, OBJECTS)
    observations, statistics, fetched = read(s3, tmp_path / "cache")
    assert (observations, statistics) == read(s3, None)[:2]
    assert (statistics.calls, fetched) == (first[1].calls + 2, 1)
    assert observations != first[0]


def test_cached_results_of_one_role_do_not_apply_to_another(s3: FakeS3, tmp_path: Path) -> None:
    read(s3, tmp_path)
    assert read(s3, tmp_path, ROLES[1]) == read(s3, None, ROLES[1])


def test_an_object_that_is_another_one_now_is_read_again(s3: FakeS3, tmp_path: Path) -> None:
    read(s3, tmp_path)
    deliver(s3, 3, record(3, 5, "deploy"))
    observations, statistics, fetched = read(s3, tmp_path)
    assert (observations, statistics) == read(s3, None)[:2]
    assert fetched == 1


def test_a_damaged_object_is_read_and_reported_again(s3: FakeS3, tmp_path: Path) -> None:
    key = deliver(s3, 3)
    s3.objects[key] = s3.objects[key][:-30]
    first = read(s3, tmp_path)
    assert [observation.kind for observation in first[0] if isinstance(observation, Gap)] == [
        GapKind.UNREADABLE_FILE
    ]
    assert read(s3, tmp_path) == (first[0], first[1], 1)


def test_incomplete_records_are_reported_again_from_the_cache(s3: FakeS3, tmp_path: Path) -> None:
    deliver(s3, 3, record(3, 5, "deploy", eventTime="?"))
    first = read(s3, tmp_path)
    assert [observation.kind for observation in first[0] if isinstance(observation, Gap)] == [
        GapKind.UNREADABLE_RECORD
    ]
    assert read(s3, tmp_path) == (first[0], first[1], 0)


ENCODED_DENIAL = {
    "eventSource": "ec2.amazonaws.com",
    "eventName": "RunInstances",
    "errorCode": "Client.UnauthorizedOperation",
    "errorMessage": "You are not authorized to perform this operation. Encoded authorization failure"
    " message: " + "Ab3_" * 40,
}


def test_an_encoded_denial_is_read_again_only_where_aws_may_decode_it(
    s3: FakeS3, tmp_path: Path
) -> None:
    deliver(s3, 4, record(4, 5, "deploy", **ENCODED_DENIAL))
    first = read(s3, tmp_path)
    assert read(s3, tmp_path) == (first[0], first[1], 0)
    decoded: list[str] = []

    def decode(text: str) -> str:
        decoded.append(text)
        return '{"allowed": false, "context": {"action": "iam:PassRole", "resource": "*"}}'

    for fetched in (OBJECTS, 1):
        observations = read(s3, tmp_path, decoder=Decoder(decode))
        assert observations[0] != first[0]
        assert observations[2] == fetched
    assert len(decoded) == 2


def test_copies_in_other_objects_count_once_from_the_cache_too(s3: FakeS3, tmp_path: Path) -> None:
    deliver(s3, 4, record(3, 0, "deploy"))
    first = read(s3, tmp_path)
    assert first[:2] == read(s3, None)[:2]
    assert first[1].duplicates == 1
    # The object with the copy is counted again without it.
    assert read(s3, tmp_path) == (first[0], first[1], 1)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_a_cache_that_cannot_be_read_costs_time_only(
    s3: FakeS3, tmp_path: Path, content: bytes
) -> None:
    first = read(s3, tmp_path)
    [file] = tmp_path.glob("*.sqlite")
    file.write_bytes(content)
    assert read(s3, tmp_path) == first


def test_a_reading_that_was_interrupted_keeps_what_it_had(s3: FakeS3, tmp_path: Path) -> None:
    source = S3Trail(s3.aws(), "s3://logs", S3TrailOptions(cache=tmp_path))
    principals = Principals(frozenset({parse_principal(ROLES[0])}))
    reading = source.read_parts(Window(), principals, CountingFiles(has_decoder=False))
    for _ in range(9):
        next(reading)
    reading.close()  # type: ignore[attr-defined]
    read(s3, tmp_path)
    # Requests that were under way may be counted late: those of the first files are over.
    gets = [request for request in s3.requests if request.startswith("GET")]
    assert [sum(f"_{number:04}." in request for request in gets) for number in range(4)] == [
        1,
        1,
        1,
        1,
    ]


def test_a_cache_folder_that_cannot_be_created_is_bad_input(s3: FakeS3, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cache-dir"):
        read(s3, tmp_path / "file")


def with_value(value: object, *path: int) -> Callable[[Any], Any]:
    """Returns a function that puts a value into a place of nested lists, if the place exists."""

    def changed(kept: Any) -> Any:
        inner = kept
        for key in path[:-1]:
            if not inner[key]:
                return kept
            inner = inner[key]
        inner[path[-1]] = value
        return kept

    return changed


NAIVE = datetime(2026, 10, 1).isoformat()
STATISTICS, COLLECTED = 2, 4
COUNTERS = (STATISTICS, 0)
GROUP = (COLLECTED, 1, 0, 1, 0)
RUNS = (COLLECTED, 1, 0, 2)
ODD: dict[str, Callable[[Any], Any]] = {
    "another shape": lambda _: {},
    "ids that are numbers": with_value([1], 0),
    "a number as text": with_value("x", *COUNTERS, 0),
    "other calls as a list": with_value([["a"]], *COUNTERS, 7),
    "days as a list": with_value([1], *COUNTERS, 11),
    "days that are no numbers": with_value({"eu-west-1": ["many"]}, *COUNTERS, 11),
    "a mask that is no number": with_value({("x", "read", "y"): "z"}, STATISTICS, 1),
    "accounts as a list": with_value([1], STATISTICS, 2),
    "last without a zone": with_value(NAIVE, *COUNTERS, 17),
    "a first call without a zone": with_value(NAIVE, 3),
    "no calls": with_value(None, COLLECTED),
    "a need that does not exist": with_value([7], *GROUP, 0),
    "a need before the first": with_value([-1], *GROUP, 0),
    "an outcome that does not exist": with_value("x", *GROUP, 1),
    "totals without a zone": with_value(NAIVE, *GROUP, 4, 0),
    "a run that does not exist": with_value([9], *GROUP, 4, 4),
    "tokens in a circle": with_value([1, 0], *RUNS, 1),
    "no token": with_value([], *RUNS, 1),
    "a run without calls": with_value([0, 1], *RUNS, 1),
}


def change(folder: Path, how: Callable[[bytes], bytes]) -> None:
    """Write all that is kept anew, as somebody else would."""
    [file] = folder.glob("*.sqlite")
    database = sqlite3.connect(file)
    for key, content in database.execute("SELECT key, content FROM objects").fetchall():
        changed = zlib.compress(how(zlib.decompress(content)))
        database.execute("UPDATE objects SET content = ? WHERE key = ?", (changed, key))
    database.commit()
    database.close()


@pytest.mark.parametrize("oddity", ODD)
def test_a_cached_result_of_another_shape_is_read_again(
    s3: FakeS3, tmp_path: Path, oddity: str
) -> None:
    first = read(s3, tmp_path)
    change(
        tmp_path,
        lambda content: msgspec.msgpack.encode(ODD[oddity](msgspec.msgpack.decode(content))),
    )
    assert read(s3, tmp_path) == first


def test_a_cached_result_that_is_nested_too_deeply_is_read_again(
    s3: FakeS3, tmp_path: Path
) -> None:
    first = read(s3, tmp_path)
    change(tmp_path, lambda _: b"\x91" * 200_000)
    assert read(s3, tmp_path) == first


@examples(10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-60, 800), st.integers(1, 800)), min_size=2, max_size=4))
def test_whatever_windows_are_read_in_turn_the_cache_changes_no_answer(
    s3: FakeS3, cuts: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for start, minutes in cuts:
            begin = START + timedelta(minutes=start)
            window = Window(begin, begin + timedelta(minutes=minutes))
            assert read(s3, Path(folder), window=window)[:2] == read(s3, None, window=window)[:2]


def test_what_lies_before_the_window_leaves_the_cache(s3: FakeS3, tmp_path: Path) -> None:
    read(s3, tmp_path)
    late = START + timedelta(hours=8)
    read(s3, tmp_path, window=Window(late))
    [file] = tmp_path.glob("*.sqlite")
    database = sqlite3.connect(file)
    object_keys = [key for (key,) in database.execute("SELECT key FROM objects ORDER BY key")]
    database.close()
    assert [int(key.rpartition("_")[2].partition(".")[0]) for key in object_keys] == [8, 9, 10, 11]
    assert read(s3, tmp_path)[0] == read(s3, None)[0]


def test_caches_of_other_versions_are_removed_and_other_files_are_not(
    s3: FakeS3, tmp_path: Path
) -> None:
    old = [f"objects-{'a' * 24}.sqlite", f"calls-6-0.0.9-{'b' * 24}.sqlite"]
    for name in (*old, "notes.sqlite", "objects.txt"):
        (tmp_path / name).write_bytes(b"")
    read(s3, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"notes.sqlite", "objects.txt"}
    assert not {path.name for path in tmp_path.iterdir()} & {*old}


def test_ids_of_events_are_kept_whatever_their_form(s3: FakeS3, tmp_path: Path) -> None:
    ids = [
        "4bb1eb5e-98b3-42f3-9a1f-5c0a1e4a3c11",
        "4BB1EB5E-98B3-42F3-9A1F-5C0A1E4A3C11",
        "~x",
        "~" + "a" * 22,
        "",
    ]
    deliver(
        s3,
        3,
        *(
            record(3, 5 + number, "deploy", eventID=event_id)
            for number, event_id in enumerate(ids[:3])
        ),
    )
    first = read(s3, tmp_path)
    assert read(s3, tmp_path) == (first[0], first[1], 0)


def test_a_row_that_grows_without_end_is_read_again(tmp_path: Path) -> None:
    stored = StoredFile("a", "1", 1)
    object_cache = ObjectCache(tmp_path, "b", Principals(frozenset()))
    object_cache.put(stored, NOTHING)
    assert object_cache.get(stored)
    object_cache.close()
    (path,) = tmp_path.glob("*.sqlite")
    too_long = zlib.compress(bytes(cache._MOST_CONTENT + 1))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE objects SET content = ?", (too_long,))
    again = ObjectCache(tmp_path, "b", Principals(frozenset()))
    assert again.get(stored) is None
    again.close()


def test_a_row_that_inflates_to_gigabytes_costs_no_memory_and_the_file_is_read_again(
    s3: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MOST_CONTENT", 1_000_000)
    first = read(s3, tmp_path)
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(b"\x00" * 1_000_000) for _ in range(80)) + packer.flush()
    [file] = tmp_path.glob("*.sqlite")
    database = sqlite3.connect(file)
    database.execute("UPDATE objects SET content = ?", (bomb,))
    database.commit()
    database.close()
    tracemalloc.start()
    try:
        assert read(s3, tmp_path) == first
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        (
            "ALTER TABLE objects RENAME TO rows; CREATE VIEW objects AS WITH RECURSIVE"
            " endless(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM endless)"
            " SELECT rows.* FROM rows, endless WHERE x < 0"
        ),
        (
            "CREATE TRIGGER grows AFTER INSERT ON objects BEGIN INSERT INTO objects"
            " SELECT random(), etag, last, zeroblob(1000000000) FROM objects; END"
        ),
    ],
    ids=["view", "trigger"],
)
def test_a_view_or_trigger_of_a_changed_cache_does_not_run(tmp_path: Path, change: str) -> None:
    stored = StoredFile("a", "1", 1)
    cache = ObjectCache(tmp_path, "b", Principals(frozenset()))
    cache.put(stored, NOTHING)
    cache.close()
    (path,) = tmp_path.glob("*.sqlite")
    with sqlite3.connect(path) as database:
        database.executescript(change)
    again = ObjectCache(tmp_path, "b", Principals(frozenset()))
    assert again.get(stored) is None
    again.put(stored, NOTHING)
    assert again.get(stored)
    again.close()
    assert path.stat().st_size < 100_000
