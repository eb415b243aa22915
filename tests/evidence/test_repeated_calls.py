"""Calls that repeat an earlier one count as if each was read and mapped alone."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record import parse_record
from leastpriv.cloudtrail.record_reader import ReadOptions, RecordReader
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.collector import PrincipalCollectors
from leastpriv.models import Call, Gap, Outcome
from tests.permissions.test_all_operations import ARNS, changed, odd_calls

ACCOUNT = "111122223333"
_ANSWERS: tuple[object, ...] = (
    None,
    {},
    {"arn": ARNS[0], "rootDeviceType": "ebs"},
    {"role": {"arn": f"arn:aws:iam::{ACCOUNT}:role/ci/web"}},
    {"id": "a1b2c3d4e5"},
    {"text": 'with "quotes"'},
)
_ERRORS: tuple[Mapping[str, str], ...] = (
    {},
    {"errorCode": "NoSuchKey"},
    {"errorCode": "AccessDenied", "errorMessage": "Access Denied"},
    {
        "errorCode": "AccessDenied",
        "errorMessage": f"User: arn:aws:sts::{ACCOUNT}:assumed-role/deploy/s1 is not authorized to"
        " perform: s3:PutObject on resource: arn:aws:s3:::b/k because no session policy allows"
        " the s3:PutObject action",
    },
    {"errorCode": "ThrottlingException", "errorMessage": "Rate exceeded"},
)


def _record(call: Call, number: int, **fields: Any) -> dict[str, Any]:
    session = f"s{number % 3}"
    return {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": f"AROAX:{session}",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/{session}",
            "accountId": ACCOUNT,
            "accessKeyId": f"ASIA{number % 5:016}",
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/deploy"}
            },
        },
        "eventTime": f"2026-01-0{1 + number % 3}T08:{number % 60:02}:00Z",
        "eventSource": call.source,
        "eventName": call.name,
        "awsRegion": call.region,
        "requestParameters": call.parameters,
        "responseElements": call.response or None,
        "resources": [{"ARN": arn} for arn in call.resources],
        "eventID": f"id-{number}",
        "eventType": "AwsApiCall",
        "readOnly": call.read_only,
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        **fields,
    }


def _variants(call: Call, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yields records that differ from that of a call in one field or in parts of the request."""
    yield {}
    yield {"awsRegion": "eu-central-1"}
    yield {"resources": [{"ARN": arn} for arn in chance.sample(ARNS, 2)]}
    yield {"readOnly": not call.read_only}
    yield {"omitted": True}
    yield {"userAgent": "APN/1.0 HashiCorp/1.0 Terraform/1.9.5"}
    yield from ({"responseElements": answer} for answer in _ANSWERS)
    yield from (dict(error) for error in _ERRORS)
    for _ in range(3):
        yield {"requestParameters": changed(call.parameters, chance)}


def _evidence(items: Iterator[Call | Gap] | list[Call | Gap]) -> bytes:
    books = PrincipalCollectors(Principals(), 1)
    for noted in items:
        books.note(0, noted)
    return msgspec.json.encode(list(books.close()))


@pytest.mark.parametrize("count", [10, pytest.param(1_500, marks=pytest.mark.slow)])
def test_repeated_calls_count_like_calls_that_are_read_alone(tmp_path: Path, count: int) -> None:
    chance = random.Random(11)  # noqa: S311 - the same calls each time
    marks = 0
    marked = 0
    for call in odd_calls(count):
        fields = [variant for variant in _variants(call, chance) for _ in range(3)]
        chance.shuffle(fields)
        records = [
            _record(call, number, **variant_fields) for number, variant_fields in enumerate(fields)
        ]
        text = json.dumps({"Records": records}, separators=(",", ":"))
        (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode(), 1))
        read_items = list(TrailFolder(tmp_path, survey=False).read(Window(), Principals()))
        alone = [parse_record(record) for record in records]
        assert read_items == alone, call
        assert _evidence(read_items) == _evidence(
            [read_item for read_item in alone if not isinstance(read_item, str)]
        )
        repeat_ids = [
            id(read_item.repeats)
            for read_item in read_items
            if isinstance(read_item, Call) and read_item.repeats
        ]
        marked += len(repeat_ids)
        marks += len(set(repeat_ids))
    assert 2 * marks < marked


