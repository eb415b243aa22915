"""Trails in S3 whose files are held against CloudTrail's digest files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.arns import Window
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail import prefetch
from leastpriv.cloudtrail.file_reader import CountedCalls, S3TrailOptions
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.evidence.collected_calls import CollectedCalls
from leastpriv.evidence.parts import CountingFiles
from leastpriv.models import Call, Gap, GapKind, Scope
from tests.cloudtrail.test_trail import (
    ACCOUNT,
    EVERYBODY,
    MINE,
    START,
    deliver,
    names,
    record,
)
from tests.fakes.aws.s3_server import FakeS3
from tests.fakes.aws.server import FakeAws
from tests.fakes.counted import evidence_in
from tests.fakes.digests import HOUR, Chain, deliver_digests, listed_keys, put, written
from tests.hypothesis_profiles import examples

REGION = "eu-west-1"
HERE = Scope(regions=(REGION,))
HOURS = 8
DIGESTS = f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/"
NOW = START + HOURS * HOUR


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as server:
        yield server


@pytest.fixture(scope="module")
def cloudtrail() -> Iterator[FakeAws]:
    answers = {
        "cloudtrail:ListPublicKeys": lambda _: listed_keys(),
        "cloudtrail:DescribeTrails": lambda _: {"trailList": []},
    }
    with FakeAws(answers) as aws:
        yield aws


@pytest.fixture(scope="module")
def door(server: FakeS3, cloudtrail: FakeAws) -> Aws:
    return Aws.open(server.environment(others=cloudtrail.endpoint))


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    fill(server)
    return server


def fill(s3: FakeS3) -> Chain:
    """A bucket of two regions with a file an hour in each, and their digests."""
    s3.forget()
    for number in range(HOURS):
        deliver(s3, number, hours=number + 0.25, region=REGION)
        deliver(s3, 100 + number, hours=number + 0.5, region="us-east-1")
    deliver_digests(s3, ACCOUNT, "us-east-1", START, HOURS)
    return deliver_digests(s3, ACCOUNT, REGION, START, HOURS)


def read(
    door: Aws, *, validate: bool = True, window: Window | None = None, **more: Any
) -> tuple[list[str], list[Gap]]:
    """The names of the calls, sorted, and the gaps but for that of the settings, which nobody tells
    here.
    """
    source = S3Trail(
        door,
        more.pop("named", "s3://logs"),
        S3TrailOptions(validate_at=more.pop("now", NOW) if validate else None, **more),
    )
    observations = list(source.read_parts(window or Window(), MINE, CountingFiles()))
    gaps = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is not GapKind.SETTINGS_UNKNOWN
    ]
    names = [observation.name for observation in observations if isinstance(observation, Call)]
    for observation in observations:
        if isinstance(observation, CountedCalls):
            names += _names_in(cast(CollectedCalls, observation.collected))
    return sorted(names), gaps


def _names_in(collected: CollectedCalls) -> list[str]:
    """The names of counted calls, which no mapping has."""
    counted = (
        total for principal in collected.principals for total in principal.not_evaluated.detailed
    )
    return [total.key.event.partition(":")[2] for total in counted for _ in range(total.count)]


def everything(*without: int) -> list[str]:
    numbers = [*range(HOURS), *range(100, 100 + HOURS)]
    return sorted(names(*(number for number in numbers if number not in without)))


def logs(s3: FakeS3, region: str = REGION) -> list[str]:
    return sorted(key for key in s3.objects if f"/CloudTrail/{region}/" in key)


def test_a_sound_trail_is_read_as_without_validation(s3: FakeS3, door: Aws) -> None:
    plain, validated = (
        S3Trail(door, "s3://logs"),
        S3Trail(door, "s3://logs", S3TrailOptions(validate_at=NOW)),
    )
    observations = evidence_in(plain, Window(), EVERYBODY, by_parts=False)
    assert evidence_in(validated, Window(), EVERYBODY, by_parts=True) == observations
    assert plain.statistics == validated.statistics
    assert plain.statistics.calls == 2 * HOURS


def test_no_digest_file_is_read_unless_asked_for(
    s3: FakeS3, door: Aws, cloudtrail: FakeAws
) -> None:
    cloudtrail.requests.clear()
    assert read(door, validate=False) == (everything(), [])
    assert not any("CloudTrail-Digest" in request for request in s3.requests)
    assert not cloudtrail.asked("ListPublicKeys")


def test_each_digest_of_the_window_costs_one_request_and_no_other_is_read(
    s3: FakeS3, door: Aws
) -> None:
    deliver_digests(s3, ACCOUNT, "eu-central-1", START - timedelta(days=20), 3)
    window = Window(START, START + HOURS * HOUR)
    assert read(door, window=window)[0] == everything()
    digest_gets = [request for request in s3.requests if request.startswith(f"GET {DIGESTS}")]
    assert len(digest_gets) == len(set(digest_gets)) == 2 * HOURS


@examples(40)
@given(number=st.integers(0, HOURS - 1), data=st.data())
def test_a_changed_log_file_is_reported_and_its_calls_are_left_out(
    server: FakeS3, door: Aws, number: int, data: st.DataObject
) -> None:
    fill(server)
    key = logs(server)[number]
    content = bytearray(gzip.decompress(server.objects[key]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    server.objects[key] = gzip.compress(bytes(content))
    calls, [gap] = read(door)
    assert calls == everything(number)
    assert (gap.kind, gap.scope) == (GapKind.NOT_VALIDATED, HERE)
    assert key in gap.detail


@examples(40)
@given(number=st.integers(0, HOURS - 1), data=st.data())
def test_a_changed_digest_file_validates_no_log_file(
    server: FakeS3, door: Aws, number: int, data: st.DataObject
) -> None:
    chain = fill(server)
    key = chain.keys[number]
    content = bytearray(gzip.decompress(server.objects[key]))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    server.objects[key] = gzip.compress(bytes(content))
    _assert_digest_is_refused(door, number, key)


@examples(20)
@given(
    number=st.integers(0, HOURS - 1),
    at=st.integers(0, 511),
    digit=st.sampled_from("0123456789abcdefg"),
)
def test_a_digest_with_a_changed_signature_validates_no_log_file(
    server: FakeS3, door: Aws, number: int, at: int, digit: str
) -> None:
    chain = fill(server)
    key = chain.keys[number]
    signature = server.metadata[key]["signature"]
    changed = signature[:at] + digit + signature[at + 1 :]
    if changed != signature:
        server.metadata[key] = {**server.metadata[key], "signature": changed}
        _assert_digest_is_refused(door, number, key)


def _assert_digest_is_refused(door: Aws, number: int, key: str) -> None:
    calls, gaps = read(door)
    assert calls == everything(number)
    assert all(gap.scope == HERE for gap in gaps)
    assert any(key in gap.detail for gap in gaps if gap.kind is GapKind.NOT_VALIDATED)


@pytest.mark.parametrize("number", range(HOURS))
def test_a_removed_log_file_is_missed(s3: FakeS3, door: Aws, number: int) -> None:
    key = logs(s3)[number]
    del s3.objects[key]
    calls, [gap] = read(door)
    assert calls == everything(number)
    assert (gap.kind, gap.scope, gap.count) == (GapKind.NOT_VALIDATED, HERE, 1)
    assert key in gap.detail
    assert "missing" in gap.detail


def test_all_log_files_of_a_region_are_missed_together(s3: FakeS3, door: Aws) -> None:
    for key in logs(s3):
        del s3.objects[key]
    calls, [gap] = read(door)
    assert calls == everything(*range(HOURS))
    assert (gap.scope, gap.count) == (HERE, HOURS)


@pytest.mark.parametrize("number", range(HOURS - 1))
def test_a_removed_digest_file_is_missed_with_its_log_file_removed_too(
    s3: FakeS3, door: Aws, number: int
) -> None:
    s3.forget()
    chain = fill(s3)
    del s3.objects[chain.keys[number]], s3.objects[logs(s3)[number]]
    calls, [gap] = read(door)
    assert calls == everything(number)
    assert (gap.kind, gap.scope) == (GapKind.NOT_VALIDATED, HERE)
    assert chain.keys[number] in gap.detail


def test_the_newest_digest_files_are_missed_once_the_next_are_long_due(
    s3: FakeS3, door: Aws
) -> None:
    chain = fill(s3)
    for key in (*chain.keys[-6:], *logs(s3)[-6:]):
        del s3.objects[key]
    late = NOW + 4 * HOUR
    deliver_digests(s3, ACCOUNT, "us-east-1", START, HOURS + 4)
    calls, [gap] = read(door, now=late)
    assert calls == everything(*range(HOURS - 6, HOURS))
    assert (gap.kind, gap.scope) == (GapKind.NOT_VALIDATED, HERE)
    assert "no digest file from 2026-01-02 10:00" in gap.detail


def test_a_forged_log_file_justifies_no_change(s3: FakeS3, door: Aws) -> None:
    key = deliver(s3, 66, hours=2.4, region=REGION)
    calls, [gap] = read(door)
    assert calls == everything()
    assert (gap.kind, gap.scope) == (GapKind.NOT_VALIDATED, HERE)
    assert key in gap.detail
    assert "no digest file confirms" in gap.detail


def test_a_valid_digest_at_another_key_validates_no_log_file(s3: FakeS3, door: Aws) -> None:
    chain = fill(s3)
    copied_key = chain.keys[3].replace("_main_", "_copy_")
    s3.objects[copied_key], s3.metadata[copied_key] = (
        s3.objects.pop(chain.keys[3]),
        s3.metadata.pop(chain.keys[3]),
    )
    calls, gaps = read(door)
    assert calls == everything(3)
    assert any("written for another place" in gap.detail for gap in gaps)


def test_the_newest_calls_wait_for_their_digest_and_hold_the_region_back(
    s3: FakeS3, door: Aws
) -> None:
    deliver(s3, 66, hours=HOURS + 0.2, region=REGION)
    calls, [gap] = read(door, now=NOW + HOUR)
    assert calls == everything()
    assert (gap.kind, gap.scope) == (GapKind.EVENTS_LATE, HERE)


def test_new_files_without_calls_of_the_role_hold_no_change_back(s3: FakeS3, door: Aws) -> None:
    key = deliver(s3, 66, hours=HOURS + 0.2, region=REGION)
    strange = json.dumps({"Records": [record(66, START + HOURS * HOUR, REGION, "999999999999")]})
    s3.objects[key] = gzip.compress(strange.encode())
    assert read(door, now=NOW + HOUR) == (everything(), [])


def test_a_backfill_digest_validates_a_late_log_file(s3: FakeS3, door: Aws) -> None:
    chain = fill(s3)
    key = deliver(s3, 66, hours=1.1, region=REGION)
    put(
        s3,
        Chain(s3.bucket, ACCOUNT, REGION, chain.end - HOUR).add(
            {key: s3.objects[key]}, "_backfill"
        ),
    )
    assert read(door) == (sorted([*everything(), "Get66"]), [])


def test_a_period_without_digests_is_a_gap(s3: FakeS3, door: Aws) -> None:
    chain = Chain(s3.bucket, ACCOUNT, REGION, START + (HOURS + 5) * HOUR)
    put(s3, chain.add({}))
    gaps = read(door, now=chain.end)[1]
    assert any(
        "no digest file from 2026-01-02 16:00 to 2026-01-02 21:00 UTC" in gap.detail for gap in gaps
    )


def test_a_region_without_digests_is_a_gap_with_a_remedy(s3: FakeS3, door: Aws) -> None:
    for key in [key for key in s3.objects if f"{DIGESTS}{REGION}/" in key]:
        del s3.objects[key]
    calls, gaps = read(door)
    assert calls == everything(*range(HOURS))
    assert {gap.scope for gap in gaps} == {HERE}
    assert any("--enable-log-file-validation" in gap.detail for gap in gaps)


def test_without_permission_for_public_keys_no_file_counts_and_the_permission_is_named(
    s3: FakeS3, cloudtrail: FakeAws, door: Aws
) -> None:
    cloudtrail.refuse("ListPublicKeys", "AccessDeniedException", times=1)
    calls, gaps = read(door)
    assert len(calls) == HOURS
    assert {gap.kind for gap in gaps} == {GapKind.NOT_VALIDATED}
    assert any("cloudtrail:ListPublicKeys" in gap.detail for gap in gaps)


def test_repeated_pages_of_public_keys_end_and_no_file_counts(s3: FakeS3) -> None:
    again = {**listed_keys(), "NextToken": "same"}
    answers = {
        "cloudtrail:ListPublicKeys": lambda _: again,
        "cloudtrail:DescribeTrails": lambda _: {"trailList": []},
    }
    with FakeAws(answers) as cloudtrail:
        calls, gaps = read(Aws.open(s3.environment(others=cloudtrail.endpoint)))
    assert calls == []
    assert any("public keys" in gap.detail for gap in gaps)


def test_digests_that_may_not_be_read_are_a_gap_that_names_the_permission(
    s3: FakeS3, door: Aws
) -> None:
    s3.refuse(f"GET {DIGESTS}{REGION}", "AccessDenied")
    calls, gaps = read(door)
    assert calls == everything(*range(HOURS))
    assert any("s3:GetObject" in gap.detail for gap in gaps)


def test_what_the_cache_keeps_is_validated_too(s3: FakeS3, door: Aws, tmp_path: Path) -> None:
    assert read(door, validate=False, cache=tmp_path) == (everything(), [])
    assert read(door, cache=tmp_path) == (everything(), [])
    before = s3.gets()
    assert read(door, cache=tmp_path) == (everything(), [])
    assert s3.gets() - before == 2 * HOURS
    key = deliver(s3, 66, hours=2.4, region=REGION)
    assert read(door, cache=tmp_path)[0] == read(door, cache=tmp_path)[0] == everything()
    assert key in read(door, cache=tmp_path)[1][0].detail


def test_a_bare_region_is_validated_without_the_others(s3: FakeS3, door: Aws) -> None:
    region_folder = f"s3://logs/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}"
    calls, gaps = read(door, named=region_folder)
    assert (calls, {gap.kind for gap in gaps}) == (
        sorted(names(*range(HOURS))),
        {GapKind.NOT_LOGGED},
    )
    assert not any(f"{DIGESTS}us-east-1" in request for request in s3.requests)


def test_a_folder_of_an_invalid_day_does_not_raise(s3: FakeS3, door: Aws) -> None:
    for day in ("2026/13/99", "9999/99/99"):
        s3.objects[
            f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{day}/x_CloudTrail_{REGION}_x.json.gz"
        ] = b"{}"
        s3.objects[
            f"{DIGESTS}{REGION}/{day}/{ACCOUNT}_CloudTrail-Digest_{REGION}_m_{REGION}_20269999T000000Z.json.gz"
        ] = b""
    calls, gaps = read(door)
    assert calls == everything()
    assert [gap.count for gap in gaps] == [2]


def test_a_valid_digest_of_another_account_validates_no_log_file(s3: FakeS3, door: Aws) -> None:
    """Keys sign everybody's digests: another account's trail can deliver to a prefix inside this
    one's folder.
    """
    key = deliver(s3, 66, hours=2.4, region=REGION)
    inside = (
        f"{DIGESTS}{REGION}/2026/01/02/AWSLogs/999999999999/CloudTrail-Digest/{REGION}/2026/01/02/"
    )
    beside = f"{DIGESTS}{REGION}/2026/01/02/"
    for folder, account in ((inside, "999999999999"), (beside, "999999999999"), (inside, ACCOUNT)):
        digest = json.loads(
            Chain(s3.bucket, account, REGION, START).add({key: s3.objects[key]}).content
        )
        put(
            s3,
            written(
                digest | {"digestS3Object": folder + digest["digestS3Object"].rpartition("/")[2]}
            ),
        )
    calls, [gap] = read(door)
    assert calls == everything()
    assert key in gap.detail


def test_unlisted_log_files_are_not_reported_as_missing(s3: FakeS3, door: Aws) -> None:
    s3.refuse(f"LIST AWSLogs/{ACCOUNT}/CloudTrail/{REGION}", "AccessDenied")
    calls, gaps = read(door)
    assert calls == everything(*range(HOURS))
    assert [gap.kind for gap in gaps] == [GapKind.SOURCE_FAILED]


def test_log_files_after_an_abort_are_not_reported_as_missing(s3: FakeS3, door: Aws) -> None:
    s3.refuse(f"GET AWSLogs/{ACCOUNT}/CloudTrail/", "ExpiredToken", status=400)
    assert {gap.kind for gap in read(door)[1]} == {GapKind.SOURCE_FAILED}


def test_digests_are_found_however_many_pages_their_listing_has(s3: FakeS3, door: Aws) -> None:
    s3.most_keys = 3
    assert read(door) == (everything(), [])


def test_a_large_file_that_is_read_as_a_stream_is_validated_too(
    s3: FakeS3, door: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_AHEAD_BYTES", 10)
    assert read(door) == (everything(), [])
    key = logs(s3)[3]
    s3.objects[key] = gzip.compress(gzip.decompress(s3.objects[key]) + b" ")
    calls, [gap] = read(door)
    assert (calls, gap.scope) == (everything(3), HERE)


def test_days_are_read_in_order_and_keep_their_state(s3: FakeS3, door: Aws) -> None:
    """What was read of the digests is let go day by day; a removed file is missed on each of
    them.
    """
    s3.forget()
    days = 12
    for day in range(days):
        # Minutes before midnight: the digest lies in the next day's folder.
        deliver(s3, day, hours=24 * day + 15.75, region=REGION)
    deliver_digests(s3, ACCOUNT, REGION, START, 24 * days)
    now = START + timedelta(days=days)
    day_folder = f"s3://logs/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/05"
    calls, gaps = read(door, now=now, named=day_folder)
    assert (calls, {gap.kind for gap in gaps}) == (names(3), {GapKind.NOT_LOGGED})
    assert read(door, now=now) == (sorted(names(*range(days))), [])
    for key in logs(s3)[1::2]:
        del s3.objects[key]
    calls, [gap] = read(door, now=now)
    assert (calls, gap.count) == (sorted(names(*range(0, days, 2))), days // 2)


def test_a_backfill_digest_counts_however_late_it_is(s3: FakeS3, door: Aws) -> None:
    days = 12
    deliver_digests(s3, ACCOUNT, REGION, START, 24 * days)
    key = deliver(s3, 66, hours=1.1, region=REGION)
    deliver(s3, 67, hours=24 * 8, region=REGION)
    deliver_digests(s3, ACCOUNT, REGION, START + timedelta(days=8), 24 * 4)
    late = Chain(s3.bucket, ACCOUNT, REGION, START + timedelta(days=10))
    put(s3, late.add({key: s3.objects[key]}, "_backfill"))
    assert "Get66" in read(door, now=START + timedelta(days=days))[0]
