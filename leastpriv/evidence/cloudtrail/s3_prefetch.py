"""Fetches a bucket's objects ahead of their readers, oldest first, in bounded memory.

For few targets most of the work is decompression and search, for which ISA-L does not hold Python's lock: threads read
the next objects, each separately, and the results are returned in order.
"""

from __future__ import annotations

import io
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, cast

from leastpriv.errors import AwsError, AwsErrorKind
from leastpriv.evidence.cloudtrail.cache import FileResult, FileResults, ObjectCache
from leastpriv.evidence.cloudtrail.digest_validation import DigestValidator
from leastpriv.evidence.cloudtrail.digests import HashedStream
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator
from leastpriv.evidence.cloudtrail.file_store import DayRange, LogPrefix, StoredFile, region_of_path
from leastpriv.evidence.cloudtrail.prefetch import DaemonThreadPool, ReadOptions, ThreadRecordReaders
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket, BucketListing
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

_AHEAD = 128
"""Objects fetched and not yet read: the requests in flight, and as many again."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Most bytes of these objects; a larger object is read as a stream."""
_READERS = 2
"""More are no faster, because Python's lock limits the rest of the work (measured 2026-11)."""
_READ_AHEAD = 8
"""Objects read ahead, whose calls are in memory."""
_MOST_FAILURES = {AwsErrorKind.DENIED: 500, AwsErrorKind.OTHER: 100_000}
"""Failed objects in a row before the rest is skipped; other errors cost many requests each. Denials may end where
another KMS key begins, and archived objects (`OTHER`) where the archive does."""
_MOST_OTHER_FAILURES = 20
_SAY_EVERY = 500
"""Objects between progress messages."""
_FINAL_ERRORS = (AwsErrorKind.EXPIRED, AwsErrorKind.INVALID, AwsErrorKind.NO_CREDENTIALS)


@dataclass(slots=True)
class _QueuedObject:
    """An object in the queue."""

    stored: StoredFile
    size: int
    """Bytes of it in memory."""
    fetched: Future[bytes] | None
    """Its content; None: too large, or not needed."""
    kept: FileResult | None
    """An earlier run's result."""
    apart: Future[FileResult] | None = None
    """The result from a thread."""


