"""One file of CloudTrail records -> calls, gaps and figures of what the evidence covers, wherever the file lies.

The wrappings that tools put around CloudTrail records: EventBridge, lookup-events, Logstash … (pure).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.decompress import MAX_DECOMPRESSED, Unfolded
from leastpriv.evidence.cloudtrail.record import NotACall, event_time, examine
from leastpriv.evidence.cloudtrail.record_blocks import Blocks, records_of
from leastpriv.evidence.cloudtrail.record_reader import RowReader
from leastpriv.evidence.cloudtrail.record_stream import Damage, values_of
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics, cover, remember
from leastpriv.models import Call, Gap, GapKind, Scope

# Each seen in published data sets, or written by the tool named.
_LISTS = ("Records", "Events", "logEvents", "hits")
"""A trail's file; lookup-events; CloudWatch Logs subscription; Elasticsearch."""
_OBJECTS = ("detail", "_source", "_raw", "hits", "cloudtrail")
"""EventBridge; Elasticsearch; Splunk."""
_TEXTS = ("CloudTrailEvent", "message", "_raw")
"""lookup-events; CloudWatch Logs and Logstash; Splunk."""
_DEPTH = 6


def unwrap(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """Give the records inside a value of a file; a value that wraps nothing known is given as it is."""
    if isinstance(value, str):
        value = _parsed(value)
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
    for key in _TEXTS:
        found = value.get(key)
        if isinstance(found, str) and (key == "CloudTrailEvent" or found.lstrip().startswith("{")):
            return found
    return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text


__all__ = ["FileReader", "ReadStatistics", "SeenEvents", "cover"]

_REMEMBERED = 75_000
"""Ids; a few more would take a set of twice the size."""


class SeenEvents:
    """Remembers event ids, to drop copies; at least the last `capacity`, at most twice as many.

    Files are read in order of time, and copies (a second trail, a repeated delivery) are taken to lie near each
    other: a copy that comes after 150,000 other calls of the targets is counted again. Held are the ids' hashes, which
    take a third of their memory: Python's are of 64 bits and salted, so that nobody can make two ids alike, and by
    chance two of 150,000 are alike in one run of a billion.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def is_copy(self, event_id: str) -> bool:
        """Whether this id was here before; records without an id are never copies."""
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
    """Reads one file into the shared statistics; folds its damaged records into one gap per scope."""

    def __init__(
        self,
        name: str,
        region: str,
        figures: ReadStatistics,
        seen: SeenEvents,
        rows: RowReader,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`name` is what a reader of a gap is told; `region` the one that the file's place tells, else empty.

        `rows` goes from file to file; what it has surveyed is for its owner to add to the figures.
        """
        self._name = name
        self._region = region
        self._figures = figures
        self._seen = seen
        self._rows = rows
        self._max_decompressed = max_decompressed
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = False
        self._is_damaged = False
        self._held_values = False

    def read(self, open_file: Callable[[], BinaryIO], window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read calls in the window, each once, and a gap for what cannot be read. Raises nothing of the file system."""
        self._figures.files += 1
        remember(self._figures.regions, self._region)
        try:
            with open_file() as opened:
                yield from self._calls(opened, window, principals)
        except OSError as error:
            yield self._lost(f"it cannot be opened: {error.strerror or error}")
        # What is odd in a file that is no trail's, a package.json between the trails, hides no call.
        if self._is_trail or self._is_damaged:
            yield from self._damaged.values()
        else:
            self._figures.foreign_files += self._held_values

    def _calls(self, opened: BinaryIO, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        unfolded = Unfolded(opened, self._max_decompressed)
        # Only where a checksum tells of damage need nobody look for it.
        sought = self._rows.sought
        blocks = Blocks(unfolded, lambda part: sought is None or not unfolded.compressed or bool(sought(part)))
        undecoded = None
        for block in blocks:
            if (found := self._rows.read(block, self._figures, checked=unfolded.compressed)) is not None:
                self._held_values = self._is_trail = True
                yield from self._new(found)
            elif (records := records_of(block)) is not None:
                for record in records:
                    yield from self._value(record, window, principals)
            else:
                undecoded = block
                break
        if blocks.passed_over:
            self._held_values = self._is_trail = True
        if undecoded is not None or not blocks.ended:
            for value in values_of(blocks.rest(undecoded), depth=blocks.depth):
                yield from self._value(value, window, principals)

    def _value(self, value: object | Damage, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        if not isinstance(value, Damage):
            for record in unwrap(value):
                yield from self._record(record, window, principals)
            return
        self._is_damaged = True
        if value.rest_lost:
            yield self._lost(value.reason)
        else:
            self._fold(self._gap(GapKind.UNREADABLE_RECORD, value.reason))

    def _record(self, record: object, window: Window, principals: Principals) -> Iterator[Call]:
        self._held_values = True
        found = examine(record, principals.wants)
        if found is NotACall.NOT_A_RECORD:
            self._figures.skipped[found.value] += 1
            return
        if not self._is_in_window(record, window, principals):
            return
        self._figures.records += 1
        if isinstance(found, NotACall):
            self._figures.skipped[found.value] += 1
        else:
            yield from self._new((found,))

    def _new(self, found: Sequence[Call | Gap]) -> Sequence[Call]:
        """The calls that are no copies; gaps wait for the file's end."""
        calls = [item for item in found if type(item) is Call]
        if len(calls) < len(found):
            for item in found:
                if isinstance(item, Gap):
                    self._fold(item)
        if not calls:
            return calls
        self._figures.note_call(max([call.time for call in calls]))
        is_copy = self._seen.is_copy
        new = [call for call in calls if not is_copy(call.event_id)]
        self._figures.duplicates += len(calls) - len(new)
        self._figures.calls += len(new)
        return new

    def _is_in_window(self, record: object, window: Window, principals: Principals) -> bool:
        """Note what a record of anybody tells of the evidence; one without a time may lie in the window."""
        if not isinstance(record, Mapping):
            return True
        self._is_trail = True
        time = event_time(record)
        if time and not window.contains(time):
            self._figures.outside_window += 1
            return False
        cover(self._figures, record, time, principals)
        return True

    def _fold(self, gap: Gap) -> None:
        scope = gap.scope if gap.scope.regions else self._scope()
        known = self._damaged.get(scope)
        count = known.count + 1 if known else 1
        detail = known.detail if known else f"{self._name}: {gap.detail}"
        self._damaged[scope] = Gap(gap.kind, scope, detail, count)

    def _lost(self, reason: str) -> Gap:
        self._figures.damaged_files += 1
        return self._gap(GapKind.UNREADABLE_FILE, f"{self._name}: {reason}")

    def _gap(self, kind: GapKind, detail: str) -> Gap:
        return Gap(kind, self._scope(), detail)

    def _scope(self) -> Scope:
        return Scope(regions=(self._region,) if self._region else ())