REFUSED = (
    "User is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::b/k because no"
    " session policy allows the s3:PutObject action"
)
PUT = Call(
    event_id="",
    principal="",
    session="",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    account=ACCOUNT,
    source="s3.amazonaws.com",
    name="PutObject",
    region="eu-west-1",
    outcome=Outcome.DENIED,
    parameters={"bucketName": "b", "key": "k"},
    response={},
    resources=("arn:aws:s3:::b/k",),
    read_only=False,
)


def _refused(number: int, session: str, key: str) -> dict[str, Any]:
    """Returns a record of an upload that a session policy denies, with a message without its
    session.
    """
    record = _record(PUT, number, errorCode="AccessDenied", errorMessage=REFUSED)
    identity = record["userIdentity"]
    identity["arn"] = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/{session}"
    identity["principalId"] = f"AROAX:{session}"
    identity["accessKeyId"] = key
    if not key:
        del identity["accessKeyId"]
    return record


def _read(reader: RecordReader, records: list[dict[str, Any]]) -> list[Call]:
    block = json.dumps(records, separators=(",", ":")).encode()
    items_read = reader.read(block, ReadStatistics(), checked=True)
    assert items_read is not None
    return [read_item for read_item in items_read if isinstance(read_item, Call)]


KEY, OTHER_KEY = "ASIAAAAAAAAAAAAAAAAA", "ASIABBBBBBBBBBBBBBBB"
REHEARSAL = "leastpriv-rehearsal-12345678901"
SESSIONS = [(REHEARSAL, KEY), (REHEARSAL, ""), ("s1", ""), ("s1", OTHER_KEY), ("s2", KEY)]


@pytest.mark.parametrize("first", SESSIONS)
@pytest.mark.parametrize("second", SESSIONS)
def test_what_a_session_policy_denies_counts_for_its_session_and_key_alone(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    sessions = [first, second, second, first]
    records = [_refused(number, *session) for number, session in enumerate(sessions)]
    alone = [parse_record(record) for record in records]
    expected = _evidence([read_item for read_item in alone if not isinstance(read_item, str)])
    for ordered in (records, records[::-1], records[1:] + records[:1]):
        read_items = _read(RecordReader(ReadOptions(Window(), Principals())), ordered)
        assert _evidence([*read_items]) == expected, ordered


@pytest.mark.parametrize("name", ["ModifyImageAttribute", "RegisterImage"])
def test_what_decodes_of_a_deeply_nested_answer_decodes_where_it_is_read(name: str) -> None:
    image = {"imageId": "ami-0123456789abcdef0"}
    call = structs.replace(PUT, source="ec2.amazonaws.com", name=name, parameters=image)
    record = json.dumps(_record(call, 1, responseElements={"a": "@"}), separators=(",", ":"))
    read = 0
    for depth in range(10, 1_000, 10):
        block = f"[{record}]".replace('"@"', "[" * depth + "1" + "]" * depth)
        reader = RecordReader(ReadOptions(Window(), Principals()))
        read_items = reader.read(block.encode(), ReadStatistics(), checked=True)
        # Others count as damaged.
        for read_item in read_items or ():
            assert isinstance(read_item, Call)
            assert _members_in_frames(read_item, 200) == ["a"]
            read += 1
    assert read > 50


def _members_in_frames(call: Call, frames: int) -> list[str]:
    """Returns the members of an answer, read in so many frames of calls as rules are in."""
    return _members_in_frames(call, frames - 1) if frames else [*call.response]


FILTERS = [
    {"name": f"tag:{number}", "valueSet": {"items": [{"value": "x"}]}} for number in range(20)
]


@pytest.mark.parametrize(
    ("request_of_all", "answer"),
    [
        ({}, None),
        ({"filterSet": {"items": FILTERS}}, None),
        ({}, {"items": [{"name": "v" * 60} for _ in range(40)]}),
    ],
    ids=["small calls", "nested requests", "long answers"],
)
def test_calls_that_differ_take_the_memory_that_the_bound_says(
    request_of_all: dict[str, Any], answer: object
) -> None:
    bound = 300_000
    reader = RecordReader(ReadOptions(Window(), Principals(), survey=False, most_kept=bound))
    update = structs.replace(PUT, source="ec2.amazonaws.com", name="ModifyVolume", resources=())
    largest = 0
    tracemalloc.start()
    try:
        for start in range(0, 400, 20):
            requests = [
                {**request_of_all, "volumeId": f"vol-{start + number}"} for number in range(20)
            ]
            calls = [structs.replace(update, parameters=request) for request in requests]
            _read(reader, [_record(one_call, start, responseElements=answer) for one_call in calls])
            largest = max(largest, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert bound // 4 < largest < 2 * bound
