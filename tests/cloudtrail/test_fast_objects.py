"""Objects by obstore equal those by botocore, and botocore reports what goes wrong."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from leastpriv.aws import s3_objects
from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.s3_objects import BucketEndpoint, FastObjectClient, FetchedObject, ListingRequest
from leastpriv.aws.session import Aws
from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.cloudtrail.s3_bucket import Bucket, DescribedObject
from leastpriv.cloudtrail.trail import S3Trail
from leastpriv.errors import AwsError
from leastpriv.models import Call, Gap, GapKind
from tests.cloudtrail.test_cached_folders import record
from tests.fakes.aws.s3_server import FakeS3, etag
from tests.fakes.counted import read_parts

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
        server.objects[f"{PLACE}/{name}"] = gzip.compress(
            json.dumps({"Records": [record(number)]}).encode()
        )
    return server


@pytest.fixture
def fast(s3: FakeS3) -> Aws:
    pytest.importorskip("obstore", reason="obstore is not installed here")
    return Aws.open({**s3.environment(), "LEASTPRIV_S3_CLIENT": "obstore"})


def listed(aws: Aws) -> tuple[StoredFile, ...]:
    return next(Bucket("logs", aws.client("s3")).objects(PLACE))


def calls(s3: FakeS3, aws: Aws) -> list[Any]:
    source = S3Trail(aws, "s3://logs")
    return [
        observation
        for observation in read_parts(source, Window(), Principals())
        if isinstance(observation, Call)
    ]


def test_a_faster_client_gives_what_botocore_gives_with_as_many_requests(
    s3: FakeS3, fast: Aws
) -> None:
    expected_calls = calls(s3, s3.aws())
    expected_requests = sorted(s3.requests)
    s3.requests.clear()
    assert calls(s3, fast) == expected_calls
    assert len(expected_calls) == 40
    assert sorted(s3.requests) == expected_requests


def test_an_object_that_is_another_one_by_now_is_asked_of_botocore(s3: FakeS3, fast: Aws) -> None:
    client, stored = fast.fast_object_client("logs"), listed(fast)[0]
    assert client is not None
    content = s3.objects[stored.key]
    assert client.fetch(stored.key, stored.etag, stored.size) == content
    s3.objects[stored.key] = content + b"more"
    assert client.fetch(stored.key, stored.etag, stored.size) is None


def test_botocore_reports_a_missing_bucket(s3: FakeS3, fast: Aws) -> None:
    bucket = Bucket("nowhere", fast.client("s3"), fast.fast_object_client("nowhere"))
    with pytest.raises(AwsError):
        bucket.fetch(StoredFile("a.json.gz", '"x"', 3))


def test_a_bucket_that_was_not_listed_is_left_to_botocore(s3: FakeS3, fast: Aws) -> None:
    stored = listed(s3.aws())[0]
    client = fast.fast_object_client("logs")
    assert client is not None
    s3.requests.clear()
    assert client.fetch(stored.key, stored.etag, stored.size) is None
    assert s3.requests == []


def test_botocore_reports_denied_objects_and_the_others_are_read(s3: FakeS3, fast: Aws) -> None:
    s3.refuse("GET .*T080[0-4]Z", "AccessDenied", "Access Denied")
    observations = list(read_parts(S3Trail(fast, "s3://logs"), Window(), Principals()))
    assert len([observation for observation in observations if isinstance(observation, Call)]) == 35
    (lost,) = [
        observation
        for observation in observations
        if isinstance(observation, Gap) and observation.kind is GapKind.SOURCE_FAILED
    ]
    assert (lost.count, "AWS denied s3:GetObject" in lost.detail) == (5, True)


def test_constant_failures_add_few_requests_to_botocores(s3: FakeS3, fast: Aws) -> None:
    for number in range(800):
        s3.objects[
            f"{PLACE}/123456789012_CloudTrail_eu-west-1_20260102T09{number // 16:02}Z_{number}.json.gz"
        ] = b"x"
    s3.refuse("GET ", "InternalError", "We encountered an internal error.", 500)
    observations = list(read_parts(S3Trail(fast, "s3://logs"), Window(), Principals()))
    assert not any(isinstance(observation, Call) for observation in observations)
    assert any(
        isinstance(observation, Gap) and "AWS failed while reading objects" in observation.detail
        for observation in observations
    )
    # Those under way at once, and those fetched ahead when the reader gives up.
    assert s3.gets() < 128 + 256 + 128


@pytest.mark.parametrize("fault", ["throttled", "broken off", "late"])
def test_what_fails_once_is_read_all_the_same(s3: FakeS3, fast: Aws, fault: str) -> None:
    if fault == "throttled":
        s3.refuse("GET ", "SlowDown", "Please reduce your request rate.", 503, times=1)
    elif fault == "late":
        s3.delay("GET ", 0.3, times=2)
    else:
        s3.break_off("GET ", after=50, times=2)
    assert len(calls(s3, fast)) == 40


def test_botocore_repeats_few_requests_at_once_so_that_its_quota_of_retries_lasts() -> None:
    under_way, counts = threading.Semaphore(0), [0]

    class Slow(Bucket):
        def fetch_described(self, stored: StoredFile) -> DescribedObject:
            under_way.release()
            counts.append(under_way._value)
            time.sleep(0.02)
            under_way.acquire()
            return DescribedObject(stored.key.encode(), {})

    bucket = Slow("logs", None, FastObjectClient(lambda: None))
    with closing(DaemonThreadPool(bucket.at_once)) as threads:
        fetches = [
            threads.submit(bucket.fetch, StoredFile(str(number), "", 1))
            for number in range(bucket.at_once)
        ]
        assert [fetch.result() for fetch in fetches] == [
            str(number).encode() for number in range(bucket.at_once)
        ]
    # Each retry of a throttled request takes 5 of the 500 units of botocore's quota.
    assert max(counts) * 5 * 2 <= 500


def test_renewed_credentials_sign_the_next_requests(
    s3: FakeS3, fast: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.credentials import Credentials

    monkeypatch.setattr(s3_objects, "_CREDENTIALS_REFRESH", timedelta(0))
    client, stored = fast.fast_object_client("logs"), listed(fast)[:2]
    assert client is not None
    for number, stored_file in enumerate(stored):
        fast._session._session._credentials = Credentials(
            f"AKIA{number}", "other", f"token{number}"
        )
        assert (
            client.fetch(stored_file.key, stored_file.etag, stored_file.size)
            == s3.objects[stored_file.key]
        )
        assert f"Credential=AKIA{number}/" in s3.last_signature


def test_what_fails_again_and_again_is_left_to_botocore_for_a_while(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "_PAUSE", 4)
    asked_keys: list[str] = []
    broken = True

    def get(key: str) -> FetchedObject:
        asked_keys.append(key)
        if broken:
            raise OSError("no way")
        return FetchedObject(s3.objects[key], etag(s3.objects[key]))

    bucket = Bucket("logs", s3.aws().client("s3"), FastObjectClient(lambda: get))
    names = next(bucket.objects(PLACE))
    assert [bucket.fetch(stored) for stored in names[:10]] == [
        s3.objects[stored.key] for stored in names[:10]
    ]
    # The first three, and one after each pause of three.
    assert asked_keys == [names[number].key for number in (0, 1, 2, 6)]
    broken = False
    asked_keys.clear()
    assert [bucket.fetch(stored) for stored in names[10:20]] == [
        s3.objects[stored.key] for stored in names[10:20]
    ]
    assert asked_keys == [stored.key for stored in names[10:20]]


@pytest.mark.parametrize(
    ("bucket", "url", "place"),
    [
        (
            "logs",
            "https://logs.s3.eu-west-1.amazonaws.com/?list-type=2",
            ("logs.s3.eu-west-1.amazonaws.com", True),
        ),
        (
            "logs",
            "https://logs.s3.eu-west-1.amazonaws.com?list-type=2",
            ("logs.s3.eu-west-1.amazonaws.com", True),
        ),
        (
            "my.logs",
            "https://s3.eu-west-1.amazonaws.com/my.logs?x=1",
            ("s3.eu-west-1.amazonaws.com", False),
        ),
        ("logs", "https://127.0.0.1:9000/logs?x=1", ("127.0.0.1:9000", False)),
        ("logs", "https://127.0.0.1:9000/s3/logs?x=1", None),
        ("logs", "https://other.s3.eu-west-1.amazonaws.com/?list-type=2", None),
        ("logs", "", None),
    ],
)
def test_a_bucket_is_where_its_listing_was(
    bucket: str, url: str, place: tuple[str, bool] | None
) -> None:
    signature = (
        "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261126/eu-west-1/s3/aws4_request,"
        " SignedHeaders=host, "
    )
    endpoint = BucketEndpoint.of(bucket, ListingRequest(url, signature))
    assert (endpoint and (endpoint.url.removeprefix("https://"), endpoint.is_in_host)) == place
    assert endpoint is None or endpoint.region == "eu-west-1"
    for signed_otherwise in (signature.replace("/s3/", "/s3express/"), "AWS AKIAEXAMPLE:signature"):
        assert BucketEndpoint.of(bucket, ListingRequest(url, signed_otherwise)) is None
