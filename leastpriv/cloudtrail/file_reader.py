"""Reads one log file into calls, gaps and statistics, whatever its storage and format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.cloudtrail.caller import caller_arn
from leastpriv.cloudtrail.record import NoCall, SkipReason, event_time, is_login, parse_record
from leastpriv.cloudtrail.record_blocks import (
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
from leastpriv.cloudtrail.record_reader import RecordReader
from leastpriv.cloudtrail.statistics import (
    CountedGaps,
    ReadStatistics,
    add_name,
    count_coverage,
)
from leastpriv.models import Call, Gap, GapKind, Scope

_REMEMBERED = 75_000
"""Number of ids; a few more would double the size of the set."""


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
    if not is_login(call):
        statistics.calls += 1
    return True


class LogFile:
    """One file, whose damaged records are one gap per scope."""

    def __init__(
        self,
        reader: RecordReader,
        name: str,
        region: str,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
    ) -> None:
        """Reads nothing yet.

        Args:
            reader: reads its blocks; `reader.survey` adds the coverage of its records to the
                statistics.
            name: names the file in gaps.
            region: the region in its path, else empty.
            statistics: updated while reading.
            seen: the events before.
        """
        self._reader = reader
        self._options = reader.options
        self._name = name
        self._scope = Scope(regions=(region,) if region else ())
        self._statistics = statistics
        self._seen = seen
        self._damage = CountedGaps()
        self._is_trail = False
        self._has_values = False
        self.sha256 = ""
        """SHA-256 of the content, in hexadecimal; empty where it is not requested, or the file is
        damaged or not read yet.
        """

    def read(self, open_file: Callable[[], BinaryIO]) -> Iterator[Call | Gap]:
        """Yields calls in the window without duplicates, and gaps for unreadable parts; a damaged
        file is one gap, also where opening it raises `OSError`.
        """
        self._statistics.files += 1
        for region in self._scope.regions:
            add_name(self._statistics.regions, region)
        fault = ""
        try:
            with open_file() as stream:
                yield from self._calls(stream)
        except OSError as error:
            fault = f"it cannot be opened: {error.strerror or error}"
        except DamagedFileError as error:
            fault = str(error)
        if fault:
            self._statistics.damaged_files += 1
            yield Gap(GapKind.UNREADABLE_FILE, self._scope, f"{self._name}: {fault}")
        if self._is_trail or fault:
            yield from self._damage.gaps()
        elif self._has_values:
            self._statistics.foreign_files += 1

    def _calls(self, file: BinaryIO) -> Iterator[Call]:
        # Only a checksum proves that records need no check for damage.
        is_checked, pieces = open_pieces(file)
        if self._options.hashes:
            pieces = self._hashed(pieces)
        blocks = RecordBlocks(pieces, self._reader.sought if is_checked else None)
        undecoded = None
        for block in blocks:
            calls_and_gaps = self._reader.read(block, self._statistics, checked=is_checked)
            if calls_and_gaps is not None:
                self._has_values = self._is_trail = True
                yield from self._new(calls_and_gaps)
                continue
            records = decode_block_as_json(block)
            if records is None:
                undecoded = block
                break
            for record in records:
                yield from self._value(record)
        if blocks.passed_over:
            self._has_values = self._is_trail = True
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
            self._has_values = True
            if isinstance(record, Mapping) and is_aggregated(record):
                yield from self._summarized_calls(record)
            else:
                yield from self._record(record)

    def _summarized_calls(self, summary: Mapping[str, object]) -> Sequence[Call]:
        """Returns the new calls of a summary of data events."""
        self._is_trail = True
        return [
            call
            for call in aggregated_calls(summary, self._options.principals)
            if self._options.window.contains(call.time)
            and not self._seen.is_duplicate(call.event_id)
        ]

    def _record(self, record: object) -> Sequence[Call]:
        """Counts a record, and returns its call if it is new."""
        principals = self._options.principals
        statistics = self._statistics
        parsed = parse_record(record, principals.wants, principals.include)
        if parsed is SkipReason.NOT_A_RECORD:
            return ()
        if isinstance(record, Mapping):
            self._is_trail = True
            # A record without a time may be in the window.
            time = event_time(record)
            if time and not self._options.window.contains(time):
                statistics.outside_window += 1
                return ()
            count_coverage(statistics, record, time, principals)
            if parsed is SkipReason.NOT_WANTED:
                statistics.note_caller(caller_arn(record))
        statistics.records += 1
        if isinstance(parsed, Call | Gap):
            return self._new((parsed,))
        if isinstance(parsed, NoCall):
            statistics.note_no_call(parsed)
        return ()

    def _new(self, calls_and_gaps: Sequence[Call | Gap]) -> Sequence[Call]:
        """Returns the calls without duplicates; gaps wait for the end of the file."""
        calls = [call for call in calls_and_gaps if type(call) is Call]
        if len(calls) < len(calls_and_gaps):
            for gap in calls_and_gaps:
                if isinstance(gap, Gap):
                    self._count_damage(gap)
        if not calls:
            return calls
        # As `is_new`, for all calls of a block at once.
        self._statistics.note_call(max([call.time for call in calls]))
        new_calls = [call for call in calls if not self._seen.is_duplicate(call.event_id)]
        self._statistics.duplicates += len(calls) - len(new_calls)
        self._statistics.calls += len(new_calls) - sum([is_login(call) for call in new_calls])
        return new_calls

    def _count_damage(self, gap: Gap) -> None:
        scope = gap.scope
        if not scope.regions:
            scope = replace(scope, regions=self._scope.regions)
        self._damage.add(scope, Gap(gap.kind, scope, f"{self._name}: {gap.detail}"))
