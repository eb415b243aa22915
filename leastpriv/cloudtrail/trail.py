"""Reads calls from the bucket or the CloudWatch log group to which a trail delivers.

A bucket is given as `s3://bucket/prefix`, or by the trail's name or ARN. Only the folders of the
targets' accounts and of the days of the window are read. A log group is given as `log-group:NAME`
or by its ARN. CloudTrail delivers each record as one log event, and none above the largest size of
a log event ("Sending CloudTrail events to CloudWatch Logs" of the CloudTrail User Guide;
FilterLogEvents of the CloudWatch Logs API reference, read 2026-11-27). What AWS denies or
interrupts is a gap of the region that it hides, and does not end the run.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

from msgspec import Struct, field

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code, required_member
from leastpriv.aws.session import Aws, pages
from leastpriv.cloudtrail.digest_validation import DigestValidator
from leastpriv.cloudtrail.file_reader import (
    EventDeduplicator,
    LogFile,
    S3TrailOptions,
)
from leastpriv.cloudtrail.file_store import (
    DELIVERY_DELAY,
    delivery_location,
    is_of_one_account,
    region_of_path,
)
from leastpriv.cloudtrail.lookup_events import WAIT_ADVICE, late_events_gap
from leastpriv.cloudtrail.other_accounts import namesakes_in_bucket
from leastpriv.cloudtrail.parts import Counting, Item
from leastpriv.cloudtrail.prefetch import Prefetcher, QueuedFile, QueuedPart, open_cache
from leastpriv.cloudtrail.record_reader import ReadOptions, RecordReader
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.cloudtrail.statistics import CountedGaps, ReadStatistics
from leastpriv.cloudtrail.trail_config import (
    BUCKET_ERROR,
    LOG_GROUP_ERROR,
    Trail,
    described_trails,
    find_trail,
    location_gaps,
    settings_gaps,
    split_location,
    trails_of_bucket,
)
from leastpriv.errors import AwsError, AwsErrorKind, InputError
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

PREFIX = "log-group:"
_ARN = re.compile(
    r"arn:[a-z-]+:logs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):log-group:(?P<name>[^:]+)(?::\*)?"
)
_TELL_EVERY = 50
"""Pages between two lines of progress."""


def is_log_group(trail: str) -> bool:
    """Whether a name in `trails` is a log group's."""
    return trail.startswith(PREFIX) or _ARN.fullmatch(trail) is not None


class _DeliveredTrail:
    """A place that a trail delivers to."""

    def __init__(
        self, clients: Aws, named: str, options: S3TrailOptions = S3TrailOptions()
    ) -> None:
        """`named`: the place, in the words of `trails`."""
        self.statistics = ReadStatistics()
        self._clients = clients
        self._named = named
        self._options = options

    def __str__(self) -> str:
        """Name of the source in messages."""
        return self._named

    def _settings_gaps(
        self,
        find_trails: Callable[[], Sequence[Trail]],
        window: Window,
        error_field: str = BUCKET_ERROR,
    ) -> Iterator[Gap]:
        """Yields gaps for what the trails exclude that deliver there, and notes what they
        include.
        """
        selected = yield from settings_gaps(
            self._clients, self._named, find_trails, window, error_field
        )
        self.statistics.every_region = selected.every_region
        self.statistics.selected = selected.data

    def _late_events_gap(self, window: Window) -> Iterator[Gap]:
        """Yields a gap where a target was active a moment ago."""
        now = self._options.now
        if now:
            scope = Scope(data_events=self._options.waited)
            yield from late_events_gap(self.statistics.newest, now, window, WAIT_ADVICE, scope)


