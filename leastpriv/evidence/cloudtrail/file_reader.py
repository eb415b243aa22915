"""Reads one log file into calls, gaps and statistics, whatever its storage and format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.aggregated_events import aggregated_calls, is_aggregated
from leastpriv.evidence.cloudtrail.caller import caller_arn
from leastpriv.evidence.cloudtrail.record import SkipReason, event_time, is_login, parse_record
from leastpriv.evidence.cloudtrail.record_blocks import (
    MAX_DECOMPRESSED,
    DecompressedFile,
    RecordBlocks,
    decode_block_as_json,
)
from leastpriv.evidence.cloudtrail.record_reader import RecordReader
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics, add_name, count_coverage
from leastpriv.models import Call, Gap, GapKind, Scope

if TYPE_CHECKING:
    from leastpriv.evidence.cloudtrail.record_stream import Damage

# Each format occurs in published data sets, or in the output of the named tool.
_LISTS = ("Records", "Events", "logEvents", "events", "results", "hits")
"""A trail's file; lookup-events; CloudWatch Logs: subscription, filter-log-events, Logs Insights; Elasticsearch."""
_OBJECTS = ("detail", "_source", "_raw", "hits", "cloudtrail")
"""EventBridge; Elasticsearch; Splunk."""
_TEXTS = ("CloudTrailEvent", "message", "@message", "_raw")
"""lookup-events; CloudWatch Logs and Logstash; Logs Insights; Splunk."""
_LOGGER_FIELDS = frozenset({"level", "log.level", "levelname", "severity", "logger", "logger_name"})
"""Fields by which programs' loggers mark a line: its message is no record."""
_DEPTH = 6


