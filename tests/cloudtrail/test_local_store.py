"""Calls from folders of CloudTrail files."""

import gzip
import json
import os
import re
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import local_store, record_blocks
from leastpriv.cloudtrail.file_reader import EventDeduplicator
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record import account_of_record
from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, GapKind, Scope
from tests.hypothesis_profiles import examples

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"
START = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
ALWAYS = Window()
EVERYBODY = Principals()


def record(number: int, minutes: float = 0, role: str = ROLE, **fields: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/s1",
            "accountId": ACCOUNT,
        },
        "eventTime": f"{START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "s3.amazonaws.com",
        "eventName": f"Get{number}",
        "awsRegion": "eu-west-1",
        "eventID": f"id-{number}",
        "eventType": "AwsApiCall",
        "readOnly": True,
        **fields,
    }


def deliver(
    top: Path,
    records: Iterable[dict[str, Any]],
    *,
    region: str = "eu-west-1",
    minutes: float = 0,
    mark: str = "a",
) -> Path:
    """Write one file where and as CloudTrail does."""
    time = START + timedelta(minutes=minutes)
    folder = top / "AWSLogs" / "o-abc" / ACCOUNT / "CloudTrail" / region / f"{time:%Y/%m/%d}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{ACCOUNT}_CloudTrail_{region}_{time:%Y%m%dT%H%MZ}_{mark}.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"Records": list(records)}).encode()))
    return path


def read(
    top: Path, window: Window = ALWAYS, principals: Principals = EVERYBODY
) -> tuple[list[str], list[Gap]]:
    """The names of the calls in the order read, and the gaps."""
    observations = list(TrailFolder(top).read(window, principals))
    return [observation.name for observation in observations if isinstance(observation, Call)], [
        observation for observation in observations if isinstance(observation, Gap)
    ]


def test_a_trails_folder_is_read_oldest_file_first_over_all_regions(tmp_path: Path) -> None:
    deliver(tmp_path, [record(3)], minutes=1_500)
    deliver(tmp_path, [record(0)], minutes=0)
    deliver(tmp_path, [record(2)], minutes=20, region="eu-west-1")
    deliver(tmp_path, [record(1)], minutes=10, region="us-east-1")
    assert read(tmp_path) == (["Get0", "Get1", "Get2", "Get3"], [])


def test_a_flat_folder_is_read_by_the_time_in_the_names_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_store, "_NAMES_AT_ONCE", 3)
    for number in range(10):
        path = deliver(
            tmp_path / "from",
            [record(number)],
            minutes=number,
            region=("us-east-1", "eu-west-1")[number % 2],
        )
        path.rename(tmp_path / path.name)
    assert read(tmp_path)[0] == [f"Get{number}" for number in range(10)]


@pytest.mark.parametrize("name", ["x.json.gz", "x.json", "x.jsonl", "x.jsonl.gz"])
def test_a_single_file_is_a_source_whether_or_not_its_content_is_packed(
    tmp_path: Path, name: str
) -> None:
    for content in (json.dumps(record(1)).encode(), gzip.compress(json.dumps(record(1)).encode())):
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == (["Get1"], [])
        assert read(tmp_path) == (["Get1"], [])


def test_digests_insights_and_hidden_files_are_not_opened(tmp_path: Path) -> None:
    good = deliver(tmp_path, [record(1)])
    for folder_name in ("CloudTrail-Digest", "CloudTrail-Insight"):
        folder = tmp_path / "AWSLogs" / ACCOUNT / folder_name / "eu-west-1"
        folder.mkdir(parents=True)
        (folder / "x.json.gz").write_bytes(b"broken")
        (good.parent / good.name.replace("_CloudTrail_", f"_{folder_name}_")).write_bytes(b"broken")
    (good.parent / ".x.json").write_bytes(b"broken")
    (good.parent / "readme.txt").write_bytes(b"broken")
    assert read(tmp_path) == (["Get1"], [])


def test_calls_outside_the_window_are_dropped_and_the_end_is_outside(tmp_path: Path) -> None:
    deliver(tmp_path, [record(0, -1), record(1, 0), record(2, 59), record(3, 60)])
    assert read(tmp_path, Window(START, START + timedelta(hours=1)))[0] == ["Get1", "Get2"]


def test_day_folders_more_than_a_day_outside_the_window_are_not_opened(tmp_path: Path) -> None:
    for day in range(-3, 5):
        path = deliver(tmp_path, [record(day)], minutes=day * 1_440)
        path.write_bytes(b"broken")
    _, gaps = read(tmp_path, Window(START, START + timedelta(days=1)))
    opened_days = {
        day_match[1]
        for gap in gaps
        if (day_match := re.search(r"/2026/01/(\d\d)/|/2025/12/(\d\d)/", gap.detail))
    }
    assert opened_days == {"01", "02", "03", "04"}