class LogGroup(_DeliveredTrail):
    """An evidence source: the records that a trail delivers to one log group."""

    def __init__(self, clients: Aws, named: str, options: S3TrailOptions) -> None:
        """`named`: `log-group:NAME` in the region of the credentials, or the group's ARN."""
        super().__init__(clients, named, options)
        arn_match = _ARN.fullmatch(named)
        self._region = arn_match["region"] if arn_match else ""
        self._name = arn_match["name"] if arn_match else named.removeprefix(PREFIX)
        self._asked = (
            {"logGroupIdentifier": named.removesuffix(":*")}
            if arn_match
            else {"logGroupName": self._name}
        )

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps for what could
        not be read.

        Requests that AWS denies never raise. Resets `statistics`. Raises InputError where the log
        group does not exist, or holds no records; raised while reading.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        yield from self._settings_gaps(self._delivering_trails, window, LOG_GROUP_ERROR)
        seen_events = self._options.seen or EventDeduplicator()
        reader = RecordReader(ReadOptions(window, principals, self._options.survey))
        event_count = 0
        try:
            for number, messages in enumerate(self._pages(window), start=1):
                self.statistics.requests += 1
                event_count += len(messages)
                if number % _TELL_EVERY == 0:
                    _log.info(f"… {event_count:,} events of {self._named}")
                if messages:
                    # As a list of texts: each is one whole record or none.
                    text = json.dumps(messages).encode()
                    log = LogFile(reader, self._named, "", self.statistics, seen_events)
                    yield from log.read(partial(BytesIO, text))
                    self.statistics.files -= 1
        except AwsError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise InputError(
                    f"trails: there is no log group {self._name!r}: check name and region."
                ) from error
            yield failed_source_gap(self._named, error)
            return
        finally:
            reader.survey(self.statistics)
        if event_count and not (self.statistics.records or self.statistics.outside_window):
            raise InputError(
                f"trails: the log group {self._name!r} holds no CloudTrail record: name another"
                " one."
            )
        yield from self._late_events_gap(window)

    def _delivering_trails(self) -> Sequence[Trail]:
        """Returns the trails that deliver to the log group; raises AwsError."""
        client = self._clients.client("cloudtrail", self._region)
        return [trail for trail in described_trails(client) if trail.log_group == self._name]

    def _pages(self, window: Window) -> Iterator[list[str]]:
        """Yields the messages of each page; a page may be empty though another follows."""
        activity = f"reading {self._named}"
        arguments: dict[str, Any] = dict(self._asked)
        if window.start:
            arguments["startTime"] = max(0, int(window.start.timestamp() * 1000))
        if window.end and window.end.year < datetime.max.year:
            # An event may be delivered, and stamped, later than its call was made.
            arguments["endTime"] = max(0, int((window.end + DELIVERY_DELAY).timestamp() * 1000))
        client = self._clients.client("logs", self._region)
        for page in pages(
            client, "filter_log_events", activity, "logs:FilterLogEvents", **arguments
        ):
            yield [
                str(event.get("message") or "")
                for event in required_member(page, activity, "events")
            ]


_MOST_FAILURES = {AwsErrorKind.DENIED: 500, AwsErrorKind.OTHER: 100_000}
"""Failed objects in a row before the rest is skipped; other errors cost many requests each. Denials
may end where another KMS key begins, and archived objects (`OTHER`) where the archive does."""
_MOST_OTHER_FAILURES = 20
_SAY_EVERY = 500
"""Objects between progress messages."""
_FINAL_ERRORS = (AwsErrorKind.EXPIRED, AwsErrorKind.INVALID, AwsErrorKind.NO_CREDENTIALS)