def unwrap(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """Yields the records in a value of a file; an unknown value is passed on unchanged.

    A text is one whole record or none: programs log texts that contain records, and such a text is no call.
    """
    if isinstance(value, str):
        yield _record_in_text(value)
        return
    if isinstance(value, list) and value and all(isinstance(each, Mapping) and "field" in each for each in value):
        # A row of Logs Insights: `[{"field": "@message", "value": "{…}"}]`.
        value = {str(each["field"]): each.get("value") for each in value}
    if depth == 0 or not isinstance(value, Mapping) or "eventName" in value:
        yield value
        return
    inner = _inner(value)
    if inner is None:
        yield value
        return
    for item in inner if isinstance(inner, list) else [inner]:
        yield from unwrap(item, depth - 1)


def _inner(value: Mapping[str, object]) -> object | None:
    for key in _LISTS:
        found = value.get(key)
        if isinstance(found, list):
            return found
    for key in _OBJECTS:
        found = value.get(key)
        if isinstance(found, Mapping):
            return found
    if not _LOGGER_FIELDS.isdisjoint(value):
        return None
    return next((found for key in _TEXTS if isinstance(found := value.get(key), str)), None)


_CLAIMS_RECORD = re.compile(r'\s*\{\s*"eventVersion"')


def _record_in_text(text: str) -> object:
    """Decodes a text, such as the message of a log event, that is exactly one record as CloudTrail writes it.

    Returns:
        the record; an empty object if the text is no record; the text if it is a damaged or incomplete one.
    """
    try:
        record = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text if _CLAIMS_RECORD.match(text) else {}
    if is_aggregated(record):
        return record
    if not isinstance(record, Mapping) or "eventName" not in record:
        return {}
    # S3 and DynamoDB notify programs of events with similar fields, from the source `aws:s3`.
    if not str(record.get("eventSource", ".amazonaws.com")).endswith(".amazonaws.com"):
        return {}
    # `parse_record` reports the other fields of a call if they are missing.
    return record if "userIdentity" not in record or {"eventVersion", "eventID"} <= record.keys() else text


_REMEMBERED = 75_000
"""Number of ids; a few more would double the size of the set."""


class EventDeduplicator:
    """Detects duplicate events by id; remembers at least the last `capacity` ids, at most twice as many.

    Files are read in order of time, so copies (a second trail, a repeated delivery) are usually close: a copy after
    150,000 other calls of the targets is counted again. The set holds Python's 64-bit hashes of the ids, which take a
    third of the memory; they are salted, so equal hashes cannot be crafted, and among 150,000 ids two are equal once in
    a billion runs.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def is_duplicate(self, event_id: str) -> bool:
        """Whether the id occurred before; a record without an id is never a duplicate."""
        if not event_id:
            return False
        seen = hash(event_id)
        if seen in self._recent or seen in self._older:
            return True
        self._recent.add(seen)
        if len(self._recent) >= self._capacity:
            self._recent, self._older = set(), self._recent
        return False


class FileReader:
    """Reads one file into the shared statistics, and merges its damaged records into one gap per scope."""

    def __init__(
        self,
        name: str,
        region: str,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
        rows: RecordReader,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`name` is for gaps, `region` from the path, else empty; files share `rows`, whose owner adds its counts."""
        self._name = name
        self._region = region
        self._statistics = statistics
        self._seen = seen
        self._rows = rows
        self._max_decompressed = max_decompressed
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = False
        self._is_damaged = False
        self._held_values = False

    def read(self, open_file: Callable[[], BinaryIO], window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Yields calls in the window without duplicates, and gaps for unreadable parts; file errors are gaps."""
        self._statistics.files += 1
        add_name(self._statistics.regions, self._region)
        try:
            with open_file() as opened:
                yield from self._calls(opened, window, principals)
        except OSError as error:
            yield self._lost(f"it cannot be opened: {error.strerror or error}")
        # Damage in a file that is not CloudTrail's, such as a package.json, hides no call.
        if self._is_trail or self._is_damaged:
            yield from self._damaged.values()
        else:
            self._statistics.foreign_files += self._held_values

    def _calls(self, opened: BinaryIO, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        unfolded = DecompressedFile(opened, self._max_decompressed)
        # Only a checksum proves that records need no check for damage.
        sought = self._rows.sought
        blocks = RecordBlocks(unfolded, lambda part: sought is None or not unfolded.compressed or bool(sought(part)))
        undecoded = None
        for block in blocks:
            if (found := self._rows.read(block, self._statistics, checked=unfolded.compressed)) is not None:
                self._held_values = self._is_trail = True
                yield from self._new(found)
            elif (records := decode_block_as_json(block)) is not None:
                for record in records:
                    yield from self._value(record, window, principals)
            else:
                undecoded = block
                break
        if blocks.passed_over:
            self._held_values = self._is_trail = True
        if undecoded is not None or not blocks.ended:
            from leastpriv.evidence.cloudtrail.record_stream import Damage, parse_values

            for value in parse_values(blocks.rest(undecoded), depth=blocks.depth):
                if isinstance(value, Damage):
                    yield from self._damage(value)
                else:
                    yield from self._value(value, window, principals)

    def _value(self, value: object, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        for record in unwrap(value):
            yield from self._record(record, window, principals)

    def _damage(self, value: Damage) -> Iterator[Gap]:
        self._is_damaged = True
        if value.rest_lost:
            yield self._lost(value.reason)
        else:
            self._fold(self._gap(GapKind.UNREADABLE_RECORD, value.reason))

    def _record(self, record: object, window: Window, principals: Principals) -> Iterator[Call]:
        self._held_values = True
        if isinstance(record, Mapping) and is_aggregated(record):
            self._is_trail = True
            calls = [call for call in aggregated_calls(record, principals) if window.contains(call.time)]
            self._statistics.skipped[SkipReason.EVENT_TYPE.value] += not calls
            yield from (call for call in calls if not self._seen.is_duplicate(call.event_id))
            return
        found = parse_record(record, principals.wants, principals.include)
        if found is SkipReason.NOT_A_RECORD:
            self._statistics.skipped[found.value] += 1
            return
        if not self._is_in_window(record, window, principals):
            return
        self._statistics.records += 1
        if isinstance(found, SkipReason):
            self._statistics.skipped[found.value] += 1
            if found is SkipReason.NOT_WANTED and isinstance(record, Mapping):
                self._statistics.note_caller(caller_arn(record))
        else:
            yield from self._new((found,))

    def _new(self, found: Sequence[Call | Gap]) -> Sequence[Call]:
        """Returns the calls without duplicates; gaps wait for the end of the file."""
        calls = [item for item in found if type(item) is Call]
        if len(calls) < len(found):
            for item in found:
                if isinstance(item, Gap):
                    self._fold(item)
        if not calls:
            return calls
        self._statistics.note_call(max([call.time for call in calls]))
        is_copy = self._seen.is_duplicate
        new = [call for call in calls if not is_copy(call.event_id)]
        self._statistics.duplicates += len(calls) - len(new)
        self._statistics.calls += sum(not is_login(call) for call in new)
        return new

    def _is_in_window(self, record: object, window: Window, principals: Principals) -> bool:
        """Counts the coverage of any record; a record without a time may be in the window."""
        if not isinstance(record, Mapping):
            return True
        self._is_trail = True
        time = event_time(record)
        if time and not window.contains(time):
            self._statistics.outside_window += 1
            return False
        count_coverage(self._statistics, record, time, principals)
        return True

    def _fold(self, gap: Gap) -> None:
        scope = gap.scope if gap.scope.regions else replace(gap.scope, regions=self._scope().regions)
        known = self._damaged.get(scope)
        count = known.count + 1 if known else 1
        detail = known.detail if known else f"{self._name}: {gap.detail}"
        self._damaged[scope] = Gap(gap.kind, scope, detail, count)

    def _lost(self, reason: str) -> Gap:
        self._statistics.damaged_files += 1
        return self._gap(GapKind.UNREADABLE_FILE, f"{self._name}: {reason}")

    def _gap(self, kind: GapKind, detail: str) -> Gap:
        return Gap(kind, self._scope(), detail)

    def _scope(self) -> Scope:
        return Scope(regions=(self._region,) if self._region else ())
