"""Calls from a trail's bucket: named as `s3://bucket/prefix`, or by the trail's name or ARN.

Reads what it needs and no more: the folders of the targets' accounts, of the days of the window. What AWS refuses or
breaks off is a gap of the region that it hides, never the end of the run.

Where a trail's files lie in a bucket: by account and region below `AWSLogs/`, or in folders of a person's own.

The objects of a bucket's branches, oldest first over all of them: each is listed on its own, a page ahead.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import code_of
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.cache import ObjectCache
from leastpriv.evidence.cloudtrail.decompress import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.digest_validation import Vouching
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents
from leastpriv.evidence.cloudtrail.local_store import SLACK, looks_like_trail_file, sort_key
from leastpriv.evidence.cloudtrail.lookup_events import NOT_WAITED_FOR, under_way
from leastpriv.evidence.cloudtrail.prefetch import Task
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket, Clients, Stored
from leastpriv.evidence.cloudtrail.s3_prefetch import BucketReading, Fetchers
from leastpriv.evidence.cloudtrail.trail_config import Trail, left_out_by_place, named_trail, settings_gaps, split
from leastpriv.models import Call, Gap, GapKind, Scope

# Keys: as in trail_paths.py; an organization trail has its id below AWSLogs/ ("Creating a trail for an organization" of
# the CloudTrail User Guide, read 2026-11-24).
_REGION = r"[a-z]{2,5}(?:-[a-z]+)+-\d{1,2}"
_ACCOUNT_FOLDER = re.compile(r"\d{12}/", re.ASCII)
_ORGANIZATION_FOLDER = re.compile(r"o-[a-z0-9]{10,32}/", re.ASCII)
_REGION_FOLDER = re.compile(rf"{_REGION}/", re.ASCII)
_ACCOUNT = re.compile(r"(?:^|/)(?P<account>\d{12})/(?:CloudTrail/|$)", re.ASCII)
_OWN_ACCOUNT = re.compile(r"/AWSLogs/(?:o-[a-z0-9]+/)?\d{12}/$", re.ASCII)
_BELOW_REGION = re.compile(rf"/CloudTrail/(?P<region>{_REGION})/(?P<days>.*)", re.ASCII)
_DAY = re.compile(r"(?:^|/)(\d{4}/\d{2}/\d{2})/", re.ASCII)
# A table's template has `${account}` in place of the account.
_DELIVERED = re.compile(r"^(?:(?P<top>.*?)/)?AWSLogs/(?P<organization>o-[a-z0-9]{10,32}/)?(?:\d{12}|\$\{)", re.ASCII)
_PART_OF_A_DAY = re.compile(r"\d{4}(?:/\d{2}(?:/\d{2})?)?")


@dataclass(frozen=True, slots=True)
class Branch:
    """Keys that are listed as one: those of an account and region, or all below a folder of another shape."""

    prefix: str
    account: str = ""
    region: str = ""
    dated: bool = False
    """Folders of year, month and day lie right below the prefix."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a trail delivers in a bucket: what tells the trails of one bucket apart."""

    prefix: str
    """`S3KeyPrefix`: what stands before `AWSLogs/`; without a slash at its end."""
    organization: bool
    """Below an organization's id."""


def delivered(key: str) -> Delivered | None:
    """The place that a key, or a folder of an account, belongs to; None for a layout of somebody's own."""
    found = _DELIVERED.match(key)
    return Delivered((found["top"] or "").strip("/"), bool(found["organization"])) if found else None


def part_of(place: str) -> tuple[str, str, str]:
    """The account, region and days (`2026/11`) that a place lies in or below; each empty where it holds all."""
    below = _BELOW_REGION.search(f"/{place.strip('/')}/")
    days = _PART_OF_A_DAY.match(below["days"]) if below else None
    return _account(f"{place.strip('/')}/"), below["region"] if below else "", days[0] if days else ""


def branches(
    folders: Callable[[Sequence[str]], Sequence[tuple[str, ...]]], prefix: str, accounts: frozenset[str] | None
) -> tuple[Branch, ...]:
    """Branches below a place of the bucket, sorted; of these accounts only (None: of all).

    `folders` gives for each of some prefixes those right below it, each with a slash at its end; what it raises is
    raised. It is asked once for each level of CloudTrail's layout.
    """
    found: list[Branch] = []
    level = [prefix]
    while level:
        known = {path: region for path in level if (region := _BELOW_REGION.search(f"/{path}"))}
        found.extend(
            Branch(path, _account(path), region["region"], dated=not region["days"]) for path, region in known.items()
        )
        unknown = [path for path in level if path not in known]
        level = []
        for path, below in zip(unknown, folders(unknown) if unknown else (), strict=True):
            following = _following(path, below, accounts)
            if following is None:
                found.append(Branch(path))
            level.extend(following or ())
    return tuple(sorted(found, key=lambda branch: branch.prefix))


