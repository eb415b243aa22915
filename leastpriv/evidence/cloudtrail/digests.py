"""Checks CloudTrail's digest files: signatures, the chain from file to file, and hashes of log files (pure).

Fields, signatures and steps: "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file
integrity validation" of the CloudTrail User Guide (read 2026-11-24). A starting digest has the signature `null`, as in
`aws cloudtrail validate-logs` (aws-cli, validation.py, read 2026-11-24).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_REGION = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
_NAME = re.compile(
    rf"(?P<account>\d{{12}})_CloudTrail-Digest_(?P<region>{_REGION})_.+_{_REGION}_(?P<end>\d{{8}}T\d{{6}}Z)"
    r"(?P<backfill>_backfill)?\.json\.gz",
    re.ASCII,
)
_GZIP = 31
_LARGEST = 64 * 1024 * 1024
"""Most bytes of a decompressed digest, which names the log files of an hour, some 400 bytes each."""
_SIGNED_BY = "SHA256withRSA"
_HASHED_BY = "SHA-256"


@dataclass(frozen=True, slots=True)
class DigestKey:
    """The fields in the key of a digest file."""

    account: str
    region: str
    end: datetime
    """The end of its hour, aware UTC."""
    backfill: bool
    """Whether it names log files that missed their regular digest."""


@dataclass(frozen=True, slots=True)
class DigestRecord:
    """One digest file with a valid signature, as a record of its chain."""

    key: str
    start: datetime
    end: datetime
    """The period whose delivered log files the digest names, aware UTC."""
    hash: str
    """SHA-256 of its content, in hexadecimal."""
    signature: str
    previous: tuple[str, str, str] | None
    """Key, hash and signature of the previous digest; None: the chain starts here, or continues from another bucket."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest record and the log files that it names."""

    link: DigestRecord
    files: Mapping[str, str]
    """SHA-256 of each log file's content by its key in the same bucket; empty for another hash algorithm."""


def parse_digest_key(key: str) -> DigestKey | None:
    """Parses the key of a digest file; None for another key."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    if not found:
        return None
    with suppress(ValueError):
        end = datetime.strptime(found["end"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        # The first and last years have no days before or after them.
        return (
            DigestKey(found["account"], found["region"], end, found["backfill"] is not None)
            if 1 < end.year < 9999
            else None
        )
    return None


def read_digest(
    bucket: str, key: str, body: bytes, described: Mapping[str, str], keys: Mapping[str, bytes]
) -> Digest | str:
    """Parses a digest file as stored (compressed); returns the reason in words where it is not valid.

    `described`: the object's metadata, names without `x-amz-meta-`. `keys`: public keys by fingerprint, in DER.
    """
    content = _decompressed(body)
    try:
        content_fields = json.loads(content) if content is not None else None
        if content is None or not isinstance(content_fields, Mapping):
            return "it is damaged"
        return _read((bucket, key), content, content_fields, described, keys)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "it is no digest file"


def _read(
    place: tuple[str, str],
    content: bytes,
    content_fields: Mapping[str, Any],
    described: Mapping[str, str],
    keys: Mapping[str, bytes],
) -> Digest | str:
    bucket, key = place
    if (content_fields["digestS3Bucket"], content_fields["digestS3Object"]) != place:
        return "it was written for another place"
    if {content_fields["digestSignatureAlgorithm"], described.get("signature-algorithm")} != {_SIGNED_BY}:
        return f"it is not signed by {_SIGNED_BY}"
    public = keys.get(str(content_fields["digestPublicKeyFingerprint"]))
    if public is None:
        return "AWS knows no key of its fingerprint and time"
    own = hashlib.sha256(content).hexdigest()
    signature = str(described.get("signature", ""))
    if not _holds(public, signature, _signed(content_fields, own)):
        return "its signature is invalid"
    link = DigestRecord(
        key,
        _time(content_fields["digestStartTime"]),
        _time(content_fields["digestEndTime"]),
        own,
        signature.lower(),
        _previous(bucket, content_fields),
    )
    return Digest(link, dict(_files(bucket, content_fields["logFiles"])))


def _signed(content_fields: Mapping[str, Any], own: str) -> bytes:
    previous = content_fields["previousDigestSignature"]
    lines = (
        str(content_fields["digestEndTime"]),
        f"{content_fields['digestS3Bucket']}/{content_fields['digestS3Object']}",
        own,
        "null" if previous is None else str(previous),
    )
    return "\n".join(lines).encode()


def _holds(public: bytes, signature: str, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    # Accepts both forms of a key in the guide's example, PKCS #1 and SubjectPublicKeyInfo.
    with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError):
        key = load_der_public_key(public)
        if isinstance(key, RSAPublicKey):
            key.verify(bytes.fromhex(signature), signed, PKCS1v15(), SHA256())
            return True
    return False


def _previous(bucket: str, content_fields: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if content_fields["previousDigestS3Object"] is None or content_fields["previousDigestS3Bucket"] != bucket:
        return None
    return (
        str(content_fields["previousDigestS3Object"]),
        str(content_fields["previousDigestHashValue"]).lower(),
        str(content_fields["previousDigestSignature"]).lower(),
    )


def _files(bucket: str, listed: Any) -> Iterator[tuple[str, str]]:
    for file in listed:
        if file["s3Bucket"] == bucket:
            yield str(file["s3Object"]), str(file["hashValue"]).lower() if file["hashAlgorithm"] == _HASHED_BY else ""


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _decompressed(body: bytes) -> bytes | None:
    """The content of a gzip file; None where it is not gzip, is truncated, or is too large."""
    unfolding = zlib.decompressobj(_GZIP)
    with suppress(zlib.error):
        content = unfolding.decompress(body, _LARGEST)
        return content if unfolding.eof and not unfolding.unused_data else None
    return None


def broken_links(links: Mapping[str, DigestRecord], listed: Collection[str], first: str) -> Iterator[tuple[str, str]]:
    """Yields invalid links: the key of the previous digest file, and the reason.

    `links` by key; `listed`: existing keys, valid or not; `first`: keys before it were not listed.
    """
    for link in links.values():
        if link.previous is None:
            continue
        key, content, signature = link.previous
        before = links.get(key)
        if before is None and key not in listed and key >= first:
            yield key, "it is missing: the digest file after it names it"
        elif before is not None and (before.hash, before.signature) != (content, signature):
            yield key, "it is another one than the digest file after it names"


def missing_periods(
    links: Collection[DigestRecord], start: datetime | None, end: datetime, slack: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Yields periods between the first record and `end` without a digest, longer than `slack`; from `start` on."""
    until: datetime | None = None
    for link in sorted(links, key=lambda each: each.start):
        if until is not None and link.start - until > slack and (start is None or link.start > start):
            yield until, link.start
        until = max(until or link.end, link.end)
    if until is not None and end - until > slack:
        yield until, end
