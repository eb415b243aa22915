"""Objects by obstore give what botocore gives, and whatever goes wrong is botocore's to tell."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from leastpriv.errors import AwsError
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.cloudtrail.s3_objects import Bucket, Stored
from leastpriv.evidence.cloudtrail.s3_trail import S3Trail
from leastpriv.evidence.fast_objects import FastObjects
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call
from tests.evidence.cloudtrail.test_kept_folders import record
from tests.fakes.aws.s3_server import FakeS3

PLACE = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/01/02"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    server.forget()
    for number in range(40):
        name = f"123456789012_CloudTrail_eu-west-1_20260102T08{number:02}Z_a é+b.json.gz"
        server.objects[f"{PLACE}/{name}"] = gzip.compress(json.dumps({"Records": [record(number)]}).encode())
    return server


def door(s3: FakeS3) -> Aws:
    pytest.importorskip("obstore", reason="obstore is an extra: pip install leastpriv[fast]")
    return Aws.open({**s3.environment(), "LEASTPRIV_S3_CLIENT": ""})


def calls(s3: FakeS3, aws: Aws) -> list[Any]:
    source = S3Trail(aws, "s3://logs")
    return [each for each in source.read(Window(), Principals()) if isinstance(each, Call)]


def test_obstore_gives_what_botocore_gives_with_as_many_requests(s3: FakeS3) -> None:
    found = calls(s3, s3.aws())
    asked = sorted(s3.requests)
    s3.requests.clear()
    assert calls(s3, door(s3)) == found
    assert len(found) == 40
    assert sorted(s3.requests) == asked


def test_an_object_that_is_another_one_by_now_is_asked_of_botocore(s3: FakeS3) -> None:
    fast = door(s3).fast_objects("logs")
    assert fast is not None
    key, content = next(iter(s3.objects.items()))
    listed = next(Bucket("logs", s3.aws().client("s3")).objects(PLACE))[0]
    assert fast.fetch(key, listed.etag, listed.size) == content
    s3.objects[key] = content + b"more"
    assert fast.fetch(key, listed.etag, listed.size) is None


def test_a_bucket_that_is_not_there_is_botocores_to_tell(s3: FakeS3) -> None:
    aws = door(s3)
    bucket = Bucket("nowhere", aws.client("s3"), aws.fast_objects("nowhere"))
    with pytest.raises(AwsError):
        bucket.fetch(Stored("a.json.gz", '"x"', 3))


def test_what_fails_again_and_again_is_not_asked_any_more(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = FastObjects(None)
    asked: list[str] = []

    def fail(key: str, _: str) -> None:
        asked.append(key)

    monkeypatch.setattr(fast, "_asked", fail)
    bucket = Bucket("logs", s3.aws().client("s3"), fast)
    listed = next(bucket.objects(PLACE))
    assert [bucket.fetch(stored) for stored in listed[:10]] == [s3.objects[stored.key] for stored in listed[:10]]
    assert len(asked) == 3
