"""Calls from a trail's bucket: what is listed and read, and what a run hears of what AWS refused or
broke off.
"""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import prefetch, s3_bucket, trail
from leastpriv.cloudtrail.file_reader import EventDeduplicator, S3TrailOptions
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.errors import AwsError, InputError
from leastpriv.models import Call, Gap, GapKind, Scope
from leastpriv.pipeline.sources import read_evidence
from tests.fakes import progress
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.counted import evidence_in, read_parts

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"
MINE = Principals(frozenset({parse_principal(ROLE)}))
START = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
ALWAYS = Window()
EVERYBODY = Principals()
SIZE = 100


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as server:
        yield server


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    server.forget()
    return server


def record(number: int, time: datetime, region: str, account: str = ACCOUNT) -> Mapping[str, Any]:
    return {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{account}:assumed-role/deploy/s1",
            "accountId": account,
        },
        "eventTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": "sqs.amazonaws.com",
        "eventName": f"Get{number}",
        "awsRegion": region,
        "eventID": f"{account}-{number}",
        "eventType": "AwsApiCall",
        "readOnly": True,
    }


def deliver(
    s3: FakeS3,
    number: int,
    *,
    hours: float = 0,
    region: str = "eu-west-1",
    account: str = ACCOUNT,
    top: str = "",
) -> str:
    """Put one file of one record where and as CloudTrail does; its key."""
    time = START + timedelta(hours=hours)
    name = f"{account}_CloudTrail_{region}_{time:%Y%m%dT%H%MZ}_{number:04}.json.gz"
    key = f"{top}AWSLogs/{account}/CloudTrail/{region}/{time:%Y/%m/%d}/{name}"
    s3.objects[key] = gzip.compress(
        json.dumps({"Records": [record(number, time, region, account)]}).encode()
    )
    return key


def read(
    s3: FakeS3,
    window: Window = ALWAYS,
    principals: Principals = EVERYBODY,
    named: str = "s3://logs",
    **more: Any,
) -> tuple[list[str], list[Gap]]:
    """The names of the calls in the order read, and the gaps but for that of the settings, which
    nobody tells here.
    """
    source = S3Trail(s3.aws(more.pop("attempts", 1)), named, S3TrailOptions(**more))
    observations = list(read_parts(source, window, principals))
    gaps = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is not GapKind.SETTINGS_UNKNOWN
    ]
    return [observation.name for observation in observations if isinstance(observation, Call)], gaps


def names(*numbers: int) -> list[str]:
    return [f"Get{number}" for number in numbers]


def test_a_trail_is_read_oldest_file_first_over_all_regions_however_many_pages_its_listings_have(
    s3: FakeS3,
) -> None:
    s3.most_keys = 2
    for number in range(12):
        deliver(s3, number, hours=number, region=("us-east-1", "eu-west-1")[number % 2])
    assert read(s3) == (names(*range(12)), [])


@pytest.mark.parametrize(
    ("top", "named"),
    [
        ("", "s3://logs"),
        ("", "s3://logs/"),
        ("", f"s3://logs/AWSLogs/{ACCOUNT}"),
        ("prod/", "s3://logs/prod"),
        ("prod/", "s3://logs/prod/AWSLogs/"),
        ("AWSLogs/o-abc1234567/", "s3://logs"),
        ("AWSLogs/o-abc1234567/", "s3://logs/AWSLogs/o-abc1234567/AWSLogs"),
        ("copies/by hand/", "s3://logs/copies"),
    ],
)
def test_a_trail_is_found_from_any_place_above_its_files(s3: FakeS3, top: str, named: str) -> None:
    for number in range(3):
        deliver(s3, number, hours=number, top=top)
    assert read(s3, named=named) == (names(0, 1, 2), [])