def test_a_folder_named_by_the_day_of_an_export_is_read_whatever_the_window(tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "2027" / "01" / "01"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps([record(1)]))
    assert read(tmp_path, Window(START, START + timedelta(days=1)))[0] == ["Get1"]


def test_only_the_targets_calls_and_gaps_are_read(tmp_path: Path) -> None:
    other_role = f"arn:aws:iam::{ACCOUNT}:role/other"
    unreadable = [
        record(number, role=role, eventTime="?") for number, role in enumerate((ROLE, other_role))
    ]
    deliver(tmp_path, [record(2), record(3, role=other_role), *unreadable])
    names, gaps = read(tmp_path, principals=Principals(frozenset({parse_principal(ROLE)})))
    assert names == ["Get2"]
    assert [(gap.kind, gap.count) for gap in gaps] == [(GapKind.UNREADABLE_RECORD, 1)]


@pytest.mark.parametrize("organization", ["", "o-exampleorgid/"])
def test_folders_of_other_accounts_are_not_opened(tmp_path: Path, organization: str) -> None:
    for account in (ACCOUNT, "999999999999"):
        folder = tmp_path / f"AWSLogs/{organization}{account}/CloudTrail/eu-west-1/2026/01/02"
        folder.mkdir(parents=True)
        (folder / "a.json.gz").write_bytes(
            gzip.compress(json.dumps({"Records": [record(int(account[0]))]}).encode())
        )
    principals = Principals(frozenset({parse_principal(ROLE)}))
    assert read(tmp_path, ALWAYS, principals) == (["Get1"], [])
    assert read(tmp_path) == (["Get1", "Get9"], [])
    # Somebody who names the other account's folder means it.
    assert read(tmp_path / f"AWSLogs/{organization}999999999999", ALWAYS, principals) == (
        ["Get9"],
        [],
    )


def test_a_folder_of_other_accounts_alone_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "AWSLogs/999999999999").mkdir(parents=True)
    (tmp_path / "AWSLogs/999999999999/a.json").write_text(json.dumps({"Records": [record(1)]}))
    names, gaps = read(tmp_path, ALWAYS, Principals(frozenset({parse_principal(ROLE)})))
    assert names == []
    assert [(gap.kind, gap.detail) for gap in gaps] == [
        (GapKind.SOURCE_FAILED, f"{tmp_path.name}: it has no folder of the account {ACCOUNT}")
    ]


def test_copies_are_dropped_by_event_id_across_files_and_records_without_one_are_kept(
    tmp_path: Path,
) -> None:
    deliver(tmp_path, [record(1), record(1), record(2, eventID="")])
    deliver(tmp_path, [record(1), record(2, eventID="")], minutes=5, region="us-east-1")
    assert read(tmp_path)[0] == ["Get1", "Get2", "Get2"]


@given(st.lists(st.integers(0, 30)), st.integers(1, 8))
def test_at_least_as_many_ids_are_remembered_as_promised_and_at_most_twice_as_many(
    ids: list[int], capacity: int
) -> None:
    deduplicator = EventDeduplicator(capacity)
    added: list[int] = []
    for event_id in ids:
        is_copy = deduplicator.is_duplicate(str(event_id))
        assert is_copy or event_id not in added[-capacity:]
        assert not is_copy or event_id in added[-2 * capacity :]
        if not is_copy:
            added.append(event_id)


def test_a_truncated_file_gives_its_first_records_and_a_gap_in_its_region(tmp_path: Path) -> None:
    path = deliver(
        tmp_path,
        [record(number, padding=f"{number * 7919**9}") for number in range(50)],
        region="us-east-1",
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    names, gaps = read(tmp_path)
    assert names
    assert names == [f"Get{number}" for number in range(len(names))]
    assert [(gap.kind, gap.scope) for gap in gaps] == [
        (GapKind.UNREADABLE_FILE, Scope(regions=("us-east-1",)))
    ]
    assert str(path.relative_to(tmp_path)) in gaps[0].detail


def test_a_damaged_file_of_unknown_region_may_hide_any_call(tmp_path: Path) -> None:
    (tmp_path / "x.json.gz").write_bytes(b"\x1f\x8bbroken")
    assert [(gap.kind, gap.scope) for gap in read(tmp_path)[1]] == [
        (GapKind.UNREADABLE_FILE, Scope())
    ]


def test_a_gzip_bomb_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_blocks, "MAX_DECOMPRESSED", 1_000)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b" " * 100_000))
    observations = list(TrailFolder(tmp_path).read(ALWAYS, EVERYBODY))
    assert [observation.kind for observation in observations if isinstance(observation, Gap)] == [
        GapKind.UNREADABLE_FILE
    ]


