"""Validates log files with a trail's digest files, which are read some days ahead of the log files.

Costs a request per hour, region and trail. A file without a valid digest is no evidence and becomes
a gap. Fields, signatures and steps: "CloudTrail digest file structure" and "Custom implementations
of CloudTrail log file integrity validation" of the CloudTrail User Guide (read 2026-11-24). A
starting digest has the signature `null`, as in `aws cloudtrail validate-logs` (aws-cli,
validation.py, read 2026-11-24).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import translate_missing_members
from leastpriv.aws.session import Aws, pages
from leastpriv.cloudtrail.file_store import (
    LAST_DAY,
    REGION,
    DayRange,
    LogPrefix,
    StoredFile,
    key_order,
    region_of_path,
)
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.cloudtrail.s3_bucket import Bucket, DescribedObject
from leastpriv.cloudtrail.statistics import CountedGaps
from leastpriv.errors import AwsError, InputError
from leastpriv.models import Gap, GapKind, Scope

_THREADS = 8
_AHEAD = 64
"""Digest files fetched ahead."""
_ACCOUNT_FOLDER = re.compile(r"(?P<top>(?:.*/)?\d{12}/)CloudTrail/", re.ASCII)
_DAY = re.compile(r"/(\d{4}/\d{2}/\d{2})/")
_LATER = timedelta(days=2)
"""Digests of this many days after a log file are read before its check: a digest names files by
delivery time.
"""
_AWAITED = timedelta(hours=1)
"""A digest is delivered every hour ("CloudTrail digest file structure"): newer log files have none
yet.
"""
_LATE = timedelta(hours=3)
"""A digest that is overdue for longer is missing; this limit is our own, AWS documents none."""
_NAME = re.compile(
    rf"(?P<account>\d{{12}})_CloudTrail-Digest_(?P<region>{REGION})_.+_{REGION}_"
    rf"(?P<end>\d{{8}}T\d{{6}}Z)"
    r"(?P<backfill>_backfill)?\.json\.gz",
    re.ASCII,
)
_LARGEST = 64 * 1024 * 1024
"""Most bytes of a decompressed digest, which names the log files of an hour, some 400 bytes each.
"""
_SIGNED_BY = "SHA256withRSA"
_HASHED_BY = "SHA-256"
_ADVICE = "switch log file validation on (aws cloudtrail update-trail --enable-log-file-validation)"


class DigestKey(Struct, frozen=True):
    """The fields in the key of a digest file."""

    account: str
    region: str
    end: datetime
    """The end of its hour, aware UTC."""
    backfill: bool
    """Whether it names log files that missed their regular digest."""


class PreviousDigest(NamedTuple):
    """What a digest says of the one before it."""

    key: str
    hash: str
    signature: str


class DigestRecord(Struct, frozen=True):
    """One digest file with a valid signature, as a record of its chain."""

    key: str
    start: datetime
    end: datetime
    """The period whose delivered log files the digest names, aware UTC."""
    hash: str
    """SHA-256 of its content, in hexadecimal."""
    signature: str
    previous: PreviousDigest | None
    """None: the chain starts here, or continues from another bucket."""
    files: Mapping[str, str] = {}
    """SHA-256 of each log file's content by its key in the same bucket; empty for another hash
    algorithm.
    """


def parse_digest_key(key: str) -> DigestKey | None:
    """Parses the key of a digest file; None for another key."""
    name_match = _NAME.fullmatch(key.rpartition("/")[2])
    if name_match is None:
        return None
    try:
        end = datetime.strptime(name_match["end"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    # The first and last years have no days before or after them.
    if end.year in (datetime.min.year, datetime.max.year):
        return None
    return DigestKey(
        account=name_match["account"],
        region=name_match["region"],
        end=end,
        backfill=name_match["backfill"] is not None,
    )


def read_digest(
    bucket: str, key: str, stored: DescribedObject, public_keys: Mapping[str, bytes]
) -> DigestRecord | str:
    """Parses a digest file as stored (compressed); returns the reason in words where it is not
    valid.

    `public_keys`: by fingerprint, in DER.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        text = stream.decompress(stored.content, _LARGEST)
        if not stream.eof or stream.unused_data:
            return "it is damaged"
        fields = json.loads(text)
        if not isinstance(fields, Mapping):
            return "it is damaged"
        if (fields["digestS3Bucket"], fields["digestS3Object"]) != (bucket, key):
            return "it was written for another place"
        digest_hash = hashlib.sha256(text).hexdigest()
        fault = _signature_fault(fields, digest_hash, stored.metadata, public_keys)
        return fault or _digest_record(fields, digest_hash, stored.metadata)
    except zlib.error:
        return "it is damaged"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "it is no digest file"