def test_a_place_below_a_region_is_read_and_says_what_it_lacks(s3: FakeS3) -> None:
    for number in range(3):
        deliver(s3, number, hours=number)
    event_names, gaps = read(s3, named=f"s3://logs/AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/01")
    assert event_names == names(0, 1, 2)
    assert [(gap.kind, bool(gap.scope.regions)) for gap in gaps] == [
        (GapKind.NOT_LOGGED, True), (GapKind.NOT_LOGGED, False),
    ]  # fmt: skip


def test_a_prefix_of_another_account_is_a_gap_that_may_hide_any_call(s3: FakeS3) -> None:
    deliver(s3, 1, account="999999999999")
    source = S3Trail(s3.aws(1), "s3://logs/AWSLogs/999999999999/CloudTrail/eu-west-1")
    gaps = [
        observation
        for observation in read_parts(source, ALWAYS, MINE)
        if isinstance(observation, Gap)
    ]
    assert [gap.scope for gap in gaps if gap.kind is GapKind.SOURCE_FAILED] == [Scope()]
    assert not source.statistics.days


def test_an_organization_trail_has_its_id_above_the_accounts(s3: FakeS3) -> None:
    key = deliver(s3, 1)
    s3.objects = {key.replace("AWSLogs/", "AWSLogs/o-abc1234567/"): s3.objects[key]}
    assert read(s3, principals=MINE) == (names(1), [])


def test_only_the_account_and_the_days_that_matter_are_listed_and_read(s3: FakeS3) -> None:
    for day in range(-40, 40, 2):
        deliver(s3, day, hours=24 * day)
        deliver(s3, day, hours=24 * day, account="999999999999")
    window = Window(START - timedelta(hours=1), START + timedelta(hours=1))
    assert read(s3, window, MINE)[0] == names(0)
    assert s3.gets() == 1
    assert not any("999999999999" in request for request in s3.requests)


def test_other_days_below_custom_folders_are_not_read(s3: FakeS3) -> None:
    for day in range(-5, 6):
        deliver(s3, day, hours=24 * day, top="copies/of/it/")
    window = Window(START - timedelta(hours=1), START + timedelta(hours=1))
    assert read(s3, window, named="s3://logs/copies")[0] == names(0)
    assert s3.gets() == 3


def test_older_files_than_requested_are_not_read(s3: FakeS3) -> None:
    for day in range(-10, 1):
        deliver(s3, -day, hours=24 * day)
    assert read(s3, since=START - timedelta(days=2))[0] == names(2, 1, 0)
    assert s3.gets() == 4


def test_each_level_of_the_layout_is_listed_once_and_an_account_is_not_looked_through(
    s3: FakeS3,
) -> None:
    for account in (ACCOUNT, "999999999999"):
        for region in ("eu-west-1", "us-east-1"):
            deliver(s3, 1, region=region, account=account)
    read(s3)
    tops = [f"LIST AWSLogs/{account}/CloudTrail/" for account in (ACCOUNT, "999999999999")]
    regions = [f"{top}{region}/" for top in tops for region in ("eu-west-1", "us-east-1")]
    assert s3.requests[:2] == ["LIST ", "LIST AWSLogs/"]
    assert sorted(s3.requests[2:4]) == tops
    assert sorted(s3.requests[4:8]) == regions
    assert s3.gets() == len(s3.requests) - 8


