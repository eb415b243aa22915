"""A page of a listing, taken before botocore parses it, is the page that botocore would have parsed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.aws.s3_objects import parse_listing
from leastpriv.errors import AwsError
from leastpriv.evidence.cloudtrail.file_store import StoredFile
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket
from tests.fakes.aws.s3_server import FakeS3, etag

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"))
_MORE = st.sampled_from(["", "<StorageClass>STANDARD</StorageClass>", "<Owner><ID>x</ID></Owner>"])
_WHEN = "<LastModified>2026-01-02T08:00:00.000Z</LastModified>"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeS3]:
    with FakeS3() as fake:
        yield fake


@cache
def output_shape() -> Any:
    from botocore.session import get_session

    return get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape


def parsed(body: bytes) -> dict[str, Any]:
    from botocore.parsers import create_parser

    answer = {"body": body, "headers": {}, "status_code": 200}
    found: dict[str, Any] = create_parser("rest-xml").parse(answer, output_shape())
    return found


def taken(body: bytes, status: int = 200, **headers: str) -> tuple[bytes, dict[str, Any]]:
    answer: dict[str, Any] = {"body": body, "headers": dict(headers), "status_code": status}
    customized: dict[str, Any] = {}
    parse_listing(answer, customized)
    return answer["body"], customized


def page(*entries: str, after: str = "") -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return (
        f"{head}<Name>logs</Name>{''.join(entries)}<IsTruncated>true</IsTruncated>{after}</ListBucketResult>".encode()
    )


def entry(key: str, etag: str, size: int, more: str = "") -> str:
    told = f"<Key>{escape(key)}</Key>{_WHEN}<ETag>{escape(etag)}</ETag><Size>{size}</Size>{more}"
    return f"<Contents>{told}</Contents>"


@given(st.lists(st.builds(entry, _TEXT.filter(bool), _TEXT, st.integers(0, 2**40), _MORE), min_size=1, max_size=5))
def test_the_fast_parser_and_botocore_together_give_botocores_result(entries: list[str]) -> None:
    whole = page(*entries, after="<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>")
    rest, customized = taken(whole)
    told = parsed(whole)
    assert b"<Contents>" not in rest
    assert [(each["Key"], each["ETag"], int(each["Size"])) for each in customized["Contents"]] == [
        (each["Key"], each["ETag"], each["Size"]) for each in told.pop("Contents")
    ]
    assert parsed(rest) == told


@pytest.mark.parametrize(
    "odd",
    [
        "<Contents><ETag>x</ETag><Size>1</Size></Contents>",
        "<Contents><Key>k</Key><Size>many</Size></Contents>",
        f"{entry('a', 'x', 1)}<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>{entry('b', 'x', 1)}",
        "<Contents><Key>k</Key><Size>1</Size></Contents><Contents><Key>a&b</Key></Contents>",
        "<Contents><Key>k</Key><Size>1</Size>",
        "",
    ],
    ids=["no key", "no size", "folders between", "no xml", "cut", "empty"],
)
def test_a_page_that_is_not_as_s3_writes_it_is_left_to_botocore(odd: str) -> None:
    assert taken(page(odd)) == (page(odd), {})


def test_an_error_and_a_page_that_broke_off_are_left_to_botocore() -> None:
    whole = page(entry("a", "x", 1))
    assert taken(whole, status=503) == (whole, {})
    assert taken(whole, **{"Content-Length": str(len(whole) + 1)}) == (whole, {})
    assert taken(whole, **{"Content-Length": str(len(whole))})[1]


def test_keys_come_back_as_they_are_whatever_is_in_them(server: FakeS3) -> None:
    server.forget()
    for key in ("a/é ü+%41.json", "a/<&>\"'.json", "a/\N{GRINNING FACE}.json", "a/%2F.json"):
        server.objects[key] = key.encode()
    found = [stored for page in Bucket("logs", server.aws().client("s3")).objects("a/") for stored in page]
    assert sorted(found, key=lambda stored: stored.key) == sorted(
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