def _signature_fault(
    fields: Mapping[str, Any],
    digest_hash: str,
    metadata: Mapping[str, str],
    public_keys: Mapping[str, bytes],
) -> str:
    """Returns why a digest is not signed by CloudTrail, in words; empty where it is."""
    if {fields["digestSignatureAlgorithm"], metadata.get("signature-algorithm")} != {_SIGNED_BY}:
        return f"it is not signed by {_SIGNED_BY}"
    public_key = public_keys.get(str(fields["digestPublicKeyFingerprint"]))
    if public_key is None:
        return "AWS knows no key of its fingerprint and time"
    previous_signature = fields["previousDigestSignature"]
    signed_lines = (
        str(fields["digestEndTime"]),
        f"{fields['digestS3Bucket']}/{fields['digestS3Object']}",
        digest_hash,
        "null" if previous_signature is None else str(previous_signature),
    )
    if not _is_signed("\n".join(signed_lines).encode(), _signature(metadata), public_key):
        return "its signature is invalid"
    return ""


def _digest_record(
    fields: Mapping[str, Any], digest_hash: str, metadata: Mapping[str, str]
) -> DigestRecord:
    """Reads the fields of a digest with a valid signature."""
    bucket = fields["digestS3Bucket"]
    previous = None
    if fields["previousDigestS3Object"] is not None and fields["previousDigestS3Bucket"] == bucket:
        previous = PreviousDigest(
            key=str(fields["previousDigestS3Object"]),
            hash=str(fields["previousDigestHashValue"]).lower(),
            signature=str(fields["previousDigestSignature"]).lower(),
        )
    hashes: dict[str, str] = {}
    for log_file in fields["logFiles"]:
        if log_file["s3Bucket"] == bucket:
            is_comparable = log_file["hashAlgorithm"] == _HASHED_BY
            log_hash = str(log_file["hashValue"]).lower() if is_comparable else ""
            hashes[str(log_file["s3Object"])] = log_hash
    return DigestRecord(
        key=fields["digestS3Object"],
        start=_utc(fields["digestStartTime"]),
        end=_utc(fields["digestEndTime"]),
        hash=digest_hash,
        signature=_signature(metadata).lower(),
        previous=previous,
        files=hashes,
    )


