"""Creates digest files as CloudTrail delivers them, signed by a test key: one per hour, each naming
the one before.

As in "CloudTrail digest file structure" of the CloudTrail User Guide (read 2026-11-24).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.aws.s3_server import FakeS3

HOUR = timedelta(hours=1)
FINGERPRINT = "31e8b5433410dfb61a9dc45cc65b22ff"
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)_")


@cache
def signing_key() -> rsa.RSAPrivateKey:
    """The key of every region; created once, since that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key(form: PublicFormat = PublicFormat.PKCS1) -> bytes:
    """Its public half in DER, as ListPublicKeys returns it."""
    return signing_key().public_key().public_bytes(Encoding.DER, form)


def listed_keys() -> dict[str, Any]:
    """An answer of ListPublicKeys."""
    return {
        "PublicKeyList": [{"Value": b64encode(public_key()).decode(), "Fingerprint": FINGERPRINT}]
    }


@dataclass(slots=True)
class Written:
    """A digest file: its content before it is compressed, and its metadata."""

    key: str
    content: bytes
    signature: str

    @property
    def metadata(self) -> dict[str, str]:
        """The content as the object has it."""
        return {"signature": self.signature, "signature-algorithm": "SHA256withRSA"}


@dataclass(slots=True)
class Chain:
    """The digests of one trail in one region; `add` writes the next hour's."""

    bucket: str
    account: str
    region: str
    end: datetime
    trail: str = "main"
    last: Written | None = None
    keys: list[str] = field(default_factory=list)

    def add(self, files: dict[str, bytes], suffix: str = "") -> Written:
        """The digest of the hour after the last one over log files (compressed), signed."""
        start, self.end = self.end, self.end + HOUR
        folder = f"AWSLogs/{self.account}/CloudTrail-Digest/{self.region}/{self.end:%Y/%m/%d}"
        name = f"{self.account}_CloudTrail-Digest_{self.region}_{self.trail}_us-east-1_{self.end:%Y%m%dT%H%M%SZ}{suffix}"
        told = {
            "awsAccountId": self.account,
            "digestStartTime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "digestEndTime": f"{self.end:%Y-%m-%dT%H:%M:%SZ}",
            "digestS3Bucket": self.bucket,
            "digestS3Object": f"{folder}/{name}.json.gz",
            "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": None,
            "oldestEventTime": None,
            "previousDigestS3Bucket": self.bucket if self.last else None,
            "previousDigestS3Object": self.last.key if self.last else None,
            "previousDigestHashValue": hashlib.sha256(self.last.content).hexdigest() if self.last else None,
            "previousDigestHashAlgorithm": "SHA-256" if self.last else None,
            "previousDigestSignature": self.last.signature if self.last else None,
            "logFiles": [
                {"s3Bucket": self.bucket, "s3Object": key, "hashAlgorithm": "SHA-256",
                 "hashValue": hashlib.sha256(gzip.decompress(body)).hexdigest()}
                for key, body in files.items()
            ],
        }  # fmt: skip
        self.last = written(told)
        self.keys.append(self.last.key)
        return self.last


def written(told: dict[str, Any]) -> Written:
    """A digest of these fields, signed whatever they are."""
    content = json.dumps(told, separators=(",", ":")).encode()
    previous = told["previousDigestSignature"]
    signed = "\n".join([
        told["digestEndTime"], f"{told['digestS3Bucket']}/{told['digestS3Object']}",
        hashlib.sha256(content).hexdigest(), "null" if previous is None else previous,
    ])  # fmt: skip
    return Written(told["digestS3Object"], content, _signature(signed))


# Most tests begin with the same digests.
@cache
def _signature(signed: str) -> str:
    return signing_key().sign(signed.encode(), PKCS1v15(), SHA256()).hex()


def deliver_digests(s3: FakeS3, account: str, region: str, start: datetime, hours: int) -> Chain:
    """Put the digests of some hours over a bucket's log files, each file in the hour of its
    name.
    """
    chain = Chain(s3.bucket, account, region, start)
    for _ in range(hours):
        named = dict(_of_hour(s3, f"AWSLogs/{account}/CloudTrail/{region}/", chain.end))
        digest = chain.add(named)
        put(s3, digest)
    return chain


def put(s3: FakeS3, digest: Written) -> None:
    """Put a digest into a bucket."""
    s3.objects[digest.key] = gzip.compress(digest.content)
    s3.metadata[digest.key] = digest.metadata


def _of_hour(s3: FakeS3, folder: str, start: datetime) -> Iterator[tuple[str, bytes]]:
    for key, body in s3.objects.items():
        stamp = _STAMP.search(key)
        if stamp and key.startswith(folder):
            time = datetime.strptime(stamp[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
            if start <= time < start + HOUR:
                yield key, body