def test_damaged_records_of_a_file_are_one_gap_per_scope_that_counts_them(tmp_path: Path) -> None:
    odd = [record(number, eventTime="?") for number in range(3)]
    deliver(tmp_path, [*odd, record(3, awsRegion="us-east-1", eventTime="?"), record(4)])
    names, gaps = read(tmp_path)
    assert names == ["Get4"]
    assert [(gap.kind, gap.scope.regions, gap.count) for gap in gaps] == [
        (GapKind.UNREADABLE_RECORD, ("eu-west-1",), 3),
        (GapKind.UNREADABLE_RECORD, ("us-east-1",), 1),
    ]


def test_another_json_file_is_counted_and_hides_no_call(tmp_path: Path) -> None:
    deliver(tmp_path, [record(1)])
    (tmp_path / "package.json").write_text('{"name": "x", "files": ["a"]}')
    (tmp_path / "numbers.json").write_text("[1, 2, null]")
    source = TrailFolder(tmp_path)
    assert [type(observation) for observation in source.read(ALWAYS, EVERYBODY)] == [Call]
    assert (source.statistics.files, source.statistics.foreign_files) == (3, 2)


def test_a_missing_folder_is_rejected_at_once_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(repr(str(tmp_path / "nope")))):
        TrailFolder(tmp_path / "nope").read(ALWAYS, EVERYBODY)


def test_a_folder_without_log_files_is_rejected_at_once_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "readme.txt").write_text("x")
    with pytest.raises(InputError, match=re.escape(repr(str(tmp_path)))):
        TrailFolder(tmp_path).read(ALWAYS, EVERYBODY)


def test_a_folder_of_other_json_files_is_rejected_after_reading(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="none of the 1 JSON files"):
        list(TrailFolder(tmp_path).read(ALWAYS, EVERYBODY))