class BucketPrefetcher:
    """One pass over the objects below some prefixes."""

    def __init__(
        self,
        bucket: Bucket,
        found: Sequence[LogPrefix],
        task: ReadOptions,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
        cache: ObjectCache | None = None,
        validator: DigestValidator | None = None,
    ) -> None:
        """`statistics` are updated while reading; `cache` and `validator` are closed at the end."""
        self.any_object = False
        self.kept = 0
        """Number of objects from the cache."""
        self._bucket, self._task, self._own = bucket, task, ThreadRecordReaders(task)
        self._statistics, self._seen, self._cache = statistics, seen, cache
        self._readings = FileResults(cache, task.window, statistics, seen)
        self._fetchers = DaemonThreadPool(bucket.at_once)
        self._readers = DaemonThreadPool(_READERS) if task.targets_only else None
        self._lost: dict[tuple[AwsErrorKind, str, str], Gap] = {}
        self._failures = 0
        self._validator = validator
        self._unlisted: set[str] = set()
        self._listing = BucketListing(bucket, found, DayRange.of(task.window), self._fetchers, self._unlisted_branch)

    def close(self) -> None:
        """Cancels pending requests."""
        self._fetchers.close()
        if self._readers:
            self._readers.close()
        self._readings.close()
        if self._validator:
            self._validator.close()

    def items(self) -> Iterator[Call | Gap]:
        """Yields calls in the order of the files' times without duplicates, and gaps for unread objects."""
        broke_off = False
        if self._validator:
            self._validator.open()
        for number, ahead in enumerate(self._fetched(), start=1):
            if number % _SAY_EVERY == 0:
                _log.info(f"… {number:,} files of s3://{self._bucket.name} so far")
            try:
                yield from self._object(ahead)
                self._failures = 0
            except AwsError as error:
                self._note_lost(region_of_path(ahead.stored.key), error)
                if error.kind in _FINAL_ERRORS or self._failures >= _MOST_FAILURES.get(
                    error.kind, _MOST_OTHER_FAILURES
                ):
                    yield Gap(GapKind.SOURCE_FAILED, Scope(), f"s3://{self._bucket.name}: the rest was not tried")
                    broke_off = True
                    break
        yield from self._lost.values()
        if self._validator:
            yield from self._validator.gaps(None if broke_off else self._unlisted)

    @property
    def gave_up(self) -> bool:
        """Whether some prefix or object could not be listed or read."""
        return bool(self._lost)

    def _object(self, ahead: _QueuedObject) -> Iterator[Call | Gap]:
        if self._validator:
            yield from self._validated(ahead, self._validator)
        elif self._cache or ahead.apart:
            yield from self._readings.replay(self._reading(ahead))
        else:
            yield from self._read(ahead.stored, self._opened(ahead), self._statistics, self._seen)

    def _validated(self, ahead: _QueuedObject, validator: DigestValidator) -> Iterator[Call | Gap]:
        """Like the path with a cache, but the calls of a file that fails validation are left out."""
        key = ahead.stored.key
        expected = validator.expected(key)
        reading = self._reading(ahead)
        objection = validator.objection(expected, reading.sha256)
        if not objection:
            yield from self._readings.replay(reading)
            return
        self._statistics.files += 1
        awaited = expected is None and validator.is_awaited(key)
        if not awaited:
            self._statistics.damaged_files += 1
            validator.reject(key, objection)
        elif any(isinstance(item, Call) for item in reading.items):
            validator.defer(key)

    def _reading(self, ahead: _QueuedObject) -> FileResult:
        """Returns the result of an object, from the cache or by reading it."""
        if ahead.kept:
            self.kept += 1
            return ahead.kept
        reading = ahead.apart.result() if ahead.apart else self._read_apart(ahead)
        self._readings.keep(ahead.stored, reading)
        return reading

    def _read_apart(self, ahead: _QueuedObject) -> FileResult:
        """Reads one object; safe to run in any thread."""
        statistics, opened = ReadStatistics(), self._opened(ahead)
        hashed = HashedStream(opened, self._task.max_decompressed) if self._validator else None
        items = tuple(self._read(ahead.stored, hashed or opened, statistics, EventDeduplicator()))
        return FileResult(items, statistics, hashed.hexdigest() if hashed else "")

    def _opened(self, ahead: _QueuedObject) -> io.RawIOBase | io.BytesIO:
        return io.BytesIO(ahead.fetched.result()) if ahead.fetched else self._bucket.open(ahead.stored)

    def _read(
        self, stored: StoredFile, opened: io.IOBase, statistics: ReadStatistics, seen: EventDeduplicator
    ) -> Iterator[Call | Gap]:
        name, rows = f"s3://{self._bucket.name}/{stored.key}", self._own.rows
        reader = self._task.reader(name, region_of_path(stored.key), rows, statistics, seen)
        yield from reader(lambda: cast(BinaryIO, opened))
        rows.survey(statistics)

    def _kept(self, stored: StoredFile) -> FileResult | None:
        kept = self._readings.known(stored)
        return None if kept and self._validator and not kept.sha256 else kept

    def _note_lost(self, region: str, error: AwsError) -> None:
        """Counts an unread object; the gap of a region and reason names the first."""
        self._failures += 1
        self._statistics.files += 1
        self._statistics.damaged_files += 1
        self._fold(region, error)

    def _fold(self, region: str, error: AwsError) -> None:
        key = (error.kind, error.missing_action, region)
        known = self._lost.get(key)
        scope = Scope(regions=(region,) if region else ())
        detail = known.detail if known else f"{region}: {error}" if region else str(error)
        self._lost[key] = Gap(GapKind.SOURCE_FAILED, scope, detail, known.count + 1 if known else 1)

    def _fetched(self) -> Iterator[_QueuedObject]:
        """Yields objects in order, some of them fetched, or read where that is faster, ahead."""
        queue: deque[_QueuedObject] = deque()
        held = 0
        for stored in self._listing:
            self.any_object = True
            kept = self._kept(stored)
            size = 0 if kept or stored.size > _AHEAD_BYTES else stored.size
            while queue and (len(queue) >= _AHEAD or held + size > _AHEAD_BYTES):
                held -= queue[0].size
                yield queue.popleft()
                self._read_ahead(queue)
            fetched = self._fetchers.submit(self._bucket.fetch, stored) if size else None
            queue.append(_QueuedObject(stored, size, fetched, kept))
            if len(queue) <= _READ_AHEAD:
                self._read_ahead(queue)
            held += size
        while queue:
            yield queue.popleft()
            self._read_ahead(queue)

    def _read_ahead(self, queue: Iterable[_QueuedObject]) -> None:
        if self._readers:
            for ahead in islice(queue, _READ_AHEAD):
                if ahead.fetched and not ahead.apart:
                    ahead.apart = self._readers.submit(self._read_apart, ahead)

    def _unlisted_branch(self, branch: LogPrefix, error: AwsError) -> None:
        self._unlisted.add(branch.region)
        self._fold(branch.region, error)