def _utc(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _signature(metadata: Mapping[str, str]) -> str:
    return str(metadata.get("signature", ""))


def _is_signed(content: bytes, signature: str, public: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    # Accepts both forms of a key in the guide's example, PKCS #1 and SubjectPublicKeyInfo.
    with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError):
        key = load_der_public_key(public)
        if isinstance(key, RSAPublicKey):
            key.verify(bytes.fromhex(signature), content, PKCS1v15(), SHA256())
            return True
    return False


class _ListedDigest(Struct):
    """A digest file in the listing of its chain's folder."""

    chain: _DigestChain
    key: DigestKey
    stored: StoredFile
    content: Future[DescribedObject] | None = None
    """None until it is requested."""

    @property
    def first_day(self) -> str:
        """The day before which it names no log files; empty where it may name any: a backfill
        digest names those of much earlier days.
        """
        return "" if self.key.backfill else _day(self.stored.key)


class _DigestChain(Struct):
    """The digests of one account and region."""

    name: str
    """Its folder."""
    region: str
    first: str
    """Digests with smaller keys were not listed."""
    listed: dict[str, _ListedDigest] = {}
    links: dict[str, DigestRecord] = {}
    public_keys: dict[str, bytes] = {}
    """By fingerprint; empty where they are not known."""


class DigestValidator:
    """Validates the log files of a bucket with its digest files. For one thread; uses a thread
    pool.
    """

    def __init__(
        self,
        clients: Aws,
        bucket: Bucket,
        prefix: str,
        branches: Sequence[LogPrefix],
        window: Window,
        now: datetime,
    ) -> None:
        """`prefix` has a trailing slash, `branches` are the log prefixes below it; digests are due
        until `now`.
        """
        self.digests = 0
        """Digest files read."""
        self._clients = clients
        self._bucket = bucket
        self._now = now
        self._prefix = prefix
        self._branches = branches
        self._window = window
        self._due = DayRange.of(window)
        self._fetchers = DaemonThreadPool(_THREADS)
        self._gaps = CountedGaps()
        self._chains: dict[str, _DigestChain] = {}
        self._waiting: deque[_ListedDigest] = deque()
        """The digests that are not read yet, in order."""
        self._hashes: dict[str, dict[str, str]] = defaultdict(dict)
        """By day and key: the SHA-256 of a log file that a digest names and nothing requested
        yet."""
        self._ends: dict[str, datetime] = {}
        """By chain: the end of its last regular digest."""
        self._read_until = ""

    def close(self) -> None:
        """Cancels pending requests."""
        self._fetchers.close()

    def open(self) -> None:
        """Lists the digests of every region; failures become gaps."""
        for account_folder in self._account_folders():
            try:
                self._list_account(account_folder)
            except AwsError as error:
                self._note("", f"{self._named(account_folder)}CloudTrail-Digest/: {error}")
        unread: list[_ListedDigest] = []
        for chain in self._chains.values():
            digests = chain.listed.values()
            unread += digests
            ends = [digest.key.end for digest in digests if not digest.key.backfill]
            if ends and chain.public_keys:
                self._ends[chain.name] = max(ends)
        unread.sort(key=lambda digest: (digest.first_day, digest.stored.key))
        self._waiting.extend(unread)
        for branch in self._branches:
            if branch.region and _chain_of(branch.prefix) not in self._chains:
                self._note(
                    branch.region,
                    f"{self._named(branch.prefix)}: it has no digest files: {_ADVICE}",
                )

    def expected(self, key: str) -> str | None:
        """Returns the SHA-256 of a log file's content at delivery; None: no digest has it.

        Log files are requested by day, oldest first, each once.
        """
        day = _day(key)
        if day > self._read_until:
            self._read(_later(day))
            self._read_until = day
            self._note_missing_files(before=_later(day, -_LATER))
        return self._hashes[day].pop(key, None) if day in self._hashes else None

    def is_awaited(self, key: str) -> bool:
        """Whether a log file is so new that its digest may not have been delivered yet."""
        end = self._ends.get(_chain_of(key))
        order = key_order(key)
        if end is None or order is None:
            return False
        return _stamp(end - _AWAITED) <= order.time < _stamp(end + _LATE)

    def reject(self, key: str, objection: str, kind: GapKind = GapKind.NOT_VALIDATED) -> None:
        """Counts a log file that is invalid or not confirmed yet; the gap of a region and reason
        names the first.
        """
        self._note(region_of_path(key), objection, key, kind)

    def gaps(self, unlisted: Collection[str] | None) -> Iterator[Gap]:
        """Yields gaps for files that failed validation; `unlisted`: regions whose listing failed,
        None: all.
        """
        if unlisted is not None:
            self._read(LAST_DAY)
            self._note_missing_files(before=LAST_DAY, unlisted=unlisted)
            for chain in self._chains.values():
                if chain.public_keys:
                    self._note_missing_digests(chain)
        yield from self._gaps.gaps()

    def _note_missing_digests(self, chain: _DigestChain) -> None:
        """Notes where a chain is interrupted: digests that the next one names, and hours without
        one.
        """
        for broken in broken_links(chain.links, chain.listed, chain.first):
            self._note(chain.region, f"the digest file: {broken.objection}", broken.key)
        end = min(self._now - _LATE, self._window.end or self._now)
        for period in missing_periods(chain.links.values(), self._window.start, end, _AWAITED):
            when = f"from {period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} UTC"
            self._note(chain.region, f"{self._named(chain.name)}: it has no digest file {when}")

    def _is_read(self, logs: str) -> bool:
        """Whether a key or folder is in the folder that is read, or around it."""
        return logs.startswith(self._prefix) or self._prefix.startswith(logs)

    def _account_folders(self) -> Sequence[str]:
        """Returns the folders of the accounts whose log files are read."""
        matches = (_ACCOUNT_FOLDER.match(branch.prefix) for branch in self._branches)
        return sorted({match["top"] for match in matches if match})

    def _list_account(self, account_folder: str) -> None:
        """Lists the digests of the regions of an account that are read; raises AwsError."""
        end = self._window.end
        if end:
            end = end + _LATER if end.year < datetime.max.year else None
        days = DayRange.of(replace(self._window, end=end))
        for folder in self._bucket.folders(f"{account_folder}CloudTrail-Digest/"):
            if self._is_read(folder.replace("/CloudTrail-Digest/", "/CloudTrail/")):
                self._list(folder, days)

    def _list(self, folder: str, days: DayRange) -> None:
        """Lists the digests of one region's folder, with the keys that sign them."""
        branch = LogPrefix(folder, dated=True)
        first = days.start_after(branch)
        region = folder.rstrip("/").rpartition("/")[2]
        chain = _DigestChain(folder, region, first or folder)
        for page in self._bucket.objects(folder, first):
            inside = [stored for stored in page if not days.ends_before(branch, stored.key)]
            for stored in inside:
                key = parse_digest_key(stored.key)
                if key and _is_in_its_folder(stored.key, key, folder):
                    chain.listed[stored.key] = _ListedDigest(chain, key, stored)
            if len(inside) < len(page):
                break
        if chain.listed:
            chain.public_keys = self._public_keys(chain)
            self._chains[chain.name] = chain

    def _public_keys(self, chain: _DigestChain) -> dict[str, bytes]:
        """Public keys by fingerprint: each region has its own keys and lists them."""
        ends = [digest.key.end for digest in chain.listed.values()]
        times = {"StartTime": min(ends) - _AWAITED, "EndTime": min(max(ends), self._now)}
        activity = f"asking for the public keys of {chain.region}"
        public_keys: dict[str, bytes] = {}
        try:
            client = self._clients.client("cloudtrail", chain.region)
            for page in pages(
                client, "list_public_keys", activity, "cloudtrail:ListPublicKeys", **times
            ):
                with translate_missing_members(activity):
                    for public_key in page.get("PublicKeyList", ()):
                        public_keys[str(public_key["Fingerprint"])] = bytes(public_key["Value"])
        except (AwsError, InputError) as error:
            self._note(chain.region, str(error))
            return {}
        return public_keys

    def _read(self, until: str) -> None:
        """Reads the pending digests up to the end of a day, some of them ahead."""
        requested: deque[_ListedDigest] = deque()
        while self._waiting and self._waiting[0].first_day <= until:
            listed = self._waiting.popleft()
            if listed.chain.public_keys:
                listed.content = self._fetchers.submit(self._bucket.fetch_described, listed.stored)
                requested.append(listed)
            if len(requested) >= _AHEAD:
                self._take(requested.popleft())
        for listed in requested:
            self._take(listed)

    def _take(self, listed: _ListedDigest) -> None:
        """Reads a requested digest, and keeps the hashes of the log files that it names."""
        if listed.content is None:
            return
        self.digests += 1
        chain = listed.chain
        key = listed.stored.key
        try:
            stored = listed.content.result()
        except AwsError as error:
            self._note(chain.region, str(error), key)
            return
        listed.content = None
        digest = read_digest(self._bucket.name, key, stored, chain.public_keys)
        if isinstance(digest, str):
            self._note(chain.region, f"the digest file is skipped: {digest}", key)
            return
        chain.links[key] = replace(digest, files={})
        for log_file, log_hash in digest.files.items():
            self._hashes[_day(log_file)][log_file] = log_hash

    def _note_missing_files(self, before: str, unlisted: Collection[str] = ()) -> None:
        """Notes the log files of the days before `before` that a digest names and no listing
        showed, and forgets their hashes.

        `unlisted`: regions whose listing failed, so that nothing is known of their files.
        """
        for day in [day for day in self._hashes if day < before]:
            for key in self._hashes.pop(day):
                region = region_of_path(key)
                is_log_file = key_order(key) is not None
                was_listed = self._is_read(key) and not self._due.excludes(key)
                if is_log_file and was_listed and region not in unlisted:
                    self._note(region, "it is missing: a digest file names it", key)

    def _note(
        self, region: str, objection: str, key: str = "", kind: GapKind = GapKind.NOT_VALIDATED
    ) -> None:
        """Counts a gap once more; its detail names the first file."""
        detail = f"{self._named(key)}: {objection}" if key else objection
        scope = Scope(regions=(region,) if region else ())
        self._gaps.add((region, objection), Gap(kind, scope, detail))

    def _named(self, key: str) -> str:
        return f"s3://{self._bucket.name}/{key}"


def _day(key: str) -> str:
    day_match = _DAY.search(key)
    return day_match[1] if day_match else ""


def _later(day: str, shift: timedelta = _LATER) -> str:
    # A key may contain a day that does not exist: any writer of the bucket chooses keys.
    with suppress(ValueError, OverflowError):
        return f"{datetime.strptime(day, '%Y/%m/%d') + shift:%Y/%m/%d}"
    return day


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%dT%H%MZ}"


