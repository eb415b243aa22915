"""A bucket's objects, fetched by some threads ahead of those that read them, oldest first, in bounded memory.

Where the calls of few are asked for, a file is mostly unfolded and looked through, of which ISA-L's share needs no lock
of Python's: the next files are then read by threads of their own, each by itself, and told in order.

Threads that ask ahead, and that nobody waits for at the end: an interrupted run ends at once.

`ThreadPoolExecutor` would not do: its threads are joined when Python exits, whatever its `shutdown` was told, and a
request that gets no answer takes a minute.
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
from leastpriv.evidence.cloudtrail.cache import ObjectCache, Reading, Readings
from leastpriv.evidence.cloudtrail.digest_validation import Vouching
from leastpriv.evidence.cloudtrail.digests import HashedStream
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.file_store import Branch, Days, region_in
from leastpriv.evidence.cloudtrail.prefetch import Fetchers, OwnRows, Task
from leastpriv.evidence.cloudtrail.s3_bucket import Bucket, Listing, Stored
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope

_log = logging.getLogger(__name__)

_AHEAD = 128
"""Objects fetched and not read yet: those under way, and as many again."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Bytes of theirs; an object larger than that is read as a stream by itself."""
_READERS = 2
"""More gain nothing, since what is not unfolding holds Python's lock (measured 2026-11)."""
_READ_AHEAD = 8
"""Objects read ahead, whose calls are held."""
_PATIENCE = {AwsErrorKind.DENIED: 500, AwsErrorKind.OTHER: 100_000}
"""Failed objects in a row, with none read between them, before the rest is given up; those not named here cost many
requests each. Refusals may end where another key begins, and archived objects (`OTHER`) where the archive does."""
_PATIENCE_ELSE = 20
_SAY_EVERY = 500
"""Objects."""
_HOPELESS = (AwsErrorKind.EXPIRED, AwsErrorKind.INVALID, AwsErrorKind.NO_CREDENTIALS)


@dataclass(slots=True)
class _Ahead:
    """An object that is to be read soon."""

    stored: Stored
    size: int
    """Bytes of it that are held."""
    fetched: Future[bytes] | None
    """Its bytes; None: too large to be held, or not needed."""
    kept: Reading | None
    """What an earlier run read of it."""
    apart: Future[Reading] | None = None
    """What it gives, read by a thread of its own."""


