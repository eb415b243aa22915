"""One file of CloudTrail records -> calls, gaps and figures of what the evidence covers, wherever the file lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import BinaryIO

from leastpriv.evidence.cloudtrail.event import (
    NotACall,
    account_of,
    event_time,
    examine,
    is_data_event,
    read_only,
    region_of,
)
from leastpriv.evidence.cloudtrail.record_stream import MAX_DECOMPRESSED, Damage, read_values
from leastpriv.evidence.cloudtrail.wrappings import unwrap
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap, GapKind, Scope

_REMEMBERED = 100_000
_DISTINCT = 1_000
"""Names kept of one kind in the statistics: there are 40 regions and 175 data-event types, but logs lie."""


_COUNTS = (
    "files",
    "damaged_files",
    "foreign_files",
    "records",
    "calls",
    "duplicates",
    "outside_window",
    "requests",
)


@dataclass(slots=True)
class ReadStatistics:
    """What was read: "N files, M records, K calls", and what the evidence covers. Grows while reading."""

    files: int = 0
    damaged_files: int = 0
    foreign_files: int = 0
    """JSON files without a single CloudTrail record."""
    records: int = 0
    calls: int = 0
    duplicates: int = 0
    outside_window: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that are no call of the targets, by reason (`NotACall`)."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Records of anybody: `management-read`, `management-write`, `data-read`, `data-write`."""
    regions: set[str] = field(default_factory=set)
    """Regions of files and records of anybody: the evidence covers them."""
    sources: set[str] = field(default_factory=set)
    """Event sources of anybody's records."""
    spans: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """First and last record of anybody, by region."""
    logged: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """First and last record of anybody, by kind of management event and by event source: a trail may leave some out."""
    first: datetime | None = None
    last: datetime | None = None
    """The span of the records of anybody that lie in the window."""
    requests: int = 0
    """Requests to AWS that were answered; one that was repeated counts once."""
    whole: timedelta = timedelta()
    """Time whose every management event was looked through: reads, and those of each event source."""

    def absorb(self, other: ReadStatistics) -> None:
        """Take in what was read elsewhere, as if it had been read here."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)
        self.kinds.update(other.kinds)
        for region in other.regions:
            _remember(self.regions, region)
        for source in other.sources:
            _remember(self.sources, source)
        for own, others in ((self.spans, other.spans), (self.logged, other.logged)):
            for name, (first, last) in others.items():
                _stretch(own, name, first, last)
        self.first = min(filter(None, (self.first, other.first)), default=None)
        self.last = max(filter(None, (self.last, other.last)), default=None)


class SeenEvents:
    """Remembers event ids, to drop copies; at least the last `capacity`, at most twice as many.

    Files are read in order of time, and copies (a second trail, a repeated delivery) are taken to lie near each
    other: a copy that comes after 200,000 other calls of the targets is counted again.
    """

    def __init__(self, capacity: int = _REMEMBERED) -> None:
        self._capacity = capacity
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def is_copy(self, event_id: str) -> bool:
        """Whether this id was here before; records without an id are never copies."""
        if not event_id:
            return False
        if event_id in self._recent or event_id in self._older:
            return True
        if len(self._recent) >= self._capacity:
            self._recent, self._older = set(), self._recent
        self._recent.add(event_id)
        return False


class FileReader:
    """Reads one file into the shared statistics; folds its damaged records into one gap per scope."""

    def __init__(
        self,
        name: str,
        region: str,
        figures: ReadStatistics,
        seen: SeenEvents,
        max_decompressed: int = MAX_DECOMPRESSED,
    ) -> None:
        """`name` is what a reader of a gap is told; `region` the one that the file's place tells, else empty."""
        self._name = name
        self._region = region
        self._figures = figures
        self._seen = seen
        self._max_decompressed = max_decompressed
        self._damaged: dict[Scope, Gap] = {}
        self._is_trail = False
        self._is_damaged = False
        self._held_values = False

    def read(self, open_file: Callable[[], BinaryIO], window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Read calls in the window, each once, and a gap for what cannot be read. Raises nothing of the file system."""
        self._figures.files += 1
        _remember(self._figures.regions, self._region)
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
        for value in read_values(opened, max_decompressed=self._max_decompressed):
            if not isinstance(value, Damage):
                for record in unwrap(value):
                    yield from self._record(record, window, principals)
                continue
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
        elif isinstance(found, Gap):
            self._fold(found)
        elif self._seen.is_copy(found.event_id):
            self._figures.duplicates += 1
        else:
            self._figures.calls += 1
            yield found

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


def cover(
    figures: ReadStatistics, record: Mapping[str, object], time: datetime | None, principals: Principals, times: int = 1
) -> None:
    """Note what a record of anybody, or so many like it, tells of what the evidence covers.

    Only records of the principals' own accounts do: another account's trail may log what theirs does not.
    """
    if time:
        figures.first = min(figures.first or time, time)
        figures.last = max(figures.last or time, time)
    if not principals.include(account_of(record)):
        return
    region = region_of(record)
    _remember(figures.regions, region)
    source = str(record.get("eventSource") or "")
    _remember(figures.sources, source)
    data = is_data_event(record)
    reads = read_only(record)
    kind = f"{'data' if data else 'management'}-{'read' if reads else 'write'}"
    if reads is not None:
        figures.kinds[kind] += times
    if time and region in figures.regions:
        _stretch(figures.spans, region, time, time)
    if time and not data:
        for name in (source if source in figures.sources else "", kind if reads is not None else ""):
            if name:
                _stretch(figures.logged, name, time, time)


def _remember(names: set[str], name: str) -> None:
    if name and len(names) < _DISTINCT:
        names.add(name)


def _stretch(spans: dict[str, tuple[datetime, datetime]], region: str, first: datetime, last: datetime) -> None:
    known = spans.get(region, (first, last))
    spans[region] = (min(known[0], first), max(known[1], last))
