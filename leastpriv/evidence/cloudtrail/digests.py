"""What CloudTrail's digest files vouch for: signatures, the chain from file to file, hashes of log files (pure).

Fields, signatures and steps: "CloudTrail digest file structure" and "Custom implementations of CloudTrail log file
integrity validation" of the CloudTrail User Guide (read 2026-11-24). The word for the signature that a starting digest
lacks, `null`, is that of `aws cloudtrail validate-logs` (aws-cli, validation.py, read 2026-11-24).
"""

from __future__ import annotations

import hashlib
import io
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
"""Bytes that a digest may unfold to: it names the log files of an hour, some 400 bytes each."""
_PIECE = 256 * 1024
_SIGNED_BY = "SHA256withRSA"
_HASHED_BY = "SHA-256"


@dataclass(frozen=True, slots=True)
class Named:
    """What the key of a digest file tells."""

    account: str
    region: str
    end: datetime
    """The end of the hour that it is of, aware UTC."""
    backfill: bool
    """Whether it names log files that were too late for their own digest."""


@dataclass(frozen=True, slots=True)
class Link:
    """One digest file whose signature holds, as a link of its chain."""

    key: str
    start: datetime
    end: datetime
    """Log files delivered between the two are named, aware UTC."""
    hash: str
    """SHA-256 of its content, in hexadecimal."""
    signature: str
    previous: tuple[str, str, str] | None
    """Key, hash and signature of the digest before; None: the chain starts here, or goes on from another bucket."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A link, and what it vouches for."""

    link: Link
    files: Mapping[str, str]
    """SHA-256 of each log file's content by the file's key in the same bucket; empty where another hash was used."""


def named(key: str) -> Named | None:
    """What a digest file's key tells; None for another key."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    if not found:
        return None
    with suppress(ValueError):
        end = datetime.strptime(found["end"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        # Those years have no days before or after them.
        return (
            Named(found["account"], found["region"], end, found["backfill"] is not None)
            if 1 < end.year < 9999
            else None
        )
    return None


def read_digest(
    bucket: str, key: str, body: bytes, described: Mapping[str, str], keys: Mapping[str, bytes]
) -> Digest | str:
    """Read a digest file as it was stored (compressed) at a place; in words, why it vouches for nothing.

    `described`: the object's metadata, names without `x-amz-meta-`. `keys`: public keys by fingerprint, in DER.
    """
    content = _unfolded(body)
    try:
        told = json.loads(content) if content is not None else None
        if content is None or not isinstance(told, Mapping):
            return "it is damaged"
        return _read(bucket, key, content, told, described, keys)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "it is no digest file"


def _read(
    bucket: str,
    key: str,
    content: bytes,
    told: Mapping[str, Any],
    described: Mapping[str, str],
    keys: Mapping[str, bytes],
) -> Digest | str:
    if (told["digestS3Bucket"], told["digestS3Object"]) != (bucket, key):
        return "it was written for another place"
    if {told["digestSignatureAlgorithm"], described.get("signature-algorithm")} != {_SIGNED_BY}:
        return f"it is not signed by {_SIGNED_BY}"
    public = keys.get(str(told["digestPublicKeyFingerprint"]))
    if public is None:
        return "AWS knows no key of its fingerprint and time"
    own = hashlib.sha256(content).hexdigest()
    signature = str(described.get("signature", ""))
    if not _holds(public, signature, _signed(told, own)):
        return "its signature does not hold"
    link = Link(
        key,
        _time(told["digestStartTime"]),
        _time(told["digestEndTime"]),
        own,
        signature.lower(),
        _previous(bucket, told),
    )
    return Digest(link, dict(_files(bucket, told["logFiles"])))


def _signed(told: Mapping[str, Any], own: str) -> bytes:
    previous = told["previousDigestSignature"]
    lines = (
        str(told["digestEndTime"]),
        f"{told['digestS3Bucket']}/{told['digestS3Object']}",
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

    # Takes the two forms of a key that the guide's own example shows, PKCS #1 and SubjectPublicKeyInfo.
    with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError):
        key = load_der_public_key(public)
        if isinstance(key, RSAPublicKey):
            key.verify(bytes.fromhex(signature), signed, PKCS1v15(), SHA256())
            return True
    return False


def _previous(bucket: str, told: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if told["previousDigestS3Object"] is None or told["previousDigestS3Bucket"] != bucket:
        return None
    return (
        str(told["previousDigestS3Object"]),
        str(told["previousDigestHashValue"]).lower(),
        str(told["previousDigestSignature"]).lower(),
    )


def _files(bucket: str, listed: Any) -> Iterator[tuple[str, str]]:
    for file in listed:
        if file["s3Bucket"] == bucket:
            yield str(file["s3Object"]), str(file["hashValue"]).lower() if file["hashAlgorithm"] == _HASHED_BY else ""


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _unfolded(body: bytes) -> bytes | None:
    """The content of a gzip file; None where it is none, does not end, or is too large."""
    unfolding = zlib.decompressobj(_GZIP)
    with suppress(zlib.error):
        content = unfolding.decompress(body, _LARGEST)
        return content if unfolding.eof and not unfolding.unused_data else None
    return None


def broken_links(links: Mapping[str, Link], listed: Collection[str], first: str) -> Iterator[tuple[str, str]]:
    """Links that do not hold, as the key of the digest file before and what is wrong with it.

    `links` by key; `listed`: keys that are there, sound or not; `first`: smaller keys lie before what was listed.
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


