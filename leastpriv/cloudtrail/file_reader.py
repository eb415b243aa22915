"""Reads one log file into calls, gaps and statistics, whatever its storage and format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.caller import caller_arn
from leastpriv.cloudtrail.record import NoCall, SkipReason, event_time, is_login, parse_record
from leastpriv.cloudtrail.record_blocks import (
    MAX_DECOMPRESSED,
    DamagedFileError,
    RecordBlocks,
    decode_block_as_json,
    open_pieces,
)
from leastpriv.cloudtrail.record_formats import (
    aggregated_calls,
    is_aggregated,
    parse_values,
    unwrap,
)
from leastpriv.cloudtrail.record_reader import MOST_KEPT, RecordReader
from leastpriv.cloudtrail.statistics import ReadStatistics, add_name, count_coverage
from leastpriv.models import Call, Gap, GapKind, Scope

_REMEMBERED = 75_000
"""Number of ids; a few more would double the size of the set."""


class ReadOptions(Struct, frozen=True):
    """How log files are read."""

    window: Window
    principals: Principals
    survey: bool = True
    """Whether to count the coverage of all records; False: only the targets' calls count."""
    max_decompressed: int = MAX_DECOMPRESSED
    hashes: bool = False
    """Whether the content of each file is hashed."""
    is_apart: bool = False
    """Whether each file counts without the others: the cache stores it, or a digest decides."""
    most_kept: int = MOST_KEPT
    """Bytes of memory of the calls of which repeated ones are made."""


class S3TrailOptions(Struct, frozen=True):
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
    """Only files that a digest file validates count; digests are due until this time. None: no
    validation.
    """
    now: datetime | None = None
    """None for a trail of the past, which receives no further events."""
    waited: bool = False
    """The run waited for event history, which has all events except data events."""
    max_decompressed: int = MAX_DECOMPRESSED


class CountedCalls(Struct, frozen=True):
    """Calls that were counted where their files were read."""

    calls: int
    collected: object
    """What a collector adds (`evidence/collected_calls.py`)."""


