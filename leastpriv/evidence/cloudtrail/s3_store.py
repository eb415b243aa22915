"""Calls from a trail's bucket: named as `s3://bucket/prefix`, or by the trail's name or ARN.

Reads what it needs and no more: the folders of the targets' accounts, of the days of the window. What AWS refuses or
breaks off is a gap of the region that it hides, never the end of the run.

Where a trail's files lie in a bucket: by account and region below `AWSLogs/`, or in folders of a person's own.

The objects of a bucket's branches, oldest first over all of them: each is listed on its own, a page ahead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.cache import ObjectCache
from leastpriv.evidence.cloudtrail.decompress import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.digest_validation import Vouching
from leastpriv.evidence.cloudtrail.file_reader import ReadStatistics, SeenEvents
from leastpriv.evidence.cloudtrail.file_store import branches, delivered
from leastpriv.evidence.cloudtrail.lookup_events import NOT_WAITED_FOR, under_way
from leastpriv.evidence.cloudtrail.prefetch import Task
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket, Clients
from leastpriv.evidence.cloudtrail.s3_prefetch import BucketReading
from leastpriv.evidence.cloudtrail.trail_config import Trail, left_out_by_place, named_trail, settings_gaps, split
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)


class S3Trail:
    """A source: the files of one trail where CloudTrail delivers them."""

    def __init__(
        self,
        clients: Clients,
        named: str,
        *,
        since: datetime | None = None,
        seen: SeenEvents | None = None,
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
        bucket = Bucket(name, self._clients.client("s3"), self._clients.fast_object_client(name))
        accounts = principals.accounts
        prefix = f"{prefix}/" if prefix else ""
        try:
            listed = branches(bucket.folders_of, prefix, accounts)
            found = [each for each in listed if not accounts or not each.account or each.account in accounts]
        except AwsError as error:
            if error_code(error) == "NoSuchBucket":
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
        _log.info(f"{location}: {len(found)} folders of accounts and regions")
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
        )
        with closing(reading):
            yield from reading.items()
        if self._now:
            yield from under_way(
                self.statistics.newest, self._now, window, NOT_WAITED_FOR, Scope(data_events=self._waited)
            )
        if cache:
            _log.info(f"{location}: {reading.kept:,} of {self.statistics.files:,} files were known from the cache")
        if vouching:
            _log.info(f"{location}: validated against {vouching.digests:,} digest files")
        if found and not reading.any_object and not reading.gave_up:
            if not any(branch.dated for branch in found):
                raise InputError(f"trails: {location!r} holds no CloudTrail file: name the place that holds AWSLogs/.")
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{location}: it holds no file of the days that are read")


def failed(named: str, error: AwsError) -> Gap:
    """The gap of a source of which nothing could be read."""
    return Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: {error}")