def holes(
    links: Collection[Link], start: datetime | None, end: datetime, slack: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Times between the first of these links and `end` that no digest is of, longer than `slack`; from `start` on."""
    until: datetime | None = None
    for link in sorted(links, key=lambda each: each.start):
        if until is not None and link.start - until > slack and (start is None or link.start > start):
            yield until, link.start
        until = max(until or link.end, link.end)
    if until is not None and end - until > slack:
        yield until, end


class ContentHash:
    """SHA-256 of what gzip members unfold to, or of plain bytes, a piece at a time, in bounded memory."""

    def __init__(self, largest: int) -> None:
        """`largest`: bytes that the content may have."""
        self._left = largest
        self._hash = hashlib.sha256()
        self._start = b""
        self._member: Any = None
        self._plain = False
        self._broken = False

    def update(self, piece: bytes) -> None:
        """Take the next bytes as they were stored."""
        pending = self._start + piece
        if not self._plain and self._member is None:
            if len(pending) < 2:
                self._start = pending
                return
            self._start, self._plain = b"", not pending.startswith(b"\x1f\x8b")
        if self._plain:
            self._take(pending)
        elif not self._broken:
            try:
                self._unfold(pending)
            except zlib.error:
                self._broken = True

    def hexdigest(self) -> str:
        """In hexadecimal; empty where the content does not unfold, or not to its end."""
        whole = self._plain or (self._member is not None and self._member.eof)
        return self._hash.hexdigest() if whole and not self._broken else ""

    def _unfold(self, pending: bytes) -> None:
        while pending and not self._broken:
            if self._member is None or self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._take(self._member.decompress(pending, _PIECE))
            pending = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def _take(self, content: bytes) -> None:
        self._left -= len(content)
        self._broken = self._broken or self._left < 0
        if not self._broken:
            self._hash.update(content)


class HashedStream(io.RawIOBase):
    """A stream whose content is hashed as it is read, and to its end when it is closed."""

    def __init__(self, inner: io.RawIOBase | io.BufferedIOBase, largest: int) -> None:
        """`largest`: bytes that the content may have."""
        super().__init__()
        self._inner = inner
        self._content = ContentHash(largest)
        self._broken = False

    def read(self, size: int = -1) -> bytes:
        """Next bytes, at most `size`; empty at the end. Raises `OSError` as the stream does."""
        try:
            piece = self._inner.read(size) or b""
        except OSError:
            self._broken = True
            raise
        self._content.update(piece)
        return piece

    def close(self) -> None:
        """Read what nobody has read, then close."""
        if not self.closed:
            with suppress(OSError):
                while not self._broken and self.read(_PIECE):
                    pass
            self._inner.close()
        super().close()

    def hexdigest(self) -> str:
        """SHA-256 of the content, once closed; empty where it could not be read to its end."""
        return "" if self._broken else self._content.hexdigest()
