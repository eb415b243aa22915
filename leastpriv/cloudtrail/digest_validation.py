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
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import translate_missing_members
from leastpriv.aws.session import Aws, pages
from leastpriv.cloudtrail.file_store import (
    DayRange,
    LogPrefix,
    StoredFile,
    key_order,
    region_of_path,
)
from leastpriv.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.cloudtrail.s3_bucket import Bucket
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
_REGION = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
_NAME = re.compile(
    rf"(?P<account>\d{{12}})_CloudTrail-Digest_(?P<region>{_REGION})_.+_{_REGION}_"
    rf"(?P<end>\d{{8}}T\d{{6}}Z)"
    r"(?P<backfill>_backfill)?\.json\.gz",
    re.ASCII,
)
_LAST_DAY = "9999/99/99"
"""After every day in a key."""
_LARGEST = 64 * 1024 * 1024
"""Most bytes of a decompressed digest, which names the log files of an hour, some 400 bytes each.
"""
_SIGNED_BY, _HASHED_BY = "SHA256withRSA", "SHA-256"


class DigestKey(Struct, frozen=True):
    """The fields in the key of a digest file."""

    account: str
    region: str
    end: datetime
    """The end of its hour, aware UTC."""
    backfill: bool
    """Whether it names log files that missed their regular digest."""


class DigestRecord(Struct, frozen=True):
    """One digest file with a valid signature, as a record of its chain."""

    key: str
    start: datetime
    end: datetime
    """The period whose delivered log files the digest names, aware UTC."""
    hash: str
    """SHA-256 of its content, in hexadecimal."""
    signature: str
    previous: tuple[str, str, str] | None
    """Key, hash and signature of the previous digest; None: the chain starts here, or continues
    from another bucket.
    """
    files: Mapping[str, str] = {}
    """SHA-256 of each log file's content by its key in the same bucket; empty for another hash
    algorithm.
    """


