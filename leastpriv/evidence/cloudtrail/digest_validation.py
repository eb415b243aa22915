"""Validates log files with a trail's digest files, which are read some days ahead of the log files.

Costs a request per hour, region and trail. A file without a valid digest is no evidence and becomes a gap.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import translate_errors
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.digests import (
    DigestKey,
    DigestRecord,
    broken_links,
    missing_periods,
    parse_digest_key,
    read_digest,
)
from leastpriv.evidence.cloudtrail.file_store import DayRange, LogPrefix, StoredFile, key_order, region_of_path
from leastpriv.evidence.cloudtrail.prefetch import DaemonThreadPool
from leastpriv.evidence.cloudtrail.s3_bucket import AwsClients, Bucket
from leastpriv.models import Gap, GapKind, Scope

_THREADS = 8
_AHEAD = 64
"""Digest files fetched ahead."""
_ACCOUNT_FOLDER = re.compile(r"(?P<top>(?:.*/)?\d{12}/)CloudTrail/", re.ASCII)
_DAY = re.compile(r"/(\d{4}/\d{2}/\d{2})/")
_LATER = timedelta(days=2)
"""Digests of this many days after a log file are read before its check: a digest names files by delivery time."""
_AWAITED = timedelta(hours=1)
"""A digest is delivered every hour ("CloudTrail digest file structure"): newer log files have none yet."""
_LATE = timedelta(hours=3)
"""A digest that is overdue for longer is missing; this limit is our own, AWS documents none."""


@dataclass(slots=True)
class _DigestChain:
    """The digests of one account and region."""

    name: str
    region: str
    first: str
    """Digests with smaller keys were not listed."""
    listed: dict[str, StoredFile] = field(default_factory=dict)
    links: dict[str, DigestRecord] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)

    @property
    def end(self) -> datetime | None:
        """The end of its last hour, from the keys."""
        return max(
            (
                key_fields.end
                for key_fields in map(parse_digest_key, self.listed)
                if key_fields and not key_fields.backfill
            ),
            default=None,
        )


class DigestValidator:
    """Validates the log files of a bucket with its digest files. For one thread; uses a thread pool."""

    def __init__(
        self,
        clients: AwsClients,
        bucket: Bucket,
        prefix: str,
        branches: Sequence[LogPrefix],
        window: Window,
        now: datetime,
    ) -> None:
        """`prefix` has a trailing slash, `branches` are the log prefixes below it; digests are due until `now`."""
        self.digests = 0
        """Digest files read."""
        self._clients, self._bucket, self._now = clients, bucket, now
        self._prefix, self._branches = prefix, branches
        self._window = window
        self._due = DayRange.of(window)
        self._fetchers = DaemonThreadPool(_THREADS)
        self._gaps: dict[tuple[str, str], Gap] = {}
        self._chains: dict[str, _DigestChain] = {}
        self._waiting: deque[tuple[str, _DigestChain, StoredFile]] = deque()
        self._hashes: dict[str, dict[str, str]] = defaultdict(dict)
        self._ends: dict[str, datetime] = {}
        self._read_until = ""

    def close(self) -> None:
        """Cancels pending requests."""
        self._fetchers.close()

    def open(self) -> None:
        """Lists the digests of every region; failures become gaps."""
        end = self._window.end
        days = DayRange.of(replace(self._window, end=end + _LATER if end and end.year < 9999 else None))
        for top in sorted({found["top"] for each in self._branches if (found := _ACCOUNT_FOLDER.match(each.prefix))}):
            try:
                folders = self._bucket.folders(f"{top}CloudTrail-Digest/")
                for folder in folders:
                    if self._is_read(folder.replace("/CloudTrail-Digest/", "/CloudTrail/")):
                        self._list(folder, days)
            except AwsError as error:
                self._note("", f"{self._named(top)}CloudTrail-Digest/: {error}")
        self._ends = {chain.name: chain.end for chain in self._chains.values() if chain.end and chain.keys}
        entries = (
            (_day(key), chain, stored) for chain in self._chains.values() for key, stored in chain.listed.items()
        )
        # A backfill digest may name a log file much later.
        self._waiting.extend(
            sorted(entries, key=lambda entry: (not _is_backfill(entry[2].key), entry[0], entry[2].key))
        )
        self._without_digests()

    def expected(self, key: str) -> str | None:
        """Returns the SHA-256 of a log file's content at delivery; None: no digest has it.

        Log files are requested by day, oldest first, each once.
        """
        day = _day(key)
        if day > self._read_until:
            self._read(_later(day))
            self._read_until = day
            self._miss(before=_later(day, -_LATER))
        return self._hashes[day].pop(key, None) if day in self._hashes else None

    def objection(self, expected: str | None, found: str) -> str:
        """Why a log file is not valid; empty where it is as it was delivered."""
        if expected is None:
            return "no digest file confirms it"
        return "" if found and found == expected else "it differs from its digest file"

    def is_awaited(self, key: str) -> bool:
        """Whether a log file is so new that its digest may not have been delivered yet."""
        end = self._ends.get(_chain_of(key))
        stamp = (key_order(key) or ("", ""))[0]
        return end is not None and _stamp(end - _AWAITED) <= stamp < _stamp(end + _LATE)

    def reject(self, key: str, objection: str) -> None:
        """Counts an invalid log file; the gap of a region and reason names the first."""
        self._note(region_of_path(key), objection, key)

    def defer(self, key: str) -> None:
        """Counts a log file of the targets whose digest is pending: its calls count in a later run."""
        self._fold(GapKind.EVENTS_LATE, region_of_path(key), "its calls count once its digest file exists", key)

    def gaps(self, unlisted: Collection[str] | None) -> Iterator[Gap]:
        """Yields gaps for files that failed validation; `unlisted`: regions whose listing failed, None: all."""
        if unlisted is not None:
            self._read("9999/99/99")
            self._miss("9999/99/99", unlisted)
            self._check_chains()
        yield from self._gaps.values()

    def _is_read(self, logs: str) -> bool:
        return logs.startswith(self._prefix) or self._prefix.startswith(logs)

    def _list(self, folder: str, days: DayRange) -> None:
        branch = LogPrefix(folder, dated=True)
        first = days.start_after(branch)
        chain = _DigestChain(folder, folder.rstrip("/").rpartition("/")[2], first or folder)
        for page in self._bucket.objects(folder, first):
            inside = [stored for stored in page if not days.ends_before(branch, stored.key)]
            chain.listed.update({stored.key: stored for stored in inside if _is_at_home(folder, stored.key)})
            if len(inside) < len(page):
                break
        if chain.listed:
            chain.keys = self._public_keys(chain)
            self._chains[chain.name] = chain

    def _public_keys(self, chain: _DigestChain) -> dict[str, bytes]:
        """Public keys by fingerprint: each region has its own keys and lists them."""
        ends = [
            key_fields.end for key_fields in map(parse_digest_key, chain.listed) if isinstance(key_fields, DigestKey)
        ]
        asked: dict[str, Any] = {"StartTime": min(ends) - _AWAITED, "EndTime": min(max(ends), self._now)}
        try:
            client = self._clients.client("cloudtrail", chain.region)
            with translate_errors(f"asking for the public keys of {chain.region}", "cloudtrail:ListPublicKeys"):
                # A repeated token ends the listing with an error.
                pages = client.get_paginator("list_public_keys").paginate(**asked)
                return {
                    str(each["Fingerprint"]): bytes(each["Value"])
                    for page in pages
                    for each in page.get("PublicKeyList", ())
                }
        except (AwsError, InputError) as error:
            self._note(chain.region, str(error))
            return {}

    def _without_digests(self) -> None:
        """Notes regions that have log files but no digest."""
        for branch in self._branches:
            if branch.region and _chain_of(branch.prefix) not in self._chains:
                advice = "switch log file validation on (aws cloudtrail update-trail --enable-log-file-validation)"
                self._note(branch.region, f"{self._named(branch.prefix)}: it has no digest files: {advice}")

    def _read(self, until: str) -> None:
        """Reads the pending digests up to the end of a day, some of them ahead."""
        ahead: deque[tuple[_DigestChain, StoredFile, Future[tuple[bytes, Mapping[str, str]]]]] = deque()
        while self._waiting and (_is_backfill(self._waiting[0][2].key) or self._waiting[0][0] <= until):
            _, chain, stored = self._waiting.popleft()
            if chain.keys:
                ahead.append((chain, stored, self._fetchers.submit(self._bucket.fetch_described, stored)))
            if len(ahead) >= _AHEAD:
                self._take(*ahead.popleft())
        for each in ahead:
            self._take(*each)

    def _take(self, chain: _DigestChain, stored: StoredFile, fetched: Future[tuple[bytes, Mapping[str, str]]]) -> None:
        self.digests += 1
        try:
            body, described = fetched.result()
        except AwsError as error:
            self._note(chain.region, str(error), stored.key)
            return
        found = read_digest(self._bucket.name, stored.key, body, described, chain.keys)
        if isinstance(found, str):
            self._note(chain.region, f"the digest file is skipped: {found}", stored.key)
            return
        chain.links[stored.key] = found.link
        for key, content in found.files.items():
            self._hashes[_day(key)][key] = content

    def _miss(self, before: str, unlisted: Collection[str] = ()) -> None:
        """Notes log files before a day that a digest names and that do not exist."""
        for day in [each for each in self._hashes if each < before]:
            for key in self._hashes.pop(day):
                region = region_of_path(key)
                if key_order(key) and self._is_read(key) and not self._due.excludes(key) and region not in unlisted:
                    self._note(region, "it is missing: a digest file names it", key)

    def _check_chains(self) -> None:
        end = min(self._now - _LATE, self._window.end or self._now)
        for chain in self._chains.values():
            if not chain.keys:
                continue
            for key, objection in broken_links(chain.links, chain.listed, chain.first):
                self._note(chain.region, f"the digest file: {objection}", key)
            for start, stop in missing_periods(chain.links.values(), self._window.start, end, _AWAITED):
                when = f"from {start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M} UTC"
                self._note(chain.region, f"s3://{self._bucket.name}/{chain.name}: it has no digest file {when}")

    def _note(self, region: str, objection: str, key: str = "") -> None:
        self._fold(GapKind.NOT_VALIDATED, region, objection, key)

    def _fold(self, kind: GapKind, region: str, objection: str, key: str) -> None:
        known = self._gaps.get((region, objection))
        detail = known.detail if known else f"{self._named(key)}: {objection}" if key else objection
        scope = Scope(regions=(region,) if region else ())
        self._gaps[region, objection] = Gap(kind, scope, detail, known.count + 1 if known else 1)

    def _named(self, key: str) -> str:
        return f"s3://{self._bucket.name}/{key}"


def _day(key: str) -> str:
    found = _DAY.search(key)
    return found[1] if found else ""


def _later(day: str, shift: timedelta = _LATER) -> str:
    # A key may contain a day that does not exist: any writer of the bucket chooses keys.
    with suppress(ValueError, OverflowError):
        return f"{datetime.strptime(day, '%Y/%m/%d') + shift:%Y/%m/%d}"
    return day


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%dT%H%MZ}"


def _is_at_home(folder: str, key: str) -> bool:
    """Whether a key is a digest's of the folder's account and region, in the folder of its day.

    CloudTrail's keys sign the digests of every account, so a digest delivered deeper in the folder proves nothing.
    """
    key_fields = parse_digest_key(key)
    place = key.rpartition("/")[0]
    return key_fields is not None and place == f"{folder}{key_fields.end:%Y/%m/%d}" and _own(key_fields) in folder


def _own(key_fields: DigestKey) -> str:
    return f"{key_fields.account}/CloudTrail-Digest/{key_fields.region}/"


def _is_backfill(key: str) -> bool:
    key_fields = parse_digest_key(key)
    return key_fields is not None and key_fields.backfill


def _chain_of(key: str) -> str:
    """The digest folder of the account and region of a log file, a digest or one of their folders."""
    found = re.match(r"(.*?\d{12}/)CloudTrail(?:-Digest)?/([^/]+)", key)
    return f"{found[1]}CloudTrail-Digest/{found[2]}/" if found else ""