def _following(prefix: str, below: tuple[str, ...], accounts: frozenset[str] | None) -> list[str] | None:
    """The folders on the way to the branches; `None`: the prefix is one itself."""
    if not prefix.endswith(("AWSLogs/", "/CloudTrail/")) and f"{prefix}AWSLogs/" in below:
        return [f"{prefix}AWSLogs/"]
    names = {path: path.removeprefix(prefix) for path in below}
    chosen = [path for path, name in names.items() if _leads_on(prefix, name)]
    if not chosen and not _is_own(prefix):
        return None
    return [
        # Nothing else leads on from there, so it need not be listed.
        f"{path}CloudTrail/" if _OWN_ACCOUNT.search(f"/{path}") else path
        for path in chosen
        if accounts is None or not _ACCOUNT_FOLDER.fullmatch(names[path]) or names[path].rstrip("/") in accounts
    ]


def _leads_on(prefix: str, name: str) -> bool:
    """Whether a folder is the next one of CloudTrail's own layout."""
    if prefix.endswith("/CloudTrail/"):
        return _REGION_FOLDER.fullmatch(name) is not None
    if _ACCOUNT.search(prefix):
        return name == "CloudTrail/"
    return bool(_ACCOUNT_FOLDER.fullmatch(name) or _ORGANIZATION_FOLDER.fullmatch(name))


def _is_own(prefix: str) -> bool:
    """Whether CloudTrail's layout goes on below: then other folders there are other services' logs."""
    return prefix.endswith(("AWSLogs/", "/CloudTrail/")) or _OWN_ACCOUNT.search(f"/{prefix}") is not None


def _account(prefix: str) -> str:
    found = _ACCOUNT.search(prefix)
    return found["account"] if found else ""


@dataclass(frozen=True, slots=True)
class Days:
    """The days whose folders may hold records of a window."""

    first: str
    """`2026/11/03`; empty: from the beginning."""
    last: str

    @classmethod
    def of(cls, window: Window) -> Days:
        """With a day on either side, since a file may be delivered later than it was written."""
        first = _day(window.start, -SLACK) if window.start and window.start.year > 1 else ""
        last = _day(window.end, SLACK) if window.end and window.end.year < 9999 else "9999/99/99"
        return cls(first, last)

    def start_after(self, branch: Branch) -> str:
        """Key behind which the branch's listing begins; empty: at its beginning."""
        return f"{branch.prefix}{self.first}" if branch.dated and self.first else ""

    def ends_before(self, branch: Branch, key: str) -> bool:
        """Whether a key of the branch, and so all that follow it, lies behind the last day."""
        return branch.dated and key.removeprefix(branch.prefix)[:10] > self.last

    def leave_out(self, key: str) -> bool:
        """Whether a key of CloudTrail's own layout, wherever that begins, is of another day."""
        found = _BELOW_REGION.search(key)
        day = found["days"][:10] if found else ""
        return re.fullmatch(r"\d{4}/\d\d/\d\d", day) is not None and not self.first <= day <= self.last


def place_in_time(key: str) -> tuple[str, str] | None:
    """What orders a key among those of all branches; None for a digest, an insight or something else."""
    name = key.rpartition("/")[2]
    if not looks_like_trail_file(name) or "/CloudTrail-" in key:
        return None
    day = _DAY.search(key)
    return sort_key(name, day[1].replace("/", "") if day else "")[0], key


def _day(time: datetime, shift: timedelta) -> str:
    return f"{time + shift:%Y/%m/%d}"


