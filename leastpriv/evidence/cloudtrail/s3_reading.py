"""A bucket's objects, fetched by some threads ahead of the one that reads them, oldest first, in bounded memory."""

from __future__ import annotations

import heapq
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import BinaryIO, cast

from leastpriv.errors import AwsError, AwsTrouble
from leastpriv.evidence.cloudtrail.digest_reading import Vouching
from leastpriv.evidence.cloudtrail.digests import HashedStream
from leastpriv.evidence.cloudtrail.fetchers import Fetchers
from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.object_cache import ObjectCache, Reading
from leastpriv.evidence.cloudtrail.readings import Readings
from leastpriv.evidence.cloudtrail.rows import RowReader
from leastpriv.evidence.cloudtrail.s3_layout import Branch, Days, place_in_time
from leastpriv.evidence.cloudtrail.s3_objects import Bucket, Stored
from leastpriv.evidence.cloudtrail.trail_paths import region_in
from leastpriv.model import Call, Gap, GapKind, Scope

_THREADS = 32
"""S3 answers after some 30 ms: 32 at a time are what botocore can take in within that (measured 2026-11)."""
_AHEAD = 64
"""Objects fetched and not read yet."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Bytes of theirs; an object larger than that is read as a stream by itself."""
_NAMES = 20_000
"""Names of objects held at a time, over all accounts and regions."""
_PATIENCE = {AwsTrouble.DENIED: 500, AwsTrouble.OTHER: 100_000}
"""Failed objects in a row, with none read between them, before the rest is given up; those not named here cost many
requests each. Refusals may end where another key begins, and archived objects (`OTHER`) where the archive does."""
_PATIENCE_ELSE = 20
_SAY_EVERY = 500
"""Objects."""
_HOPELESS = (AwsTrouble.EXPIRED, AwsTrouble.INVALID, AwsTrouble.NO_CREDENTIALS)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """An object that is to be read soon."""

    stored: Stored
    size: int
    """Bytes of it that are held."""
    fetched: Future[bytes] | None
    """Its bytes; None: too large to be held, or not needed."""
    kept: Reading | None
    """What an earlier run read of it."""