def _is_in_its_folder(key: str, parts: DigestKey, folder: str) -> bool:
    """Whether a digest is in the folder of its account, region and day: CloudTrail's keys sign the
    digests of every account, so that a digest elsewhere proves nothing.
    """
    if f"{parts.account}/CloudTrail-Digest/{parts.region}/" not in folder:
        return False
    return key.rpartition("/")[0] == f"{folder}{parts.end:%Y/%m/%d}"


def _chain_of(key: str) -> str:
    """The digest folder of the account and region of a log file, a digest or one of their
    folders.
    """
    prefix_match = re.match(r"(.*?\d{12}/)CloudTrail(?:-Digest)?/([^/]+)", key)
    return f"{prefix_match[1]}CloudTrail-Digest/{prefix_match[2]}/" if prefix_match else ""


class BrokenLink(NamedTuple):
    """A digest file that does not agree with what the next one says of it."""

    key: str
    objection: str


def broken_links(
    links: Mapping[str, DigestRecord], listed: Collection[str], first: str
) -> Iterator[BrokenLink]:
    """Yields the previous digest files that are missing or that were exchanged.

    `links` by key; `listed`: existing keys, valid or not; `first`: keys before it were not listed.
    """
    for link in links.values():
        expected = link.previous
        if expected is None:
            continue
        before = links.get(expected.key)
        if before is None:
            if expected.key not in listed and expected.key >= first:
                yield BrokenLink(expected.key, "it is missing: the digest file after it names it")
        elif (before.hash, before.signature) != (expected.hash, expected.signature):
            yield BrokenLink(expected.key, "it is another one than the digest file after it names")


class MissingPeriod(NamedTuple):
    """A period without a digest."""

    start: datetime
    end: datetime


def missing_periods(
    links: Collection[DigestRecord], start: datetime | None, end: datetime, slack: timedelta
) -> Iterator[MissingPeriod]:
    """Yields periods between the first record and `end` without a digest, longer than `slack`; from
    `start` on.
    """
    if not links:
        return
    by_start = sorted(links, key=lambda link: link.start)
    covered_until = by_start[0].end
    for link in by_start[1:]:
        is_inside = start is None or link.start > start
        if is_inside and link.start - covered_until > slack:
            yield MissingPeriod(covered_until, link.start)
        covered_until = max(covered_until, link.end)
    if end - covered_until > slack:
        yield MissingPeriod(covered_until, end)