class S3Trail(_DeliveredTrail):
    """An evidence source: the files of one trail in its bucket, named as `s3://bucket/prefix`, by
    its name or ARN.
    """

    _location = ""
    """`s3://bucket/prefix`, once it was listed."""

    def namesakes(self, names: Collection[str], accounts: Collection[str]) -> Counter[str]:
        """Returns the roles of these names in other accounts -> number of records in some files;
        none where the trail was not read, is of one account, or cannot be listed.
        """
        now = self._options.now
        if not self._location or now is None:
            return Counter()
        name, prefix = split_location(self._location)
        if is_of_one_account(prefix):
            return Counter()
        try:
            return namesakes_in_bucket(self._bucket(name), prefix, names, accounts, now)
        except AwsError as error:
            _log.info(
                f"{self._location}: it is not known whether roles of the same name work in other"
                f" accounts. {error}"
            )
            return Counter()

    def read_parts(
        self, window: Window, principals: Principals, counting: Counting
    ) -> Iterator[Item]:
        """Reads calls in the window, roughly oldest first and deduplicated, and gaps for what could
        not be read; with the cache, and with processes where they are worth it.

        Requests that AWS denies never raise. Resets `statistics`. Raises InputError where the trail
        or the bucket does not exist, or holds no records; raised while reading.
        """
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals, counting)

    def _read(self, window: Window, principals: Principals, counting: Counting) -> Iterator[Item]:
        trail: Trail | None = None
        location = self._named
        if not location.startswith("s3://"):
            try:
                trail = find_trail(self._clients, self._named)
            except AwsError as error:
                yield failed_source_gap(self._named, error)
                return
            location = trail.location
        name, prefix = split_location(location)
        bucket = self._bucket(name)
        try:
            bucket.prefixes = bucket.find_prefixes(prefix, principals.accounts)
        except AwsError as error:
            if error_code(error) == "NoSuchBucket":
                raise InputError(
                    f"trails: there is no bucket {name!r}: name a trail, or s3://BUCKET/PREFIX."
                ) from error
            yield failed_source_gap(self._named, error)
            return
        _log.info(f"{location}: {len(bucket.prefixes)} folders of accounts and regions")
        yield from self._settings_gaps(partial(self._delivering_trails, bucket, trail), window)
        yield from location_gaps(self._named, prefix, window)
        if not bucket.prefixes:
            account_names = ", ".join(sorted(principals.accounts or ()))
            detail = f"{location}: it has no folder of the account {account_names}"
            yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
        self._location = location
        reading = self._opened(bucket, prefix, window, principals, counting)
        with closing(reading):
            yield from reading.items()
        yield from self._late_events_gap(window)
        yield from self._result(location, reading)

    def _bucket(self, name: str) -> Bucket:
        return Bucket(name, self._clients.client("s3"), self._clients.fast_object_client(name))

    def _delivering_trails(self, bucket: Bucket, trail: Trail | None) -> Sequence[Trail]:
        """Returns the trail that the user named, or those that deliver there."""
        if trail:
            return [trail]
        locations = {
            location for branch in bucket.prefixes if (location := delivery_location(branch.prefix))
        }
        return trails_of_bucket(self._clients, bucket.name, locations)

    def _opened(
        self,
        bucket: Bucket,
        prefix: str,
        window: Window,
        principals: Principals,
        counting: Counting,
    ) -> _BucketReading:
        """Begins to read the files below a prefix of a bucket."""
        options = self._options
        validator = None
        if options.validate_at:
            validator = DigestValidator(
                clients=self._clients,
                bucket=bucket,
                prefix=f"{prefix}/" if prefix else "",
                branches=bucket.prefixes,
                window=window,
                now=options.validate_at,
            )
        cache_name = bucket.name if options.survey else f"{bucket.name}, calls alone"
        read_options = ReadOptions(window, principals, options.survey, hashes=validator is not None)
        files = Prefetcher(
            store=bucket,
            options=read_options,
            statistics=self.statistics,
            seen=options.seen or EventDeduplicator(),
            counting=counting,
            cache=open_cache(options.cache, cache_name, principals, counting),
        )
        return _BucketReading(bucket, window, files, self.statistics, validator)

    def _result(self, location: str, reading: _BucketReading) -> Iterator[Gap]:
        """Logs what was read, and yields a gap where there was no file; raises InputError where
        the location holds no files of CloudTrail.
        """
        if self._options.cache:
            _log.info(
                f"{location}: {reading.files.kept:,} of {self.statistics.files:,} files came from"
                " the cache"
            )
        if reading.validator:
            _log.info(f"{location}: validated against {reading.validator.digests:,} digest files")
        branches = reading.bucket.prefixes
        if not branches or reading.any_object or any(reading.failure_gaps.gaps()):
            return
        if not any(branch.dated for branch in branches):
            raise InputError(
                f"trails: {location!r} holds no CloudTrail file: name the place that holds"
                " AWSLogs/."
            )
        detail = f"{location}: it holds no file of the days that are read"
        yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)