def parse_digest_key(key: str) -> DigestKey | None:
    """Parses the key of a digest file; None for another key."""
    name_match = _NAME.fullmatch(key.rpartition("/")[2])
    with suppress(ValueError):
        end = (
            datetime.strptime(name_match["end"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if name_match
            else None
        )
        # The first and last years have no days before or after them.
        if name_match and end and 1 < end.year < 9999:
            return DigestKey(
                name_match["account"], name_match["region"], end, name_match["backfill"] is not None
            )
    return None


def read_digest(
    bucket: str, key: str, body: bytes, described: Mapping[str, str], keys: Mapping[str, bytes]
) -> DigestRecord | str:
    """Parses a digest file as stored (compressed); returns the reason in words where it is not
    valid.

    `described`: the object's metadata, names without `x-amz-meta-`. `keys`: public keys by
    fingerprint, in DER.
    """
    decompressing = zlib.decompressobj(wbits=31)
    try:
        content = decompressing.decompress(body, _LARGEST)
        fields = (
            json.loads(content) if decompressing.eof and not decompressing.unused_data else None
        )
        if not isinstance(fields, Mapping):
            return "it is damaged"
        return _read((bucket, key), content, fields, described, keys)
    except zlib.error:
        return "it is damaged"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "it is no digest file"


def _read(
    place: tuple[str, str],
    content: bytes,
    fields: Mapping[str, Any],
    described: Mapping[str, str],
    keys: Mapping[str, bytes],
) -> DigestRecord | str:
    """Checks the place and the signature of a digest; `place`: its bucket and key."""
    bucket, key = place
    if (fields["digestS3Bucket"], fields["digestS3Object"]) != place:
        return "it was written for another place"
    if {fields["digestSignatureAlgorithm"], described.get("signature-algorithm")} != {_SIGNED_BY}:
        return f"it is not signed by {_SIGNED_BY}"
    public = keys.get(str(fields["digestPublicKeyFingerprint"]))
    if public is None:
        return "AWS knows no key of its fingerprint and time"
    digest_hash, signature = (
        hashlib.sha256(content).hexdigest(),
        str(described.get("signature", "")),
    )
    before = fields["previousDigestSignature"]
    signed = (
        str(fields["digestEndTime"]),
        f"{bucket}/{key}",
        digest_hash,
        "null" if before is None else str(before),
    )
    if not _is_signed("\n".join(signed).encode(), signature, public):
        return "its signature is invalid"
    previous = None
    if fields["previousDigestS3Object"] is not None and fields["previousDigestS3Bucket"] == bucket:
        hashed = str(fields["previousDigestHashValue"]).lower()
        previous = (str(fields["previousDigestS3Object"]), hashed, str(before).lower())
    files = {
        str(file["s3Object"]): (
            str(file["hashValue"]).lower() if file["hashAlgorithm"] == _HASHED_BY else ""
        )
        for file in fields["logFiles"]
        if file["s3Bucket"] == bucket
    }
    times = (str(fields[name]) for name in ("digestStartTime", "digestEndTime"))
    start, end = (datetime.fromisoformat(text).astimezone(UTC) for text in times)
    return DigestRecord(
        key=key,
        start=start,
        end=end,
        hash=digest_hash,
        signature=signature.lower(),
        previous=previous,
        files=files,
    )


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


class _DigestChain(Struct):
    """The digests of one account and region."""

    name: str
    region: str
    first: str
    """Digests with smaller keys were not listed."""
    listed: dict[str, tuple[StoredFile, DigestKey]] = {}
    links: dict[str, DigestRecord] = {}
    keys: dict[str, bytes] = {}
    """Public keys by fingerprint; empty where they are not known."""


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
        self._clients, self._bucket, self._now = clients, bucket, now
        self._prefix, self._branches, self._window = prefix, branches, window
        self._due = DayRange.of(window)
        self._fetchers = DaemonThreadPool(_THREADS)
        self._gaps: dict[tuple[str, str], Gap] = {}
        self._chains: dict[str, _DigestChain] = {}
        self._waiting: deque[tuple[bool, str, str, _DigestChain]] = deque()
        """Of each unread digest: whether it is regular, its day, its key, its chain."""
        self._hashes: dict[str, dict[str, str]] = defaultdict(dict)
        """By day and key: the SHA-256 of a log file that a digest names and nothing requested
        yet."""
        self._ends: dict[str, datetime] = {}
        self._read_until = ""

    def close(self) -> None:
        """Cancels pending requests."""
        self._fetchers.close()

    def open(self) -> None:
        """Lists the digests of every region; failures become gaps."""
        end = self._window.end
        days = DayRange.of(
            replace(self._window, end=end + _LATER if end and end.year < 9999 else None)
        )
        for top in sorted(
            {
                folder_match["top"]
                for known_branch in self._branches
                if (folder_match := _ACCOUNT_FOLDER.match(known_branch.prefix))
            }
        ):
            try:
                for folder in self._bucket.folders(f"{top}CloudTrail-Digest/"):
                    if self._is_read(folder.replace("/CloudTrail-Digest/", "/CloudTrail/")):
                        self._list(folder, days)
            except AwsError as error:
                self._note("", f"{self._named(top)}CloudTrail-Digest/: {error}")
        unread: list[tuple[bool, str, str, _DigestChain]] = []
        for chain in self._chains.values():
            # A backfill digest may name a log file much later.
            unread += (
                (not fields.backfill, _day(key), key, chain)
                for key, (_, fields) in chain.listed.items()
            )
            ends = [fields.end for _, fields in chain.listed.values() if not fields.backfill]
            if ends and chain.keys:
                self._ends[chain.name] = max(ends)
        self._waiting.extend(sorted(unread, key=lambda entry: entry[:3]))
        for branch in self._branches:
            if branch.region and _chain_of(branch.prefix) not in self._chains:
                advice = (
                    "switch log file validation on (aws cloudtrail update-trail"
                    " --enable-log-file-validation)"
                )
                self._note(
                    branch.region, f"{self._named(branch.prefix)}: it has no digest files: {advice}"
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
        stamp = (key_order(key) or ("", ""))[0]
        return end is not None and _stamp(end - _AWAITED) <= stamp < _stamp(end + _LATE)

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
            self._read(_LAST_DAY)
            self._note_missing_files(before=_LAST_DAY, unlisted=unlisted)
            end = min(self._now - _LATE, self._window.end or self._now)
            for chain in (
                validated_chain for validated_chain in self._chains.values() if validated_chain.keys
            ):
                for key, objection in broken_links(chain.links, chain.listed, chain.first):
                    self._note(chain.region, f"the digest file: {objection}", key)
                for start, stop in missing_periods(
                    chain.links.values(), self._window.start, end, _AWAITED
                ):
                    when = f"from {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M} UTC"
                    self._note(
                        chain.region, f"{self._named(chain.name)}: it has no digest file {when}"
                    )
        yield from self._gaps.values()

    def _is_read(self, logs: str) -> bool:
        """Whether a key or folder is in the folder that is read, or around it."""
        return logs.startswith(self._prefix) or self._prefix.startswith(logs)

    def _list(self, folder: str, days: DayRange) -> None:
        """Lists the digests of one region's folder, with the keys that sign them."""
        branch = LogPrefix(folder, dated=True)
        first = days.start_after(branch)
        chain = _DigestChain(folder, folder.rstrip("/").rpartition("/")[2], first or folder)
        for page in self._bucket.objects(folder, first):
            inside = [stored for stored in page if not days.ends_before(branch, stored.key)]
            for stored in inside:
                fields = parse_digest_key(stored.key)
                # CloudTrail's keys sign the digests of every account, so a digest outside of the
                # folder of its account, region and day proves nothing.
                digest_folder = (
                    f"{fields.account}/CloudTrail-Digest/{fields.region}/" if fields else ""
                )
                last_key = (
                    f"{folder}{fields.end:%Y/%m/%d}" if fields and digest_folder in folder else ""
                )
                if fields and stored.key.rpartition("/")[0] == last_key:
                    chain.listed[stored.key] = stored, fields
            if len(inside) < len(page):
                break
        if chain.listed:
            chain.keys = self._public_keys(chain)
            self._chains[chain.name] = chain

    def _public_keys(self, chain: _DigestChain) -> dict[str, bytes]:
        """Public keys by fingerprint: each region has its own keys and lists them."""
        ends = [fields.end for _, fields in chain.listed.values()]
        times = {"StartTime": min(ends) - _AWAITED, "EndTime": min(max(ends), self._now)}
        try:
            client = self._clients.client("cloudtrail", chain.region)
            activity = f"asking for the public keys of {chain.region}"
            key_pages = pages(
                client, "list_public_keys", activity, "cloudtrail:ListPublicKeys", **times
            )
            public_keys = [
                public_key for page in key_pages for public_key in page.get("PublicKeyList", ())
            ]
            with translate_missing_members(activity):
                return {
                    str(public_key["Fingerprint"]): bytes(public_key["Value"])
                    for public_key in public_keys
                }
        except (AwsError, InputError) as error:
            self._note(chain.region, str(error))
            return {}

    def _read(self, until: str) -> None:
        """Reads the pending digests up to the end of a day, some of them ahead."""
        ahead: deque[tuple[_DigestChain, str, Future[tuple[bytes, Mapping[str, str]]]]] = deque()
        while self._waiting and (not self._waiting[0][0] or self._waiting[0][1] <= until):
            _, _, key, chain = self._waiting.popleft()
            if chain.keys:
                ahead.append(
                    (
                        chain,
                        key,
                        self._fetchers.submit(self._bucket.fetch_described, chain.listed[key][0]),
                    )
                )
            if len(ahead) >= _AHEAD:
                self._take(*ahead.popleft())
        for object_read in ahead:
            self._take(*object_read)

    def _take(
        self, chain: _DigestChain, key: str, fetched: Future[tuple[bytes, Mapping[str, str]]]
    ) -> None:
        """Reads a fetched digest, and keeps the hashes of the log files that it names."""
        self.digests += 1
        try:
            body, described = fetched.result()
        except AwsError as error:
            self._note(chain.region, str(error), key)
            return
        digest = read_digest(self._bucket.name, key, body, described, chain.keys)
        if isinstance(digest, str):
            self._note(chain.region, f"the digest file is skipped: {digest}", key)
            return
        chain.links[key] = replace(digest, files={})
        for name, content in digest.files.items():
            self._hashes[_day(name)][name] = content

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
        earlier_gap = self._gaps.get((region, objection))
        if earlier_gap:
            self._gaps[region, objection] = replace(
                earlier_gap, kind=kind, count=earlier_gap.count + 1
            )
            return
        detail = f"{self._named(key)}: {objection}" if key else objection
        scope = Scope(regions=(region,) if region else ())
        self._gaps[region, objection] = Gap(kind, scope, detail, 1)

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


def _chain_of(key: str) -> str:
    """The digest folder of the account and region of a log file, a digest or one of their
    folders.
    """
    prefix_match = re.match(r"(.*?\d{12}/)CloudTrail(?:-Digest)?/([^/]+)", key)
    return f"{prefix_match[1]}CloudTrail-Digest/{prefix_match[2]}/" if prefix_match else ""


def broken_links(
    links: Mapping[str, DigestRecord], listed: Collection[str], first: str
) -> Iterator[tuple[str, str]]:
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
    """Yields periods between the first record and `end` without a digest, longer than `slack`; from
    `start` on.
    """
    until: datetime | None = None
    for link in sorted(links, key=lambda each: each.start):
        if (
            until is not None
            and link.start - until > slack
            and (start is None or link.start > start)
        ):
            yield until, link.start
        until = max(until or link.end, link.end)
    if until is not None and end - until > slack:
        yield until, end
