"""Calls that repeat an earlier one count as if each was read and mapped alone."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record import parse_record
from leastpriv.evidence.collector import PrincipalCollectors
from leastpriv.models import Call, Gap
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
    for item in items:
        books.note(0, item)
    return msgspec.json.encode(list(books.close()))


@pytest.mark.parametrize("count", [10, pytest.param(1_500, marks=pytest.mark.slow)])
def test_repeated_calls_count_like_calls_that_are_read_alone(tmp_path: Path, count: int) -> None:
    chance = random.Random(11)  # noqa: S311 - the same calls each time
    marks = 0
    marked = 0
    for call in odd_calls(count):
        fields = [each for each in _variants(call, chance) for _ in range(3)]
        chance.shuffle(fields)
        records = [_record(call, number, **each) for number, each in enumerate(fields)]
        text = json.dumps({"Records": records}, separators=(",", ":"))
        (tmp_path / "a.json.gz").write_bytes(gzip.compress(text.encode(), 1))
        found = list(TrailFolder(tmp_path, survey=False).read(Window(), Principals()))
        alone = [parse_record(record) for record in records]
        assert found == alone, call
        assert _evidence(found) == _evidence([each for each in alone if not isinstance(each, str)])
        own = [id(each.repeats) for each in found if isinstance(each, Call) and each.repeats]
        marked += len(own)
        marks += len(set(own))
    assert 2 * marks < marked
