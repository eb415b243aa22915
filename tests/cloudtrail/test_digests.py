"""What a digest file vouches for, by its bytes alone."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.cloudtrail.digest_validation import (
    DigestRecord,
    PreviousDigest,
    broken_links,
    missing_periods,
    parse_digest_key,
    read_digest,
)
from leastpriv.cloudtrail.s3_bucket import DescribedObject
from tests.fakes.digests import FINGERPRINT, HOUR, Chain, Written, public_key, written

START = datetime(2026, 1, 2, 8, tzinfo=UTC)
KEYS = {FINGERPRINT: public_key()}
LOG = gzip.compress(b'{"Records": []}', mtime=0)


def chain() -> Chain:
    return Chain("logs", "123456789012", "eu-west-1", START)


def read(digest: Written, keys: dict[str, bytes] = KEYS, **more: str) -> DigestRecord | str:
    stored = DescribedObject(gzip.compress(digest.content), digest.metadata | more)
    return read_digest("logs", digest.key, stored, keys)


def sound(digest: Written) -> DigestRecord:
    digest_record = read(digest)
    assert isinstance(digest_record, DigestRecord), digest_record
    return digest_record


def test_a_valid_digest_has_its_hour_its_files_and_the_previous_digest() -> None:
    hours = chain()
    first, second = hours.add({}), hours.add({"AWSLogs/x.json.gz": LOG})
    assert sound(first).previous is None
    digest_record = sound(second)
    assert (digest_record.start, digest_record.end) == (START + HOUR, START + 2 * HOUR)
    assert digest_record.files == {
        "AWSLogs/x.json.gz": hashlib.sha256(b'{"Records": []}').hexdigest()
    }
    assert digest_record.previous == (
        first.key,
        hashlib.sha256(first.content).hexdigest(),
        first.signature,
    )


@pytest.mark.parametrize("form", [PublicFormat.PKCS1, PublicFormat.SubjectPublicKeyInfo])
def test_keys_are_taken_in_both_forms_that_aws_gives_them_in(form: PublicFormat) -> None:
    assert isinstance(read(chain().add({}), {FINGERPRINT: public_key(form)}), DigestRecord)


@pytest.mark.parametrize(
    ("keys", "more", "reason"),
    [
        ({}, {}, "knows no key"),
        ({FINGERPRINT: b"no key"}, {}, "signature is invalid"),
        (KEYS, {"signature": ""}, "signature is invalid"),
        (KEYS, {"signature": "ä"}, "signature is invalid"),
        (KEYS, {"signature-algorithm": "NONE"}, "not signed by"),
    ],
)
def test_a_digest_without_key_or_signature_validates_no_log_file(
    keys: dict[str, bytes], more: dict[str, str], reason: str
) -> None:
    refusal = read(chain().add({}), keys, **more)
    assert isinstance(refusal, str)
    assert reason in refusal


@pytest.mark.parametrize(
    "change",
    [
        {"digestEndTime": "soon"},
        {"logFiles": None},
        {"logFiles": [1]},
        {"digestPublicKeyFingerprint": None},
        {"digestS3Bucket": "other"},
    ],
)
def test_a_digest_of_another_shape_does_not_raise(change: dict[str, Any]) -> None:
    digest = json.loads(chain().add({}).content) | change
    assert isinstance(read(written(digest)), str)


@given(st.binary(max_size=200))
def test_another_key_is_no_digest(body: bytes) -> None:
    for body_of_key in (body, gzip.compress(body)):
        assert isinstance(read_digest("logs", "k", DescribedObject(body_of_key, {}), KEYS), str)


@given(st.sampled_from(["[]", "{}", "null", "1", '{"digestS3Bucket": "logs"}', "[" * 100_000]))
def test_json_of_another_shape_is_no_digest(text: str) -> None:
    stored = DescribedObject(gzip.compress(text.encode()), {})
    assert isinstance(read_digest("logs", "k", stored, KEYS), str)


def test_a_log_file_hashed_in_another_way_is_named_without_a_hash() -> None:
    digest = json.loads(chain().add({"AWSLogs/x.json.gz": LOG}).content)
    digest["logFiles"][0]["hashAlgorithm"] = "MD5"
    assert sound(written(digest)).files == {"AWSLogs/x.json.gz": ""}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            "a/123456789012_CloudTrail-Digest_eu-west-1_my_trail_us-east-1_20260102T090000Z.json.gz",
            (9, False),
        ),
        (
            "123456789012_CloudTrail-Digest_eu-west-1_t_us-east-1_20260102T090000Z_backfill.json.gz",
            (9, True),
        ),
        ("123456789012_CloudTrail-Digest_eu-west-1_t_us-east-1_20261302T090000Z.json.gz", None),
        ("123456789012_CloudTrail-Digest_eu-west-1_t_us-east-1_99991231T090000Z.json.gz", None),
        ("123456789012_CloudTrail_eu-west-1_20260102T0900Z_x.json.gz", None),
    ],
)
def test_a_key_contains_the_hour_of_its_digest(key: str, expected: tuple[int, bool] | None) -> None:
    digest_key = parse_digest_key(key)
    assert (digest_key and (digest_key.end.hour, digest_key.backfill)) == expected


def _link(number: int, previous: DigestRecord | None = None, signature: str = "") -> DigestRecord:
    before = None
    if previous:
        before = PreviousDigest(previous.key, previous.hash, signature or previous.signature)
    return DigestRecord(
        f"k{number}",
        START + number * HOUR,
        START + (number + 1) * HOUR,
        f"h{number}",
        f"s{number}",
        before,
    )


def test_a_chain_breaks_where_the_digest_before_is_another_one_or_not_there() -> None:
    first = _link(1)
    second, forked = _link(2, first), _link(2, first, "other")
    assert not list(broken_links({"k1": first, "k2": second}, {"k1", "k2"}, ""))
    [(key, what)] = broken_links({"k1": first, "k2": forked}, {"k1", "k2"}, "")
    assert (key, "another one" in what) == ("k1", True)
    [(key, what)] = broken_links({"k2": second}, {"k2"}, "")
    assert (key, "missing" in what) == ("k1", True)
    assert not list(broken_links({"k2": second}, {"k2"}, "k2")), "it lies before what was listed"
    assert not list(broken_links({"k2": second}, {"k1", "k2"}, "")), (
        "a digest that is there is told by itself"
    )


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(31, 40))
def test_every_hour_without_a_digest_is_in_a_missing_period(hours: set[int], end: int) -> None:
    links = [_link(number) for number in hours]
    missing = list(missing_periods(links, None, START + end * HOUR, timedelta()))
    for hour in range(min(hours), end):
        middle = START + (hour + 0.5) * HOUR
        assert any(start <= middle < stop for start, stop in missing) == (hour not in hours)