def test_a_window_without_files_is_no_error(tmp_path: Path) -> None:
    deliver(tmp_path, [record(1)])
    assert read(tmp_path, Window(START + timedelta(days=100))) == ([], [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_a_gap_below_and_rejected_at_the_top(tmp_path: Path) -> None:
    deliver(tmp_path, [record(1)])
    closed = deliver(tmp_path, [record(2)], region="us-east-1", mark="b").parent
    closed.chmod(0)
    assert [gap.scope.regions for gap in read(tmp_path)[1]] == [("us-east-1",)]
    closed.chmod(0o700)
    tmp_path.chmod(0)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    tmp_path.chmod(0o700)


def test_a_file_that_is_gone_when_its_turn_comes_is_a_gap(tmp_path: Path) -> None:
    path = deliver(tmp_path, [record(1)])
    (path.parent / "dangling.json").symlink_to(tmp_path / "nowhere")
    names, gaps = read(tmp_path)
    assert names == ["Get1"]
    assert ["cannot be opened" in gap.detail for gap in gaps] == [True]


def test_a_link_back_to_a_folder_above_ends(tmp_path: Path) -> None:
    path = deliver(tmp_path, [record(1)])
    (path.parent / "again").symlink_to(tmp_path)
    assert read(tmp_path) == (["Get1"], [])


def test_the_figures_say_what_was_read_and_what_it_covers(tmp_path: Path) -> None:
    event = {
        "eventCategory": "Data",
        "resources": [{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/k"}],
    }
    deliver(
        tmp_path,
        [record(1), record(1), record(2, 30, role=f"arn:aws:iam::{ACCOUNT}:role/other", **event)],
    )
    deliver(
        tmp_path,
        [record(3, eventType="AwsServiceEvent"), record(4, -600)],
        region="us-east-1",
        minutes=1,
    )
    source = TrailFolder(tmp_path)
    principals = Principals(frozenset({parse_principal(ROLE)}))
    assert len(list(source.read(Window(START), principals))) == 1
    statistics = source.statistics
    assert (statistics.files, statistics.records, statistics.calls, statistics.duplicates) == (
        2,
        4,
        1,
        1,
    )
    assert statistics.outside_window == 1
    assert sum(statistics.callers.values()) == 1
    assert statistics.regions == {"eu-west-1", "us-east-1"}
    # Data events do not show that management events of their kind or source are logged.
    assert statistics.logged == {("eu-west-1", "management-read"): {START.toordinal()}}
    assert statistics.days == {"eu-west-1": {START.toordinal()}}
    assert list(statistics.data) == [("s3.amazonaws.com:Get2", "read", "arn:aws:s3:::b/")]
    assert (statistics.first, statistics.last) == (START, START + timedelta(minutes=30))


def test_records_of_other_accounts_do_not_count_as_coverage(tmp_path: Path) -> None:
    """Another account's trail may log what that of the role's account does not: regions, reads, AWS
    KMS.
    """
    foreign = {
        "awsRegion": "ap-south-1",
        "eventSource": "kms.amazonaws.com",
        "recipientAccountId": "999999999999",
    }
    deliver(tmp_path, [record(1), record(2, 5, **foreign)])
    source = TrailFolder(tmp_path)
    list(source.read(Window(), Principals(frozenset({parse_principal(ROLE)}))))
    statistics = source.statistics
    assert (set(statistics.days), set(statistics.logged), statistics.records) == (
        {"eu-west-1"},
        {("eu-west-1", "management-read")},
        2,
    )
    list(source.read(Window(), Principals()))
    assert set(source.statistics.days) == {"eu-west-1", "ap-south-1"}


@pytest.mark.parametrize(
    ("record", "account"),
    [
        ({"recipientAccountId": "1", "userIdentity": {"accountId": "2"}}, "1"),
        ({"userIdentity": {"accountId": "2", "arn": "arn:aws:iam::3:user/x"}}, "2"),
        ({"userIdentity": {"arn": "arn:aws:iam::3:user/x"}}, "3"),
        ({"userIdentity": {"type": "AWSService"}}, ""),
        ({"userIdentity": "x"}, ""),
        ({}, ""),
    ],
)
def test_a_record_is_of_the_account_that_it_was_written_for(
    record: dict[str, object], account: str
) -> None:
    assert account_of_record(record) == account


def test_reading_again_resets_the_statistics(tmp_path: Path) -> None:
    deliver(tmp_path, [record(1)])
    source = TrailFolder(tmp_path)
    assert (
        len(list(source.read(ALWAYS, EVERYBODY))) == len(list(source.read(ALWAYS, EVERYBODY))) == 1
    )
    assert source.statistics.calls == 1


def peak(top: Path) -> int:
    list_of_nothing = Principals(frozenset())
    tracemalloc.start()
    for _ in TrailFolder(top).read(ALWAYS, list_of_nothing):
        pass
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    for folder, files in (("few", 10), ("many", 200)):
        for number in range(files):
            deliver(
                tmp_path / folder, [record(number)] * 20, minutes=number * 360, mark=str(number)
            )
    peak(tmp_path / "few")
    assert peak(tmp_path / "many") < peak(tmp_path / "few") * 1.5


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=20),
    packed=st.booleans(),
)
def test_damage_anywhere_costs_only_what_follows_it_in_that_file(
    tmp_path: Path, share: float, junk: bytes, packed: bool
) -> None:
    before = deliver(tmp_path, [record(number) for number in range(5)])
    deliver(tmp_path, [record(100)], minutes=10)
    plain = json.dumps({"Records": [record(number) for number in range(5)]}).encode()
    content = gzip.compress(plain) if packed else plain
    offset = int(share * len(content))
    before.write_bytes(content[:offset] + junk + content[offset + len(junk) :])
    names, gaps = read(tmp_path)
    assert "Get100" in names
    assert all(gap.kind in (GapKind.UNREADABLE_FILE, GapKind.UNREADABLE_RECORD) for gap in gaps)
    if not packed:
        ends = [plain.index(f'"id-{number}"'.encode()) for number in range(5)]
        safe = [f"Get{number}" for number in range(4) if plain.index(b"{", ends[number]) <= offset]
        assert names[: len(safe)] == safe


def test_the_public_records_are_read_as_a_folder(shared_folder: Path) -> None:
    source = TrailFolder(shared_folder / "corpus" / "records")
    observations = list(source.read(ALWAYS, EVERYBODY))
    statistics = source.statistics
    assert statistics.records >= 4_500
    assert (
        statistics.calls
        == sum(isinstance(observation, Call) for observation in observations)
        >= 3_137
    )
    assert statistics.duplicates >= 115
    assert statistics.foreign_files == 1
    assert not any(
        observation.kind is GapKind.UNREADABLE_FILE
        for observation in observations
        if isinstance(observation, Gap)
    )