def test_the_next_page_of_a_listing_is_asked_for_while_one_is_read(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_FETCHED_AHEAD", 2)
    s3.most_keys = 10
    for number in range(40):
        deliver(s3, number, hours=12 * number)

    def listed() -> int:
        return sum(request.startswith("LIST") and "eu-west-1" in request for request in s3.requests)

    reading = read_parts(S3Trail(s3.aws(), "s3://logs"), ALWAYS, EVERYBODY)
    next(observation for observation in reading if isinstance(observation, Call))
    ends = time.monotonic() + 60
    while listed() < 2 and time.monotonic() < ends:
        time.sleep(0.01)
    reading.close()  # type: ignore[attr-defined]
    assert listed() == 2


def test_the_page_behind_that_of_the_last_day_is_not_asked_for(s3: FakeS3) -> None:
    s3.most_keys = 10
    for number in range(40):
        deliver(s3, number, hours=12 * number)
    read(s3, Window(START, START + timedelta(minutes=1)))
    assert (
        sum(request.startswith("LIST") and "eu-west-1" in request for request in s3.requests) == 1
    )


def test_logs_of_other_services_are_not_opened(s3: FakeS3) -> None:
    key = deliver(s3, 1)
    s3.objects[f"AWSLogs/{ACCOUNT}/Config/eu-west-1/2026/1/2/ConfigHistory/x.json.gz"] = b"broken"
    s3.objects[f"AWSLogs/{ACCOUNT.replace('1', '2')}/Config/eu-west-1/2026/1/2/x.json.gz"] = (
        b"broken"
    )
    assert read(s3) == (names(1), [])
    assert [request for request in s3.requests if request.startswith("GET")] == [f"GET {key}"]


def test_digests_and_insights_are_not_opened(s3: FakeS3) -> None:
    key = deliver(s3, 1)
    for folder_name in ("CloudTrail-Digest", "CloudTrail-Insight"):
        s3.objects[key.replace("CloudTrail", folder_name)] = b"broken"
    assert read(s3) == (names(1), [])


@pytest.mark.parametrize("survey", [True, False], ids=["in turn", "by threads of their own"])
def test_a_bucket_is_read_as_the_folder_of_its_files_is(
    s3: FakeS3, tmp_path: Path, survey: bool
) -> None:
    for number in range(30):
        key = deliver(
            s3, number, hours=3 * number, region=("us-east-1", "eu-west-1", "eu-west-2")[number % 3]
        )
        if number % 7 == 3:
            s3.objects[key] = s3.objects[key][:-20]
    for key, body in s3.objects.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    folder, bucket = (
        TrailFolder(tmp_path, survey=survey),
        S3Trail(s3.aws(), "s3://logs", S3TrailOptions(survey=survey)),
    )
    expected = list(folder.read(ALWAYS, MINE))
    observations = [
        observation
        for observation in read_parts(bucket, ALWAYS, MINE)
        if getattr(observation, "kind", "") != GapKind.SETTINGS_UNKNOWN
    ]
    assert [observation for observation in observations if isinstance(observation, Call)] == [
        observation for observation in expected if isinstance(observation, Call)
    ]
    assert [observation.scope for observation in observations if isinstance(observation, Gap)] == [
        observation.scope for observation in expected if isinstance(observation, Gap)
    ]
    assert bucket.statistics == folder.statistics


# What can go wrong, one kind after the other. A gap is all that a run hears; what could be read is
# read.


def lost(detail: str, count: int, *regions: str) -> tuple[GapKind, Scope, str, int]:
    return GapKind.SOURCE_FAILED, Scope(regions=regions), detail, count


def told(gaps: list[Gap]) -> list[tuple[GapKind, Scope, str, int]]:
    return [(gap.kind, gap.scope, gap.detail, gap.count) for gap in gaps]


def test_denied_objects_are_one_gap_of_their_region_that_names_the_permission(s3: FakeS3) -> None:
    for number in range(6):
        deliver(s3, number, hours=number, region=("us-east-1", "eu-west-1")[number % 2])
    who = (
        f"User: {ROLE} is not authorized to perform: s3:GetObject because no identity-based policy"
        " allows it"
    )
    s3.refuse("GET .*eu-west-1", "AccessDenied", who)
    event_names, gaps = read(s3)
    assert event_names == names(0, 2, 4)
    assert [(gap.scope.regions, gap.count) for gap in gaps] == [(("eu-west-1",), 3)]
    assert "AWS denied s3:GetObject" in gaps[0].detail


@pytest.mark.parametrize("odd", ["a copy of an event", "a text without an encoding"])
def test_denied_objects_hide_no_other_object_of_their_part(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    first = record(0, START, "eu-west-1")
    for number in range(24):
        key = deliver(s3, number, hours=number / 10)
        if number % 4 == 2:
            second = (
                first if odd == "a copy of an event" else {**first, "eventID": f"{number}\ud800"}
            )
            records = [record(number, START, "eu-west-1"), second]
            s3.objects[key] = gzip.compress(json.dumps({"Records": records}).encode())
    s3.refuse("GET .*[37].json", "AccessDenied", "Access Denied")
    monkeypatch.setattr(prefetch, "_cores", lambda: 3)
    monkeypatch.setattr(prefetch, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(prefetch, "_FETCHED_AHEAD", 8)
    alone = S3Trail(s3.aws(), "s3://logs")
    together = S3Trail(s3.aws(), "s3://logs")
    expected = evidence_in(alone, ALWAYS, MINE, by_parts=False)
    assert evidence_in(together, ALWAYS, MINE, by_parts=True) == expected
    assert together.statistics == alone.statistics
    assert (alone.statistics.files, alone.statistics.damaged_files) == (24, 5)


def test_files_encrypted_with_a_key_that_may_not_be_used_are_a_gap_that_names_kms_decrypt(
    s3: FakeS3,
) -> None:
    deliver(s3, 1)
    key = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    message = (
        f"User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {key} because no"
        " identity-based policy allows the kms:Decrypt action"
    )
    s3.refuse("GET ", "AccessDenied", message)
    [gap] = read(s3)[1]
    assert f"AWS denied kms:Decrypt on {key}" in gap.detail


def test_a_denied_listing_is_a_gap_of_its_region(s3: FakeS3) -> None:
    deliver(s3, 1, region="us-east-1")
    deliver(s3, 2)
    s3.refuse("LIST .*eu-west-1", "AccessDenied", "Access Denied")
    event_names, gaps = read(s3)
    assert event_names == names(1)
    assert [(gap.kind, gap.scope.regions) for gap in gaps] == [
        (GapKind.SOURCE_FAILED, ("eu-west-1",))
    ]
    assert "s3:ListBucket" in gaps[0].detail


def test_a_bucket_that_may_not_be_listed_at_all_may_hide_any_call(s3: FakeS3) -> None:
    deliver(s3, 1)
    s3.refuse("LIST ", "AccessDenied", "Access Denied")
    event_names, gaps = read(s3)
    assert event_names == []
    assert [(gap.kind, gap.scope) for gap in gaps] == [(GapKind.SOURCE_FAILED, Scope())]
    assert "s3:ListBucket" in gaps[0].detail


@pytest.fixture
def little_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch few files ahead: on a loaded machine the threads fetch as many as they may before a
    failure is read.
    """
    monkeypatch.setattr(prefetch, "_FETCHED_AHEAD", 32)


@pytest.mark.usefixtures("little_ahead")
def test_expired_credentials_end_the_reading_and_may_hide_any_call(s3: FakeS3) -> None:
    for number in range(200):
        deliver(s3, number, hours=number)
    s3.refuse("_00[2-9]|_01", "ExpiredToken", "The provided token has expired.", 400)
    event_names, gaps = read(s3)
    assert event_names == names(*range(20))
    assert [gap.scope for gap in gaps] == [Scope(), Scope(regions=("eu-west-1",))]
    assert "have expired" in gaps[1].detail
    # Nothing after the first one was waited for.
    assert gaps[1].count == 1
    assert s3.gets() < 100


@pytest.mark.parametrize(
    ("code", "status", "word"),
    [("SlowDown", 503, "AWS throttled the requests"), ("InternalError", 500, "AWS failed")],
)
def test_a_failure_is_retried_and_a_persistent_one_is_a_gap(
    s3: FakeS3, code: str, status: int, word: str
) -> None:
    deliver(s3, 1)
    deliver(s3, 2, hours=1)
    s3.refuse("GET ", code, "Please reduce your request rate.", status, times=1)
    assert read(s3, attempts=2) == (names(1, 2), [])
    s3.refuse("GET .*_0001", code, "Please reduce your request rate.", status)
    event_names, gaps = read(s3)
    assert event_names == names(2)
    assert [(gap.kind, gap.scope.regions, gap.count) for gap in gaps] == [
        (GapKind.SOURCE_FAILED, ("eu-west-1",), 1)
    ]
    assert word in gaps[0].detail


@pytest.mark.parametrize("ranges", [True, False])
def test_a_body_that_breaks_off_is_read_on_from_where_it_broke(s3: FakeS3, ranges: bool) -> None:
    s3.ranges = ranges
    key = deliver(s3, 1)
    s3.break_off("GET ", after=SIZE)
    assert read(s3) == (names(1), [])
    assert [request for request in s3.requests if request.startswith("GET")] == [
        f"GET {key}",
        f"GET {key} bytes={SIZE}-",
    ]


def test_a_body_does_not_go_on_with_the_bytes_of_another_object(s3: FakeS3) -> None:
    key = deliver(s3, 1)
    s3.break_off("GET ", after=SIZE)
    bucket = s3_bucket.Bucket("logs", s3.aws(1).client("s3"))
    with pytest.raises(AwsError, match="PreconditionFailed"):
        bucket.fetch(s3_bucket.StoredFile(key, '"as it was when it was listed"', SIZE))


@pytest.mark.parametrize(
    "tokens",
    [lambda _: b"", lambda _: b"<NextContinuationToken>same</NextContinuationToken>"],
    ids=["none", "same"],
)
def test_a_listing_that_leads_to_no_next_page_is_a_gap_of_its_region(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch, tokens: Callable[[Any], bytes]
) -> None:
    for number in range(4):
        deliver(s3, number, hours=number)
    s3.most_keys = 1
    original_listing = FakeS3.listing

    def listing(server: FakeS3, query: Mapping[str, str]) -> bytes:
        without_token = {
            name: value for name, value in query.items() if name != "continuation-token"
        }
        return re.sub(
            rb"<NextContinuationToken>.*?</NextContinuationToken>",
            tokens,
            original_listing(server, without_token),
        )

    monkeypatch.setattr(FakeS3, "listing", listing)
    event_names, gaps = read(s3)
    assert event_names[:1] == names(0)
    assert [(gap.kind, gap.scope.regions) for gap in gaps] == [
        (GapKind.SOURCE_FAILED, ("eu-west-1",))
    ]
    assert "has no next page" in gaps[0].detail


def test_an_unexpected_answer_may_hide_any_call_and_does_not_raise(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(s3, 1)

    def listing(*_: Any, **__: Any) -> Any:
        raise KeyError("Contents")

    monkeypatch.setattr(s3_bucket.Bucket, "objects", listing)
    evidence = read_evidence([S3Trail(s3.aws(1), "s3://logs")], ALWAYS, parse_principal(ROLE))[ROLE]
    assert evidence.counts.calls == 0
    [gap] = [any_gap for any_gap in evidence.gaps if any_gap.kind is not GapKind.SETTINGS_UNKNOWN]
    assert (gap.kind, gap.scope) == (GapKind.SOURCE_FAILED, Scope())
    assert "s3://logs could not be fully read: unexpected KeyError at test_trail.py" in gap.detail


def test_what_was_read_so_far_is_said_now_and_then(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "_SAY_EVERY", 2)
    for number in range(5):
        deliver(s3, number, hours=number)
    log_lines = progress.LINES
    read(s3)
    assert log_lines == [
        "s3://logs: 1 folders of accounts and regions", "… 2 files of s3://logs so far",
        "… 4 files of s3://logs so far"
    ]  # fmt: skip


def test_a_run_that_is_interrupted_does_not_wait_for_an_answer(s3: FakeS3) -> None:
    """The process ends though S3 answers a minute later only: its threads are daemons."""
    deliver(s3, 1)
    s3.delay("GET ", 60)
    program = (
        "import sys\n"
        "from leastpriv.aws.session import Aws\n"
        "from leastpriv.cloudtrail.file_store import StoredFile\n"
        "from leastpriv.cloudtrail.prefetch import DaemonThreadPool\n"
        "from leastpriv.cloudtrail.s3_bucket import Bucket\n"
        "import os\n"
        "fetchers = DaemonThreadPool(2)\n"
        "bucket = Bucket('logs', Aws.open(dict(os.environ)).client('s3'))\n"
        "fetchers.submit(bucket.fetch, StoredFile(sys.argv[1], '', 10))\n"
        "fetchers.close()\n"
    )
    key = next(iter(s3.objects))
    environment = {**os.environ, **s3.environment()}
    completed = subprocess.run(
        [sys.executable, "-c", program, key], env=environment, timeout=45, check=False
    )
    assert completed.returncode == 0


@pytest.mark.parametrize(
    ("minutes", "waited", "end", "scopes"),
    [
        (3, False, None, [Scope()]),
        (3, True, None, [Scope(data_events=True)]),
        (20, False, None, []),
        (3, False, START - timedelta(hours=1), []),
    ],
)
def test_a_role_that_was_at_work_a_moment_ago_has_events_under_way_to_the_bucket(
    s3: FakeS3, minutes: int, waited: bool, end: datetime | None, scopes: list[Scope]
) -> None:
    """Event history that was waited for shows all of them but data events."""
    deliver(s3, 1)
    deliver(s3, 2, hours=-30)
    event_names, gaps = read(
        s3, Window(None, end), now=START + timedelta(minutes=minutes), waited=waited
    )
    assert event_names == (names(2, 1) if end is None else names(2))
    assert [(gap.kind, gap.scope) for gap in gaps] == [
        (GapKind.EVENTS_LATE, scope) for scope in scopes
    ]
    assert all("08:00 UTC" in gap.detail and "`wait-for-events`" in gap.detail for gap in gaps)


def test_duplicate_calls_show_late_events_too(s3: FakeS3, tmp_path: Path) -> None:
    deliver(s3, 1)
    deduplicator = EventDeduplicator()
    for cache in (None, tmp_path, tmp_path):
        further = {
            "seen": deduplicator,
            "cache": cache,
            "now": START + timedelta(minutes=3),
            "waited": True,
        }
        event_names, gaps = read(s3, **further)
        assert [(gap.kind, gap.scope) for gap in gaps] == [
            (GapKind.EVENTS_LATE, Scope(data_events=True))
        ]
    assert event_names == []


def test_a_body_that_never_comes_to_its_end_is_a_gap(s3: FakeS3) -> None:
    deliver(s3, 1)
    deliver(s3, 2, hours=1)
    s3.break_off("GET .*_0001", after=0, times=100)
    event_names, gaps = read(s3)
    assert event_names == names(2)
    assert told(gaps) == [
        lost(
            "eu-west-1: The response of AWS was cut off while reading objects of s3://logs: run"
            " again later.",
            1,
            "eu-west-1",
        )
    ]


def test_a_large_object_is_read_as_a_stream_that_goes_on_where_it_broke(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_AHEAD_BYTES", 10)
    deliver(s3, 1)
    deliver(s3, 2, hours=1)
    s3.break_off("GET .*_0001", after=SIZE)
    assert read(s3) == (names(1, 2), [])
    s3.break_off("GET .*_0001", after=0, times=100)
    event_names, gaps = read(s3)
    assert event_names == names(2)
    assert [(gap.scope.regions, gap.kind) for gap in gaps] == [
        (("eu-west-1",), GapKind.UNREADABLE_FILE)
    ]
    assert "cut off" in gaps[0].detail


@pytest.mark.usefixtures("little_ahead")
def test_after_many_failures_in_a_row_the_rest_is_a_gap(s3: FakeS3) -> None:
    for number in range(200):
        deliver(s3, number, hours=number)
    s3.refuse("GET ", "InternalError", "We encountered an internal error.", 500)
    event_names, gaps = read(s3)
    assert event_names == []
    assert (gaps[0].scope, gaps[0].detail) == (Scope(), "s3://logs: the rest was not tried")
    assert s3.gets() < 100


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidObjectState", "The operation is not valid for the object's storage class"),
        (
            "AccessDenied",
            (
                f"User: {ROLE} is not authorized to perform: kms:Decrypt on the resource associated"
                " with this"
            ),
        ),
    ],
)
def test_old_files_that_are_archived_or_under_another_key_do_not_keep_the_newer_from_being_read(
    s3: FakeS3, code: str, message: str
) -> None:
    for number in range(100):
        deliver(s3, number, hours=number)
    s3.refuse("GET .*_00[0-8]", code, message)
    event_names, [gap] = read(s3)
    assert event_names == names(*range(90, 100))
    assert (gap.scope.regions, gap.count) == (("eu-west-1",), 90)


def test_a_slow_answer_is_waited_for(s3: FakeS3) -> None:
    for number in range(3):
        deliver(s3, number, hours=number)
    s3.delay("GET .*_0000", 0.3)
    assert read(s3) == (names(0, 1, 2), [])


@pytest.mark.usefixtures("little_ahead")
def test_a_reading_that_is_interrupted_leaves_the_rest_of_the_bucket_alone(s3: FakeS3) -> None:
    for number in range(300):
        deliver(s3, number, hours=number)
    reading = read_parts(S3Trail(s3.aws(), "s3://logs"), ALWAYS, EVERYBODY)
    calls = (observation for observation in reading if isinstance(observation, Call))
    assert next(calls).name == "Get0"
    reading.close()  # type: ignore[attr-defined]
    assert s3.gets() < 100


def test_a_damaged_file_is_the_same_gap_as_in_a_folder(s3: FakeS3) -> None:
    key = deliver(s3, 1)
    s3.objects[key] = s3.objects[key][:SIZE]
    [gap] = read(s3)[1]
    assert (gap.kind, gap.scope.regions) == (GapKind.UNREADABLE_FILE, ("eu-west-1",))
    assert f"s3://logs/{key}: it ends in the middle" in gap.detail


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("s3://nowhere", "no bucket 'nowhere'"),
        ("s3://", "names no bucket"),
        ("s3://logs/empty", "holds no CloudTrail file"),
    ],
)
def test_a_place_that_is_not_there_is_bad_input(s3: FakeS3, named: str, words: str) -> None:
    deliver(s3, 1)
    with pytest.raises(InputError, match=re.escape(words)):
        read(s3, named=named)


def test_a_trail_without_the_targets_account_may_hide_any_call(s3: FakeS3) -> None:
    deliver(s3, 1, account="999999999999")
    [gap] = read(s3, principals=MINE)[1]
    assert (gap.kind, gap.scope) == (GapKind.SOURCE_FAILED, Scope())
    assert f"no folder of the account {ACCOUNT}" in gap.detail


def test_days_without_any_file_may_hide_any_call(s3: FakeS3) -> None:
    deliver(s3, 1)
    [gap] = read(s3, Window(START + timedelta(days=9)))[1]
    assert (gap.kind, gap.scope) == (GapKind.SOURCE_FAILED, Scope())
    assert "no file of the days" in gap.detail


def test_no_more_is_held_than_the_bound_however_many_objects_there_are(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        deliver(s3, number, hours=number)
    size = max(map(len, s3.objects.values()))
    monkeypatch.setattr(prefetch, "_AHEAD_BYTES", 5 * size)
    most_held, held_calls, fetch = 0, 0, s3_bucket.Bucket.fetch

    def counted(bucket: s3_bucket.Bucket, stored: s3_bucket.StoredFile) -> bytes:
        nonlocal held_calls, most_held
        held_calls += 1
        most_held = max(most_held, held_calls)
        return fetch(bucket, stored)

    monkeypatch.setattr(s3_bucket.Bucket, "fetch", counted)
    source = S3Trail(s3.aws(), "s3://logs")
    for observation in read_parts(source, ALWAYS, EVERYBODY):
        held_calls -= isinstance(observation, Call)
    assert source.statistics.calls == 60
    assert most_held <= 6
