"""Listings of a bucket by botocore."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.errors import AwsError
from tests.fakes.aws.s3_server import FakeS3, etag


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


def test_keys_come_back_as_they_are_whatever_is_in_them(server: FakeS3) -> None:
    server.forget()
    for key in ("a/é ü+%41.json", "a/<&>\"'.json", "a/\N{GRINNING FACE}.json", "a/%2F.json"):
        server.objects[key] = key.encode()
    objects = [
        stored
        for page in Bucket("logs", server.aws().client("s3")).objects("a/")
        for stored in page
    ]
    assert sorted(objects, key=lambda stored: stored.key) == sorted(
        (StoredFile(key, etag(body), len(body)) for key, body in server.objects.items()),
        key=lambda stored: stored.key,
    )


def test_a_listing_that_broke_off_is_none(server: FakeS3) -> None:
    server.forget()
    for number in range(20):
        server.objects[f"a/{number}.json"] = b"x"
    server.break_off("LIST a/", after=900, times=10)
    with pytest.raises(AwsError, match="cut off"):
        list(Bucket("logs", server.aws().client("s3")).objects("a/"))
