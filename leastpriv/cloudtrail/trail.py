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
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code, required_member
from leastpriv.aws.session import Aws, pages
from leastpriv.cloudtrail.digest_validation import DigestValidator
from leastpriv.cloudtrail.file_reader import (
    EventDeduplicator,
    FileReader,
    ReadOptions,
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
from leastpriv.cloudtrail.prefetch import FailedFile, Prefetcher, QueuedPart, open_cache
from leastpriv.cloudtrail.s3_bucket import Bucket
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.cloudtrail.trail_config import (
    Trail,
    described_trails,
    find_trail,
    location_gaps,
    settings_gaps,
    split_location,
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
        self._clients, self._named, self._options = clients, named, options

    def __str__(self) -> str:
        """Name of the source in messages."""
        return self._named


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
        try:
            described = described_trails(self._clients.client("cloudtrail", self._region))
            trails = tuple(trail for trail in described if trail.log_group == self._name)
        except AwsError:
            # Reported as settings that are not known.
            trails = None
        settings = yield from settings_gaps(self._clients, self._named, ("", ()), trails, window)
        self.statistics.every_region, self.statistics.selected = settings
        seen_events = self._options.seen or EventDeduplicator()
        reader = FileReader(
            ReadOptions(window, principals, self._options.survey, self._options.max_decompressed)
        )
        events = 0
        try:
            for number, messages in enumerate(self._pages(window), start=1):
                self.statistics.requests += 1
                events += len(messages)
                if number % _TELL_EVERY == 0:
                    _log.info(f"… {events:,} events of {self._named}")
                if messages:
                    # As a list of texts: each is one whole record or none.
                    text = json.dumps(messages).encode()
                    yield from reader.read(
                        self._named, "", partial(BytesIO, text), self.statistics, seen_events
                    )
                    self.statistics.files -= 1
        except AwsError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise InputError(
                    f"trails: there is no log group {self._name!r}: check name and region."
                ) from error
            yield failed_source_gap(self._named, error)
            return
        finally:
            reader.records.survey(self.statistics)
        if events and not (self.statistics.records or self.statistics.outside_window):
            raise InputError(
                f"trails: the log group {self._name!r} holds no CloudTrail record: name another"
                " one."
            )
        if self._options.now:
            scope = Scope(data_events=self._options.waited)
            yield from late_events_gap(
                self.statistics.newest, self._options.now, window, WAIT_ADVICE, scope
            )

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
        bucket = Bucket(name, self._clients.client("s3"), self._clients.fast_object_client(name))
        try:
            return namesakes_in_bucket(bucket, prefix, names, accounts, now)
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
        # The trails that deliver there are not known yet where the location is named.
        location, trails = self._named, None
        try:
            if not location.startswith("s3://"):
                trail = find_trail(self._clients, self._named)
                location, trails = trail.location, (trail,)
        except AwsError as error:
            yield failed_source_gap(self._named, error)
            return
        reading = yield from self._opened(location, trails, window, principals, counting)
        if not reading:
            return
        self._location = location
        with closing(reading):
            yield from reading.items()
        if self._options.now:
            scope = Scope(data_events=self._options.waited)
            yield from late_events_gap(
                self.statistics.newest, self._options.now, window, WAIT_ADVICE, scope
            )
        if self._options.cache:
            _log.info(
                f"{location}: {reading.files.kept:,} of {self.statistics.files:,} files came from"
                " the cache"
            )
        if reading.validator:
            _log.info(f"{location}: validated against {reading.validator.digests:,} digest files")
        branches = reading.bucket.prefixes
        if branches and not reading.any_object and not reading.lost:
            if not any(branch.dated for branch in branches):
                raise InputError(
                    f"trails: {location!r} holds no CloudTrail file: name the place that holds"
                    " AWSLogs/."
                )
            yield Gap(
                GapKind.SOURCE_FAILED,
                Scope(),
                f"{location}: it holds no file of the days that are read",
            )

    def _opened(
        self,
        location: str,
        trails: tuple[Trail, ...] | None,
        window: Window,
        principals: Principals,
        counting: Counting,
    ) -> Generator[Gap, None, _BucketReading | None]:
        """Finds the log prefixes, and yields gaps for what their trails exclude; None: they cannot
        be listed.
        """
        options, accounts = self._options, principals.accounts
        name, prefix = split_location(location)
        bucket = Bucket(name, self._clients.client("s3"), self._clients.fast_object_client(name))
        try:
            bucket.prefixes = bucket.find_prefixes(prefix, accounts)
        except AwsError as error:
            if error_code(error) == "NoSuchBucket":
                sentence = (
                    f"trails: there is no bucket {name!r}: name a trail, or s3://BUCKET/PREFIX."
                )
                raise InputError(sentence) from error
            yield failed_source_gap(self._named, error)
            return None
        locations = {
            delivered
            for delivered in (
                delivery_location(log_prefix.prefix) for log_prefix in bucket.prefixes
            )
            if delivered
        }
        settings = yield from settings_gaps(
            self._clients, self._named, (name, locations), trails, window
        )
        self.statistics.every_region, self.statistics.selected = settings
        yield from location_gaps(self._named, prefix, window)
        if not bucket.prefixes:
            account_names = ", ".join(sorted(accounts or ()))
            yield Gap(
                GapKind.SOURCE_FAILED,
                Scope(),
                f"{location}: it has no folder of the account {account_names}",
            )
        _log.info(f"{location}: {len(bucket.prefixes)} folders of accounts and regions")
        cache_name = name if options.survey else f"{name}, calls alone"
        cache = open_cache(options.cache, cache_name, principals)
        validate_at, prefixes = options.validate_at, bucket.prefixes
        top = f"{prefix}/" if prefix else ""
        validator = (
            DigestValidator(
                clients=self._clients,
                bucket=bucket,
                prefix=top,
                branches=prefixes,
                window=window,
                now=validate_at,
            )
            if validate_at
            else None
        )
        read = ReadOptions(
            window,
            principals,
            options.survey,
            options.max_decompressed,
            hashes=validator is not None,
        )
        seen_events = options.seen or EventDeduplicator()
        files = Prefetcher(bucket, read, self.statistics, seen_events, counting, cache)
        return _BucketReading(bucket, read, files, self.statistics, validator)


class _BucketReading(Struct):
    """One pass over the objects of a bucket."""

    bucket: Bucket
    options: ReadOptions
    files: Prefetcher
    statistics: ReadStatistics
    validator: DigestValidator | None
    any_object: bool = False
    lost: dict[tuple[AwsErrorKind, str, str], Gap] = {}
    """The gaps of prefixes and objects that could not be listed or read."""
    _failures: int = 0

    def close(self) -> None:
        """Cancels pending requests."""
        self.files.close()
        if self.validator:
            self.validator.close()

    def items(self) -> Iterator[Item]:
        """Yields calls without duplicates, in the order of the files' times where they are not
        counted, and gaps for unread objects.
        """
        broke_off = False
        if self.validator:
            self.validator.open()
        listing = self.bucket.list(self.options.window)
        calls_said = 0
        for part in self.files.queued(listing):
            self.any_object = True
            failures: Sequence[FailedFile] = part.failures
            try:
                yield from (
                    self._validated(part, self.validator)
                    if self.validator
                    else self.files.items(part)
                )
                if len(failures) < len(part.files):
                    self._failures = 0
            except AwsError as error:
                failures = [FailedFile(part.file.stored, error)]
            if self.statistics.files >= calls_said + _SAY_EVERY:
                calls_said = self.statistics.files
                _log.info(f"… {calls_said:,} files of s3://{self.bucket.name} so far")
            ends = [self._ends_with(source_failure) for source_failure in failures]
            if any(ends):
                detail = f"s3://{self.bucket.name}: the rest was not tried"
                yield Gap(GapKind.SOURCE_FAILED, Scope(), detail)
                broke_off = True
                break
        self.files.finish()
        for branch, failure in self.bucket.unlisted.items():
            self._fold(branch.region, failure)
        yield from self.lost.values()
        if self.validator:
            regions = {branch.region for branch in self.bucket.unlisted}
            yield from self.validator.gaps(None if broke_off else regions)

    def _ends_with(self, failed: FailedFile) -> bool:
        """Counts a file that cannot be fetched; whether the rest is not tried."""
        self._failures += 1
        self.statistics.files += 1
        self.statistics.damaged_files += 1
        kind = failed.error.kind
        self._fold(region_of_path(failed.stored.key), failed.error)
        limit = _MOST_FAILURES.get(kind, _MOST_OTHER_FAILURES)
        return kind in _FINAL_ERRORS or self._failures >= limit

    def _validated(self, part: QueuedPart, validator: DigestValidator) -> Iterator[Item]:
        """Yields the items of a file, without the calls of one that fails validation."""
        key = part.file.stored.key
        expected = validator.expected(key)
        part_result = self.files.result(part)
        if part.failures:
            return
        if expected and expected == part_result.sha256:
            yield from self.files.replay(part, part_result)
            return
        self.statistics.files += 1
        if expected is not None or not validator.is_awaited(key):
            self.statistics.damaged_files += 1
            validator.reject(
                key,
                (
                    "no digest file confirms it"
                    if expected is None
                    else "it differs from its digest file"
                ),
            )
        elif part_result.first_call:
            validator.reject(
                key, "its calls count once its digest file exists", GapKind.EVENTS_LATE
            )

    def _fold(self, region: str, error: AwsError) -> None:
        """Counts a failure; the gap of a region and reason names the first."""
        key = (error.kind, error.missing_action, region)
        known_gap = self.lost.get(key)
        scope = Scope(regions=(region,) if region else ())
        if known_gap:
            self.lost[key] = replace(known_gap, count=known_gap.count + 1)
            return
        detail = f"{region}: {error}" if region else str(error)
        self.lost[key] = Gap(GapKind.SOURCE_FAILED, scope, detail, 1)


def failed_source_gap(named: str, error: AwsError) -> Gap:
    """The gap of a source that could not be read at all."""
    return Gap(GapKind.SOURCE_FAILED, Scope(), f"{named}: {error}")