class EventDeduplicator:
    """Detects duplicate events by id; remembers at least the last `capacity` ids, at most twice as
    many.

    Files are read in order of time, so copies (a second trail, a repeated delivery) are usually
    close: a copy after 150,000 other calls of the targets is counted again. The set holds Python's
    64-bit hashes of the ids, which take a third of the memory; they are salted, so equal hashes
    cannot be crafted, and among 150,000 ids two are equal once in a billion runs.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def is_known(self, event_id: str) -> bool:
        """Whether the id occurred before."""
        event_hash = hash(event_id)
        return event_hash in self._recent or event_hash in self._older

    def add(self, event_ids: Iterable[str]) -> None:
        """Adds ids that occurred."""
        for event_id in event_ids:
            self.is_duplicate(event_id)

    def is_duplicate(self, event_id: str) -> bool:
        """Whether the id occurred before; a record without an id is never a duplicate."""
        if not event_id:
            return False
        event_hash = hash(event_id)
        if event_hash in self._recent or event_hash in self._older:
            return True
        self._recent.add(event_hash)
        if len(self._recent) >= self._capacity:
            self._recent, self._older = set(), self._recent
        return False


class PartDeduplicator(EventDeduplicator):
    """Detects the copies within some files that are read together, and those of earlier events."""

    def __init__(self, earlier: EventDeduplicator) -> None:
        """`earlier`: the events of earlier files; none is added."""
        super().__init__()
        self.ids: dict[str, None] = {}
        """The ids of the new events, in order."""
        self._earlier = earlier

    def is_duplicate(self, event_id: str) -> bool:
        """Whether the id occurred before; a record without an id is never a duplicate."""
        if not event_id:
            return False
        if event_id in self.ids or self._earlier.is_known(event_id):
            return True
        self.ids[event_id] = None
        return False


def is_new(call: Call, statistics: ReadStatistics, seen: EventDeduplicator) -> bool:
    """Whether a call is no copy of an earlier one; counts the call or the copy."""
    statistics.note_call(call.time)
    if seen.is_duplicate(call.event_id):
        statistics.duplicates += 1
        return False
    statistics.calls += not is_login(call)
    return True


class FileReader:
    """Reads files for one set of targets. For one thread: the files share the caches of its record
    reader.
    """

    def __init__(self, options: ReadOptions) -> None:
        """Reads nothing yet."""
        self.options = options
        self.records = RecordReader(
            options.window,
            options.principals,
            survey=options.survey,
            most_kept=options.most_kept,
        )

    def read(
        self,
        name: str,
        region: str,
        open_file: Callable[[], BinaryIO],
        statistics: ReadStatistics,
        seen: EventDeduplicator,
    ) -> Iterator[Call | Gap]:
        """Yields calls in the window without duplicates, and gaps for unreadable parts; a damaged
        file is one gap.

        The caller adds the coverage of the records to the statistics: `records.survey`.

        Args:
            name: names the file in gaps.
            region: the region in the file's path, else empty.
            open_file: opens the file; an `OSError` is a gap.
            statistics: updated while reading.
            seen: the events before.
        """
        return LogFile(self, name, region, statistics, seen).read(open_file)


class LogFile:
    """One file, whose damaged records are one gap per scope."""

    def __init__(
        self,
        reader: FileReader,
        name: str,
        region: str,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
    ) -> None:
        self._reader, self._options = reader, reader.options
        self._name, self._scope = name, Scope(regions=(region,) if region else ())
        self._statistics, self._seen = statistics, seen
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = False
        self._held_values = False
        self.sha256 = ""
        """SHA-256 of the content, in hexadecimal; empty where it is not requested, or the file is
        damaged or not read yet.
        """

    def read(self, open_file: Callable[[], BinaryIO]) -> Iterator[Call | Gap]:
        """Yields calls and gaps, as `FileReader.read`."""
        self._statistics.files += 1
        for region in self._scope.regions:
            add_name(self._statistics.regions, region)
        lost = ""
        try:
            with open_file() as stream:
                yield from self._calls(stream)
        except OSError as error:
            lost = f"it cannot be opened: {error.strerror or error}"
        except DamagedFileError as error:
            lost = str(error)
        if lost:
            self._statistics.damaged_files += 1
            yield Gap(GapKind.UNREADABLE_FILE, self._scope, f"{self._name}: {lost}")
        if self._is_trail or lost:
            yield from self._damaged.values()
        else:
            self._statistics.foreign_files += self._held_values

    def _calls(self, opened: BinaryIO) -> Iterator[Call | Gap]:
        compressed, pieces = open_pieces(opened, self._options.max_decompressed)
        if self._options.hashes:
            pieces = self._hashed(pieces)
        # Only a checksum proves that records need no check for damage.
        blocks = RecordBlocks(pieces, self._reader.records.sought if compressed else None)
        undecoded = None
        for block in blocks:
            if (
                calls := self._reader.records.read(block, self._statistics, checked=compressed)
            ) is not None:
                self._held_values = self._is_trail = True
                yield from self._new(calls)
            elif (records := decode_block_as_json(block)) is not None:
                for record in records:
                    yield from self._value(record)
            else:
                undecoded = block
                break
        if blocks.passed_over:
            self._held_values = self._is_trail = True
        if undecoded is not None or not blocks.ended:
            for value in parse_values(blocks.rest(undecoded), depth=blocks.depth):
                yield from self._value(value)

    def _hashed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        import hashlib

        content = hashlib.sha256()
        for piece in pieces:
            content.update(piece)
            yield piece
        self.sha256 = content.hexdigest()

    def _value(self, value: object) -> Iterator[Call]:
        for record in unwrap(value):
            yield from self._record(record)

    def _record(self, record: object) -> Iterator[Call]:
        self._held_values = True
        principals, statistics = self._options.principals, self._statistics
        if isinstance(record, Mapping) and is_aggregated(record):
            self._is_trail = True
            calls = [
                call
                for call in aggregated_calls(record, principals)
                if self._options.window.contains(call.time)
            ]
            statistics.skipped[SkipReason.EVENT_TYPE.value] += not calls
            yield from (call for call in calls if not self._seen.is_duplicate(call.event_id))
            return
        parsed = parse_record(record, principals.wants, principals.include)
        if parsed is SkipReason.NOT_A_RECORD:
            statistics.skipped[parsed.value] += 1
            return
        if isinstance(record, Mapping):
            self._is_trail = True
            # A record without a time may be in the window.
            time = event_time(record)
            if time and not self._options.window.contains(time):
                statistics.outside_window += 1
                return
            count_coverage(statistics, record, time, principals)
        statistics.records += 1
        if isinstance(parsed, NoCall):
            statistics.note_no_call(parsed)
        elif isinstance(parsed, SkipReason):
            statistics.skipped[parsed.value] += 1
            if parsed is SkipReason.NOT_WANTED and isinstance(record, Mapping):
                statistics.note_caller(caller_arn(record))
        else:
            yield from self._new((parsed,))

    def _new(self, found: Sequence[Call | Gap]) -> Sequence[Call]:
        """Returns the calls without duplicates; gaps wait for the end of the file."""
        calls = [call for call in found if type(call) is Call]
        if len(calls) < len(found):
            for parsed in found:
                if isinstance(parsed, Gap):
                    self._fold(parsed)
        if not calls:
            return calls
        # As `is_new`, for all calls of a block at once.
        self._statistics.note_call(max([call.time for call in calls]))
        new = [call for call in calls if not self._seen.is_duplicate(call.event_id)]
        self._statistics.duplicates += len(calls) - len(new)
        self._statistics.calls += len(new) - sum([is_login(call) for call in new])
        return new

    def _fold(self, gap: Gap) -> None:
        scope = gap.scope if gap.scope.regions else replace(gap.scope, regions=self._scope.regions)
        earlier_damage = self._damaged.get(scope)
        detail = earlier_damage.detail if earlier_damage else f"{self._name}: {gap.detail}"
        self._damaged[scope] = Gap(
            gap.kind, scope, detail, earlier_damage.count + 1 if earlier_damage else 1
        )