class _BucketReading(Struct):
    """One pass over the objects of a bucket."""

    bucket: Bucket
    window: Window
    files: Prefetcher
    statistics: ReadStatistics
    validator: DigestValidator | None
    failure_gaps: CountedGaps = field(default_factory=CountedGaps)
    """The gaps of prefixes and objects that could not be listed or read."""
    any_object: bool = False
    _failures: int = 0
    """Objects in a row that could not be read."""

    def close(self) -> None:
        """Cancels pending requests."""
        self.files.close()
        if self.validator:
            self.validator.close()

    def items(self) -> Iterator[Item]:
        """Yields calls without duplicates, in the order of the files' times where they are not
        counted, and gaps for unread objects.
        """
        if self.validator:
            self.validator.open()
        is_interrupted = False
        logged_files = 0
        for part in self.files.queued(self.bucket.list(self.window)):
            self.any_object = True
            failures = yield from self._items_of_part(part)
            if self.statistics.files >= logged_files + _SAY_EVERY:
                logged_files = self.statistics.files
                _log.info(f"… {logged_files:,} files of s3://{self.bucket.name} so far")
            endings = [self._ends_with(failure) for failure in failures]
            if any(endings):
                detail = f"s3://{self.bucket.name}: the rest was not tried"
                yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
                is_interrupted = True
                break
        self.files.finish()
        for branch, error in self.bucket.unlisted.items():
            self._count_failure(branch.region, error)
        yield from self.failure_gaps.gaps()
        if self.validator:
            unlisted_regions = {branch.region for branch in self.bucket.unlisted}
            yield from self.validator.gaps(None if is_interrupted else unlisted_regions)

    def _items_of_part(self, part: QueuedPart) -> Generator[Item, None, Sequence[QueuedFile]]:
        """Yields the items of a part; returns the files that could not be fetched."""
        try:
            if self.validator:
                yield from self._validated(part, self.validator)
            else:
                yield from self.files.items(part)
        except AwsError as error:
            part.file.error = error
            return [part.file]
        failures = part.failures
        if len(failures) < len(part.files):
            self._failures = 0
        return failures

    def _ends_with(self, file: QueuedFile) -> bool:
        """Counts a file that cannot be fetched; whether the rest is not tried."""
        if file.error is None:
            return False
        self._failures += 1
        self.statistics.files += 1
        self.statistics.damaged_files += 1
        self._count_failure(region_of_path(file.stored.key), file.error)
        kind = file.error.kind
        limit = _MOST_FAILURES.get(kind, _MOST_OTHER_FAILURES)
        return kind in _FINAL_ERRORS or self._failures >= limit

    def _count_failure(self, region: str, error: AwsError) -> None:
        """Counts a failure; the gap of a region and reason names the first."""
        detail = f"{region}: {error}" if region else str(error)
        scope = Scope(regions=(region,) if region else ())
        self.failure_gaps.add(
            (error.kind, error.missing_action, region),
            Gap(GapKind.SOURCE_FAILED, scope, detail),
        )

    def _validated(self, part: QueuedPart, validator: DigestValidator) -> Iterator[Item]:
        """Yields the items of a file, without the calls of one that fails validation."""
        key = part.file.stored.key
        expected_hash = validator.expected(key)
        result = self.files.result(part)
        if part.failures:
            return
        if expected_hash and expected_hash == result.sha256:
            yield from self.files.replay(part, result)
            return
        self.statistics.files += 1
        if expected_hash is None and validator.is_awaited(key):
            if result.first_call:
                objection = "its calls count once its digest file exists"
                validator.reject(key, objection, GapKind.EVENTS_LATE)
            return
        self.statistics.damaged_files += 1
        objection = "it differs from its digest file"
        if expected_hash is None:
            objection = "no digest file confirms it"
        validator.reject(key, objection)


def failed_source_gap(named: str, error: AwsError) -> Gap:
    """The gap of a source that could not be read at all."""
    return Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: {error}")