class BucketReading:
    """One pass over the objects of some branches."""

    def __init__(
        self,
        bucket: Bucket,
        found: Sequence[Branch],
        rows: RowReader,
        figures: ReadStatistics,
        seen: SeenEvents,
        cache: ObjectCache | None = None,
        vouching: Vouching | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`figures` grow while reading; `cache` and `vouching` are closed with it."""
        self.any_object = False
        self.kept = 0
        """Objects that were known from the cache."""
        self._bucket, self._branches, self._days = bucket, found, Days.of(rows.window)
        self._rows = rows
        self._figures, self._seen, self._cache = figures, seen, cache
        self._readings = Readings(cache, rows.window, figures, seen)
        self._fetchers = Fetchers(_THREADS)
        self._page = max(50, min(1000, _NAMES // max(1, len(found))))
        self._lost: dict[tuple[AwsTrouble, str, str], Gap] = {}
        self._failures = 0
        self._vouching = vouching
        self._say = say
        self._unlisted: set[str] = set()

    def close(self) -> None:
        """Drop what is under way; nobody waits for it."""
        self._fetchers.close()
        self._readings.close()
        if self._vouching:
            self._vouching.close()

    def items(self, max_decompressed: int) -> Iterator[Call | Gap]:
        """Calls in the order of the files' times, each once, and a gap for what could not be had."""
        broke_off = False
        if self._vouching:
            self._vouching.open()
        for number, ahead in enumerate(self._fetched(), start=1):
            if number % _SAY_EVERY == 0:
                self._say(f"… {number:,} files of s3://{self._bucket.name} so far")
            try:
                yield from self._object(ahead, max_decompressed)
                self._failures = 0
            except AwsError as error:
                self._note_lost(region_in(ahead.stored.key), error)
                if error.trouble in _HOPELESS or self._failures >= _PATIENCE.get(error.trouble, _PATIENCE_ELSE):
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

    def _object(self, ahead: _Ahead, max_decompressed: int) -> Iterator[Call | Gap]:
        if self._vouching:
            yield from self._validated(ahead, self._vouching, max_decompressed)
        elif self._cache:
            yield from self._readings.again(self._apart(ahead, max_decompressed))
        else:
            opened = self._opened(ahead)
            yield from self._read(ahead.stored, opened, max_decompressed, self._figures, self._seen)

    def _validated(self, ahead: _Ahead, vouching: Vouching, max_decompressed: int) -> Iterator[Call | Gap]:
        """As the cache's way, but for a file that is not as CloudTrail delivered it: its calls are left out."""
        key = ahead.stored.key
        expected = vouching.expected(key)
        reading = self._apart(ahead, max_decompressed)
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

    def _apart(self, ahead: _Ahead, max_decompressed: int) -> Reading:
        """What an object gives, from the cache or read by itself."""
        if ahead.kept:
            self.kept += 1
            return ahead.kept
        figures, opened = ReadStatistics(), self._opened(ahead)
        hashed = HashedStream(opened, max_decompressed) if self._vouching else None
        items = tuple(self._read(ahead.stored, hashed or opened, max_decompressed, figures, SeenEvents()))
        return self._readings.keep(ahead.stored, items, figures, hashed.hexdigest() if hashed else "")

    def _opened(self, ahead: _Ahead) -> io.RawIOBase | io.BytesIO:
        return io.BytesIO(ahead.fetched.result()) if ahead.fetched else self._bucket.open(ahead.stored)

    def _read(
        self, stored: Stored, opened: io.IOBase, max_decompressed: int, figures: ReadStatistics, seen: SeenEvents
    ) -> Iterator[Call | Gap]:
        name = f"s3://{self._bucket.name}/{stored.key}"
        reader = FileReader(name, region_in(stored.key), figures, seen, self._rows, max_decompressed)
        yield from reader.read(lambda: cast(BinaryIO, opened), self._rows.window, self._rows.principals)
        self._rows.survey(figures)

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
        key = (error.trouble, error.missing, region)
        known = self._lost.get(key)
        scope = Scope(regions=(region,) if region else ())
        detail = known.detail if known else f"{region}: {error}" if region else str(error)
        self._lost[key] = Gap(GapKind.SOURCE_FAILED, scope, detail, known.count + 1 if known else 1)

    def _fetched(self) -> Iterator[_Ahead]:
        """Objects in order, each under way to be fetched since some before it."""
        queue: deque[_Ahead] = deque()
        held = 0
        for stored in self._listed():
            self.any_object = True
            kept = self._kept(stored)
            size = 0 if kept or stored.size > _AHEAD_BYTES else stored.size
            while queue and (len(queue) >= _AHEAD or held + size > _AHEAD_BYTES):
                held -= queue[0].size
                yield queue.popleft()
            fetched = self._fetchers.submit(self._bucket.fetch, stored) if size else None
            queue.append(_Ahead(stored, size, fetched, kept))
            held += size
        yield from queue

    def _listed(self) -> Iterator[Stored]:
        """Objects of all branches, oldest first; the first pages are asked for at once."""
        listings = [
            self._bucket.objects(each.prefix, self._days.start_after(each), self._page) for each in self._branches
        ]
        first = [self._fetchers.submit(next, listing, ()) for listing in listings]
        streams = [
            self._branch(branch, pages, listing)
            for branch, pages, listing in zip(self._branches, first, listings, strict=True)
        ]
        for _, stored in heapq.merge(*streams, key=lambda entry: entry[0]):
            yield stored

    def _branch(
        self, branch: Branch, first: Future[tuple[Stored, ...]], rest: Iterator[tuple[Stored, ...]]
    ) -> Iterator[tuple[tuple[str, str], Stored]]:
        try:
            page = first.result()
            while page:
                for stored in page:
                    if self._days.ends_before(branch, stored.key):
                        return
                    place = place_in_time(stored.key)
                    if place and not self._days.leave_out(stored.key):
                        yield place, stored
                page = next(rest, ())
        except AwsError as error:
            self._unlisted.add(branch.region)
            self._fold(branch.region, error)