class BucketReading:
    """One pass over the objects of some branches."""

    def __init__(
        self,
        bucket: Bucket,
        found: Sequence[Branch],
        task: Task,
        figures: ReadStatistics,
        seen: SeenEvents,
        cache: ObjectCache | None = None,
        vouching: Vouching | None = None,
    ) -> None:
        """`figures` grow while reading; `cache` and `vouching` are closed with it."""
        self.any_object = False
        self.kept = 0
        """Objects that were known from the cache."""
        self._bucket, self._task, self._own = bucket, task, OwnRows(task)
        self._figures, self._seen, self._cache = figures, seen, cache
        self._readings = Readings(cache, task.window, figures, seen)
        self._fetchers = Fetchers(bucket.at_once)
        self._readers = Fetchers(_READERS) if task.few else None
        self._lost: dict[tuple[AwsErrorKind, str, str], Gap] = {}
        self._failures = 0
        self._vouching = vouching
        self._unlisted: set[str] = set()
        self._listing = Listing(bucket, found, Days.of(task.window), self._fetchers, self._unlisted_branch)

    def close(self) -> None:
        """Drop what is under way; nobody waits for it."""
        self._fetchers.close()
        if self._readers:
            self._readers.close()
        self._readings.close()
        if self._vouching:
            self._vouching.close()

    def items(self) -> Iterator[Call | Gap]:
        """Calls in the order of the files' times, each once, and a gap for what could not be had."""
        broke_off = False
        if self._vouching:
            self._vouching.open()
        for number, ahead in enumerate(self._fetched(), start=1):
            if number % _SAY_EVERY == 0:
                _log.info(f"… {number:,} files of s3://{self._bucket.name} so far")
            try:
                yield from self._object(ahead)
                self._failures = 0
            except AwsError as error:
                self._note_lost(region_in(ahead.stored.key), error)
                if error.kind in _HOPELESS or self._failures >= _PATIENCE.get(error.kind, _PATIENCE_ELSE):
                    yield Gap(GapKind.SOURCE_FAILED, Scope(), f"s3://{self._bucket.name}: the rest was not tried")
                    broke_off = True
                    break
        yield from self._lost.values()
        if self._vouching:
            yield from self._vouching.gaps(None if broke_off else self._unlisted)

    @property
    def gave_up(self) -> bool:
        """Whether some of it could not be listed or read."""
        return bool(self._lost)

    def _object(self, ahead: _Ahead) -> Iterator[Call | Gap]:
        if self._vouching:
            yield from self._validated(ahead, self._vouching)
        elif self._cache or ahead.apart:
            yield from self._readings.again(self._reading(ahead))
        else:
            yield from self._read(ahead.stored, self._opened(ahead), self._figures, self._seen)

    def _validated(self, ahead: _Ahead, vouching: Vouching) -> Iterator[Call | Gap]:
        """As the cache's way, but for a file that is not as CloudTrail delivered it: its calls are left out."""
        key = ahead.stored.key
        expected = vouching.expected(key)
        reading = self._reading(ahead)
        objection = vouching.objection(expected, reading.sha256)
        if not objection:
            yield from self._readings.again(reading)
            return
        self._figures.files += 1
        awaited = expected is None and vouching.is_awaited(key)
        if not awaited:
            self._figures.damaged_files += 1
            vouching.refuse(key, objection)
        elif any(isinstance(item, Call) for item in reading.items):
            vouching.defer(key)

    def _reading(self, ahead: _Ahead) -> Reading:
        """What an object gives by itself, from the cache or read."""
        if ahead.kept:
            self.kept += 1
            return ahead.kept
        reading = ahead.apart.result() if ahead.apart else self._read_apart(ahead)
        self._readings.keep(ahead.stored, reading)
        return reading

    def _read_apart(self, ahead: _Ahead) -> Reading:
        """What an object gives by itself; for any thread."""
        figures, opened = ReadStatistics(), self._opened(ahead)
        hashed = HashedStream(opened, self._task.max_decompressed) if self._vouching else None
        items = tuple(self._read(ahead.stored, hashed or opened, figures, SeenEvents()))
        return Reading(items, figures, hashed.hexdigest() if hashed else "")

    def _opened(self, ahead: _Ahead) -> io.RawIOBase | io.BytesIO:
        return io.BytesIO(ahead.fetched.result()) if ahead.fetched else self._bucket.open(ahead.stored)

    def _read(
        self, stored: Stored, opened: io.IOBase, figures: ReadStatistics, seen: SeenEvents
    ) -> Iterator[Call | Gap]:
        name, rows = f"s3://{self._bucket.name}/{stored.key}", self._own.rows
        yield from self._task.read(name, region_in(stored.key), lambda: cast(BinaryIO, opened), rows, figures, seen)
        rows.survey(figures)

    def _kept(self, stored: Stored) -> Reading | None:
        kept = self._readings.known(stored)
        return None if kept and self._vouching and not kept.sha256 else kept

    def _note_lost(self, region: str, error: AwsError) -> None:
        """Count an object that could not be had; the first of a region and reason speaks for all."""
        self._failures += 1
        self._figures.files += 1
        self._figures.damaged_files += 1
        self._fold(region, error)

    def _fold(self, region: str, error: AwsError) -> None:
        key = (error.kind, error.missing_action, region)
        known = self._lost.get(key)
        scope = Scope(regions=(region,) if region else ())
        detail = known.detail if known else f"{region}: {error}" if region else str(error)
        self._lost[key] = Gap(GapKind.SOURCE_FAILED, scope, detail, known.count + 1 if known else 1)

    def _fetched(self) -> Iterator[_Ahead]:
        """Objects in order, each under way to be fetched, and where that helps to be read, since some before it."""
        queue: deque[_Ahead] = deque()
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
            queue.append(_Ahead(stored, size, fetched, kept))
            if len(queue) <= _READ_AHEAD:
                self._read_ahead(queue)
            held += size
        while queue:
            yield queue.popleft()
            self._read_ahead(queue)

    def _read_ahead(self, queue: Iterable[_Ahead]) -> None:
        if self._readers:
            for ahead in islice(queue, _READ_AHEAD):
                if ahead.fetched and not ahead.apart:
                    ahead.apart = self._readers.submit(self._read_apart, ahead)

    def _unlisted_branch(self, branch: Branch, error: AwsError) -> None:
        self._unlisted.add(branch.region)
        self._fold(branch.region, error)