class S3Trail:
    """A source: the files of one trail where CloudTrail delivers them."""

    def __init__(
        self,
        clients: Clients,
        named: str,
        *,
        since: datetime | None = None,
        seen: SeenEvents | None = None,
        say: Callable[[str], None] = lambda _: None,
        survey: bool = True,
        cache: Path | None = None,
        validate_at: datetime | None = None,
        now: datetime | None = None,
        waited: bool = False,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`named`: `s3://bucket/prefix`, or a trail's name or ARN.

        `since`: what is older is not read, whatever the window; `seen` is shared by sources that may hold copies;
        `survey` False: only the targets' calls count, as for a `TrailFolder`;
        `cache`: a folder that keeps what was read between runs; `validate_at`: files count only where CloudTrail's
        digest files vouch for them, which are due until that time; None: digest files are not read; `now`: None for
        a trail of the past, which gets no events any more; `waited`: event history was waited for, which has all but
        data events.
        """
        self.statistics = ReadStatistics()
        self._clients = clients
        self._named = named
        self._since = since
        self._shared = seen
        self._say = say
        self._survey = survey
        self._cache = cache
        self._validate_at = validate_at
        self._now = now
        self._waited = waited
        self._max_decompressed = max_decompressed

    def __str__(self) -> str:
        """What a person calls it."""
        return self._named

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read calls in the window, roughly oldest first, each once, and a gap for what could not be seen.

        Raises `InputError` while reading where there is no such trail or bucket, or nothing lies there; never for
        what AWS refuses. Starts `statistics` anew.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            location, trails = self._found()
        except AwsError as error:
            yield failed(self._named, error)
            return
        yield from self._objects(location, trails, window, principals)

    def _found(self) -> tuple[str, tuple[Trail, ...] | None]:
        """Where the files lie, and the trails that deliver there; None where that is still to be asked."""
        if self._named.startswith("s3://"):
            return self._named, None
        trail = named_trail(self._clients, self._named)
        return trail.location, (trail,)

    def _objects(
        self, location: str, trails: tuple[Trail, ...] | None, window: Window, principals: Principals
    ) -> Iterator[Call | Gap]:
        name, prefix = split(location)
        bucket = Bucket(name, self._clients.client("s3"), self._clients.fast_objects(name))
        accounts = principals.accounts
        prefix = f"{prefix}/" if prefix else ""
        try:
            listed = branches(bucket.folders_of, prefix, accounts)
            found = [each for each in listed if not accounts or not each.account or each.account in accounts]
        except AwsError as error:
            if code_of(error) == "NoSuchBucket":
                raise InputError(
                    f"trails: there is no bucket {name!r}: name a trail, or s3://BUCKET/PREFIX."
                ) from error
            yield failed(self._named, error)
            return
        places = {place for place in (delivered(each.prefix) for each in found) if place}
        yield from settings_gaps(self._clients, self._named, name, places, trails, window)
        yield from left_out_by_place(self._named, prefix, window)
        if not found:
            whose = ", ".join(sorted(accounts or ()))
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{location}: it has no folder of the account {whose}")
        self._say(f"{location}: {len(found)} folders of accounts and regions")
        seen = self._shared or SeenEvents()
        kept = name if self._survey else f"{name}, calls alone"
        cache = ObjectCache(self._cache, kept, principals) if self._cache else None
        at = self._validate_at
        vouching = Vouching(self._clients, bucket, prefix, found, window, at) if at else None
        reading = BucketReading(
            bucket,
            found,
            Task(window, principals, self._survey, self._max_decompressed),
            self.statistics,
            seen,
            cache,
            vouching,
            self._say,
        )
        with closing(reading):
            yield from reading.items()
        if self._now:
            yield from under_way(
                self.statistics.newest, self._now, window, NOT_WAITED_FOR, Scope(data_events=self._waited)
            )
        if cache:
            self._say(f"{location}: {reading.kept:,} of {self.statistics.files:,} files were known from the cache")
        if vouching:
            self._say(f"{location}: validated against {vouching.digests:,} digest files")
        if found and not reading.any_object and not reading.gave_up:
            if not any(branch.dated for branch in found):
                raise InputError(f"trails: {location!r} holds no CloudTrail file: name the place that holds AWSLogs/.")
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{location}: it holds no file of the days that are read")


def failed(named: str, error: AwsError) -> Gap:
    """The gap of a source of which nothing could be read."""
    return Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: {error}")


_NAMES = 20_000
"""Names of objects held at a time, over all accounts and regions."""
_PAGE = 1_000
"""Names that S3 gives at most ("ListObjectsV2" of the API reference, read 2026-11)."""
_LEAST = 50


class Listing:
    """Lists some branches at the same time: the first page of each is asked for at once."""

    def __init__(
        self,
        bucket: Bucket,
        branches: Sequence[Branch],
        days: Days,
        fetchers: Fetchers,
        lost: Callable[[Branch, AwsError], None],
    ) -> None:
        """`lost`: told of a branch that could not be listed, or not to its end."""
        self._days, self._fetchers, self._lost = days, fetchers, lost
        # Of each branch one page is read while the next one is under way.
        size = max(_LEAST, min(_PAGE, _NAMES // (2 * max(1, len(branches)))))
        listings = [bucket.objects(each.prefix, days.start_after(each), size) for each in branches]
        self._under_way = [(each, pages, self._asked(pages)) for each, pages in zip(branches, listings, strict=True)]

    def __iter__(self) -> Iterator[Stored]:
        """Gives the objects of the days that are read; to be gone through once."""
        streams = [self._branch(*each) for each in self._under_way]
        self._under_way = []
        for _, stored in heapq.merge(*streams, key=lambda entry: entry[0]):
            yield stored

    def _branch(
        self, branch: Branch, pages: Iterator[tuple[Stored, ...]], asked: Future[tuple[Stored, ...]]
    ) -> Iterator[tuple[tuple[str, str], Stored]]:
        try:
            while page := asked.result():
                if self._days.ends_before(branch, page[-1].key):
                    pages = iter(())
                asked = self._asked(pages)
                for stored in page:
                    if self._days.ends_before(branch, stored.key):
                        return
                    place = place_in_time(stored.key)
                    if place and not self._days.leave_out(stored.key):
                        yield place, stored
        except AwsError as error:
            self._lost(branch, error)

    def _asked(self, pages: Iterator[tuple[Stored, ...]]) -> Future[tuple[Stored, ...]]:
        return self._fetchers.submit(next, pages, ())
