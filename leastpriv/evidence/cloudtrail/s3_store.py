"""Reads calls from a trail's bucket, given as `s3://bucket/prefix` or as the trail's name or ARN.

Reads only the folders of the targets' accounts and of the days of the window. What AWS denies or interrupts is a gap
of the region that it hides, and does not end the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.cache import ObjectCache
from leastpriv.evidence.cloudtrail.digest_validation import DigestValidator
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator
from leastpriv.evidence.cloudtrail.file_store import delivery_location, find_log_prefixes
from leastpriv.evidence.cloudtrail.lookup_events import WAIT_ADVICE, late_events_gap
from leastpriv.evidence.cloudtrail.prefetch import ReadOptions
from leastpriv.evidence.cloudtrail.record_blocks import MAX_DECOMPRESSED
from leastpriv.evidence.cloudtrail.s3_bucket import AwsClients, Bucket
from leastpriv.evidence.cloudtrail.s3_prefetch import BucketPrefetcher
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.cloudtrail.trail_config import Trail, find_trail, location_gaps, settings_gaps, split_location
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class S3TrailOptions:
    """How the files of a trail are read."""

    since: datetime | None = None
    """Older files are not read, whatever the window."""
    seen: EventDeduplicator | None = None
    """Shared by sources that may contain copies of each other's records."""
    survey: bool = True
    """Whether to count the coverage of all records; False: only the targets' calls count."""
    cache: Path | None = None
    """Folder that keeps results between runs."""
    validate_at: datetime | None = None
    """Only files that a digest file validates count; digests are due until this time. None: no validation."""
    now: datetime | None = None
    """None for a trail of the past, which receives no further events."""
    waited: bool = False
    """The run waited for event history, which has all events except data events."""
    max_decompressed: int = MAX_DECOMPRESSED


class S3Trail:
    """An evidence source: the files of one trail in its bucket."""

    def __init__(self, clients: AwsClients, named: str, options: S3TrailOptions = S3TrailOptions()) -> None:
        """`named`: `s3://bucket/prefix`, or a trail's name or ARN."""
        self.statistics = ReadStatistics()
        self._clients = clients
        self._named = named
        self._options = options

    def __str__(self) -> str:
        """Name of the source in messages."""
        return self._named

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps for what could not be read.

        Requests that AWS denies never raise. Resets `statistics`.

        Raises:
            InputError: the trail or bucket does not exist, or has no files; raised while reading.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            location, trails = self._found()
        except AwsError as error:
            yield failed_source_gap(self._named, error)
            return
        yield from self._objects(location, trails, window, principals)

    def _found(self) -> tuple[str, tuple[Trail, ...] | None]:
        """The location of the files, and the trails that deliver there; None where these are not known yet."""
        if self._named.startswith("s3://"):
            return self._named, None
        trail = find_trail(self._clients, self._named)
        return trail.location, (trail,)

    def _objects(
        self, location: str, trails: tuple[Trail, ...] | None, window: Window, principals: Principals
    ) -> Iterator[Call | Gap]:
        name, prefix = split_location(location)
        bucket = Bucket(name, self._clients.client("s3"), self._clients.fast_object_client(name))
        accounts = principals.accounts
        prefix = f"{prefix}/" if prefix else ""
        try:
            listed = find_log_prefixes(bucket.folders_of, prefix, accounts)
            found = [each for each in listed if not accounts or not each.account or each.account in accounts]
        except AwsError as error:
            if error_code(error) == "NoSuchBucket":
                raise InputError(
                    f"trails: there is no bucket {name!r}: name a trail, or s3://BUCKET/PREFIX."
                ) from error
            yield failed_source_gap(self._named, error)
            return
        places = {place for place in (delivery_location(each.prefix) for each in found) if place}
        settings = yield from settings_gaps(self._clients, self._named, (name, places), trails, window)
        self.statistics.every_region, self.statistics.selected = settings.every_region, settings.selected
        yield from location_gaps(self._named, prefix, window)
        if not found:
            whose = ", ".join(sorted(accounts or ()))
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{location}: it has no folder of the account {whose}")
        _log.info(f"{location}: {len(found)} folders of accounts and regions")
        seen = self._options.seen or EventDeduplicator()
        kept = name if self._options.survey else f"{name}, calls alone"
        cache = ObjectCache(self._options.cache, kept, principals) if self._options.cache else None
        at = self._options.validate_at
        validator = DigestValidator(self._clients, bucket, prefix, found, window, at) if at else None
        reading = BucketPrefetcher(
            bucket,
            found,
            ReadOptions(window, principals, self._options.survey, self._options.max_decompressed),
            self.statistics,
            seen,
            cache,
            validator,
        )
        with closing(reading):
            yield from reading.items()
        if self._options.now:
            yield from late_events_gap(
                self.statistics.newest, self._options.now, window, WAIT_ADVICE, Scope(data_events=self._options.waited)
            )
        if cache:
            _log.info(f"{location}: {reading.kept:,} of {self.statistics.files:,} files came from the cache")
        if validator:
            _log.info(f"{location}: validated against {validator.digests:,} digest files")
        if found and not reading.any_object and not reading.gave_up:
            if not any(branch.dated for branch in found):
                raise InputError(f"trails: {location!r} holds no CloudTrail file: name the place that holds AWSLogs/.")
            yield Gap(GapKind.SOURCE_FAILED, Scope(), f"{location}: it holds no file of the days that are read")


def failed_source_gap(named: str, error: AwsError) -> Gap:
    """The gap of a source that could not be read at all."""
    return Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: {error}")
