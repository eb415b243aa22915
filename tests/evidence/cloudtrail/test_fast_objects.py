"""Objects by a faster client are what botocore gives, and whatever goes wrong is botocore's to tell."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws import s3_objects
from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.s3_objects import BucketEndpoint, FastObjectClient, signed_headers, urllib3_getter
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError
from leastpriv.evidence.cloudtrail.file_store import StoredFile
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket
from leastpriv.evidence.cloudtrail.s3_store import S3Trail
from leastpriv.models import Call, Gap, GapKind
from tests.evidence.cloudtrail.test_cached_folders import record
from tests.fakes.aws.s3_server import FakeS3, etag

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


@pytest.fixture(params=["obstore", "urllib3"])
def fast_door(s3: FakeS3, request: pytest.FixtureRequest) -> Aws:
    return door(s3, request.param)


def door(s3: FakeS3, client: str) -> Aws:
    if client == "obstore":
        pytest.importorskip("obstore", reason="obstore is an extra: pip install leastpriv[fast]")
    return Aws.open({**s3.environment(), "LEASTPRIV_S3_CLIENT": client})


def listed(aws: Aws) -> tuple[StoredFile, ...]:
    return next(Bucket("logs", aws.client("s3")).objects(PLACE))


def calls(s3: FakeS3, aws: Aws) -> list[Any]:
    source = S3Trail(aws, "s3://logs")
    return [each for each in source.read(Window(), Principals()) if isinstance(each, Call)]


def test_a_faster_client_gives_what_botocore_gives_with_as_many_requests(s3: FakeS3, fast_door: Aws) -> None:
    found = calls(s3, s3.aws())
    asked = sorted(s3.requests)
    s3.requests.clear()
    assert calls(s3, fast_door) == found
    assert len(found) == 40
    assert sorted(s3.requests) == asked


def test_an_object_that_is_another_one_by_now_is_asked_of_botocore(s3: FakeS3, fast_door: Aws) -> None:
    fast, stored = fast_door.fast_object_client("logs"), listed(fast_door)[0]
    assert fast is not None
    content = s3.objects[stored.key]
    assert fast.fetch(stored.key, stored.etag, stored.size) == content
    s3.objects[stored.key] = content + b"more"
    assert fast.fetch(stored.key, stored.etag, stored.size) is None


def test_botocore_reports_a_missing_bucket(s3: FakeS3, fast_door: Aws) -> None:
    bucket = Bucket("nowhere", fast_door.client("s3"), fast_door.fast_object_client("nowhere"))
    with pytest.raises(AwsError):
        bucket.fetch(StoredFile("a.json.gz", '"x"', 3))


def test_a_bucket_that_was_not_listed_is_left_to_botocore(s3: FakeS3, fast_door: Aws) -> None:
    stored = listed(s3.aws())[0]
    fast = fast_door.fast_object_client("logs")
    assert fast is not None
    s3.requests.clear()
    assert fast.fetch(stored.key, stored.etag, stored.size) is None
    assert s3.requests == []


def test_botocore_reports_denied_objects_and_the_others_are_read(s3: FakeS3, fast_door: Aws) -> None:
    s3.refuse("GET .*T080[0-4]Z", "AccessDenied", "Access Denied")
    found = list(S3Trail(fast_door, "s3://logs").read(Window(), Principals()))
    assert len([each for each in found if isinstance(each, Call)]) == 35
    (lost,) = [each for each in found if isinstance(each, Gap) and each.kind is GapKind.SOURCE_FAILED]
    assert (lost.count, "AWS denied s3:GetObject" in lost.detail) == (5, True)


def test_constant_failures_add_few_requests_to_botocores(s3: FakeS3, fast_door: Aws) -> None:
    for number in range(400):
        s3.objects[f"{PLACE}/123456789012_CloudTrail_eu-west-1_20260102T09{number // 8:02}Z_{number}.json.gz"] = b"x"
    s3.refuse("GET ", "InternalError", "We encountered an internal error.", 500)
    found = list(S3Trail(fast_door, "s3://logs").read(Window(), Principals()))
    assert not any(isinstance(each, Call) for each in found)
    assert any(isinstance(each, Gap) and "AWS failed while reading objects" in each.detail for each in found)
    # Those under way at once, and those that lie ahead when the reader gives up.
    assert s3.gets() < 64 + 128 + 64


@pytest.mark.parametrize("fault", ["throttled", "broken off", "late"])
def test_what_fails_once_is_read_all_the_same(s3: FakeS3, fast_door: Aws, fault: str) -> None:
    if fault == "throttled":
        s3.refuse("GET ", "SlowDown", "Please reduce your request rate.", 503, times=1)
    elif fault == "late":
        s3.delay("GET ", 0.3, times=2)
    else:
        s3.break_off("GET ", after=50, times=2)
    assert len(calls(s3, fast_door)) == 40


def test_keys_that_were_renewed_sign_what_follows(s3: FakeS3) -> None:
    from botocore.credentials import Credentials

    aws = door(s3, "urllib3")
    fast, stored = aws.fast_object_client("logs"), listed(aws)[:2]
    assert fast is not None
    for number, each in enumerate(stored):
        aws._session._session._credentials = Credentials(f"AKIA{number}", "other", f"token{number}")
        assert fast.fetch(each.key, each.etag, each.size) == s3.objects[each.key]
        assert f"Credential=AKIA{number}/" in s3.last_signature


def test_what_fails_again_and_again_is_left_to_botocore_for_a_while(
    s3: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "_PAUSE", 4)
    asked: list[str] = []
    broken = True

    def get(key: str) -> tuple[bytes, str] | None:
        asked.append(key)
        if broken:
            raise OSError("no way")
        return s3.objects[key], etag(s3.objects[key])

    bucket = Bucket("logs", s3.aws().client("s3"), FastObjectClient(lambda: get))
    names = next(bucket.objects(PLACE))
    assert [bucket.fetch(stored) for stored in names[:10]] == [s3.objects[stored.key] for stored in names[:10]]
    # The first three, and one after each pause of three.
    assert asked == [names[each].key for each in (0, 1, 2, 6)]
    broken = False
    asked.clear()
    assert [bucket.fetch(stored) for stored in names[10:20]] == [s3.objects[stored.key] for stored in names[10:20]]
    assert asked == [stored.key for stored in names[10:20]]


@given(
    key=st.text(min_size=1, max_size=40),
    token=st.none() | st.from_regex(r"[A-Za-z0-9+/=]{1,60}", fullmatch=True),
    secret=st.from_regex(r"[A-Za-z0-9+/]{1,40}", fullmatch=True),
    bucket=st.sampled_from(["logs", "my.logs"]),
    in_path=st.booleans(),
)
def test_a_signature_is_the_one_that_botocore_makes(
    key: str, token: str | None, secret: str, bucket: str, in_path: bool
) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    host = "s3.eu-west-1.amazonaws.com" if in_path else f"{bucket}.s3.eu-west-1.amazonaws.com"
    place = BucketEndpoint("https", host, f"/{bucket}/" if in_path else "/", "eu-west-1")
    keys = Credentials("AKIAEXAMPLE", secret, token)
    path = place.top + quote(key.encode("utf-8", "replace"), safe="/~")
    request = AWSRequest("GET", f"https://{host}{path}")
    S3SigV4Auth(keys, "s3", "eu-west-1").add_auth(request)
    moment = time.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    ours = signed_headers(place, path, keys.get_frozen_credentials(), moment)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


@pytest.mark.parametrize(
    ("bucket", "url", "place"),
    [
        ("logs", "https://logs.s3.eu-west-1.amazonaws.com/?list-type=2", ("logs.s3.eu-west-1.amazonaws.com", "/")),
        ("logs", "https://logs.s3.eu-west-1.amazonaws.com?list-type=2", ("logs.s3.eu-west-1.amazonaws.com", "/")),
        ("my.logs", "https://s3.eu-west-1.amazonaws.com/my.logs?x=1", ("s3.eu-west-1.amazonaws.com", "/my.logs/")),
        ("logs", "http://127.0.0.1:9000/logs?x=1", ("127.0.0.1:9000", "/logs/")),
        ("logs", "http://127.0.0.1:9000/s3/logs?x=1", None),
        ("logs", "https://other.s3.eu-west-1.amazonaws.com/?list-type=2", None),
        ("logs", "", None),
    ],
)
def test_a_bucket_is_where_its_listing_was(bucket: str, url: str, place: tuple[str, str] | None) -> None:
    signature = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261126/eu-west-1/s3/aws4_request, SignedHeaders=host, "
    found = BucketEndpoint.of(bucket, url, signature)
    assert (found and (found.host, found.top)) == place
    assert found is None or found.region == "eu-west-1"
    assert BucketEndpoint.of(bucket, url, signature.replace("/s3/", "/s3express/")) is None
    assert BucketEndpoint.of(bucket, url, "AWS AKIAEXAMPLE:signature") is None


def test_objects_behind_a_proxy_are_botocores(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    place = BucketEndpoint("https", "logs.s3.eu-west-1.amazonaws.com", "/", "eu-west-1")
    assert urllib3_getter(place, lambda: None, {}, 1) is not None  # type: ignore[arg-type, return-value]
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert urllib3_getter(place, lambda: None, {}, 1) is None  # type: ignore[arg-type, return-value]
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    assert urllib3_getter(place, lambda: None, {}, 1) is not None  # type: ignore[arg-type, return-value]
