"""Counts what was read, and what the evidence covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leastpriv.aws.arns import Principals
from leastpriv.evidence.cloudtrail.record import account_of, is_data_event, is_management_event, read_only, region_of

_DISTINCT = 1_000
"""Most names of one kind: there are 40 regions and 175 data event types, but a log may contain any text."""
_MOST_EVENTS = 20_000
"""Most event names: AWS has about as many operations."""


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
    """Counters of one reading: "N files, M records, K calls", and the coverage; updated while reading."""

    files: int = 0
    damaged_files: int = 0
    foreign_files: int = 0
    """JSON files without a CloudTrail record."""
    records: int = 0
    calls: int = 0
    duplicates: int = 0
    outside_window: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that are not a call of the targets, by reason (`SkipReason`)."""
    kinds: Counter[str] = field(default_factory=Counter)
    """All records by kind: `management-read`, `management-write`, `data-read`, `data-write`."""
    regions: set[str] = field(default_factory=set)
    """Regions of files and of all records: the evidence covers them."""
    sources: set[str] = field(default_factory=set)
    """Event sources of all records."""
    events: set[str] = field(default_factory=set)
    """Management events of any principal, as event source and name: `sqs.amazonaws.com:CreateQueue`."""
    spans: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """Times of the first and last record of any principal, by region."""
    logged: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    """Times of the first and last record, by kind of management event and by event source: a trail may exclude some."""
    first: datetime | None = None
    last: datetime | None = None
    """Times of the first and last record of any principal in the window."""
    requests: int = 0
    """Answered requests to AWS; a repeated request counts once."""
    newest: datetime | None = None
    """Time of the targets' newest call, duplicates included."""
    whole: timedelta = timedelta()
    """Period in which all management events were read, read-only ones and every event source included."""

    def note_call(self, time: datetime) -> None:
        """Adds the time of a target's call."""
        self.newest = max(self.newest or time, time)

    def absorb(self, other: ReadStatistics) -> None:
        """Adds the counters of another reading."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)
        self.kinds.update(other.kinds)
        for region in other.regions:
            add_name(self.regions, region)
        for source in other.sources:
            add_name(self.sources, source)
        _add_events(self.events, other.events)
        for own, others in ((self.spans, other.spans), (self.logged, other.logged)):
            for name, (first, last) in others.items():
                _extend_span(own, name, first, last)
        self.first = min(filter(None, (self.first, other.first)), default=None)
        self.last = max(filter(None, (self.last, other.last)), default=None)


@dataclass(slots=True)
class CoverageCounter:
    """Counts the coverage of records with equal fields.

    Only records of the principals' own accounts count: another account's trail may record other events.
    """

    own: bool
    region: str = ""
    source: str = ""
    data: bool = False
    kind: str = ""
    """`management-read`, `management-write`, `data-read`, `data-write`; empty where unknown."""
    management: bool = False
    """The records say that they are management events; old ones do not say what they are."""
    names: set[str] = field(default_factory=set)
    """Event names of the records."""
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, object], principals: Principals) -> CoverageCounter:
        """Creates a counter for records like this one."""
        if not principals.include(account_of(record)):
            return cls(own=False)
        data, reads = is_data_event(record), read_only(record)
        kind = "" if reads is None else f"{'data' if data else 'management'}-{'read' if reads else 'write'}"
        source = str(record.get("eventSource") or "")
        return cls(True, region_of(record), source, data, kind, is_management_event(record))

    def note(self, time: datetime | None, name: str = "", times: int = 1) -> None:
        """Counts one or more records with an event name; a record may lack its time."""
        self.count += times
        self.names.add(name)
        if time:
            if self.first is None or self.last is None:
                self.first = self.last = time
            elif time < self.first:
                self.first = time
            elif time > self.last:
                self.last = time

    def add_to(self, statistics: ReadStatistics) -> None:
        """Adds the counts to the statistics, and resets them."""
        first, last = self.first, self.last
        if first and last:
            statistics.first = min(statistics.first or first, first)
            statistics.last = max(statistics.last or last, last)
        if self.own:
            self._pour(statistics)
        self.count, self.first, self.last = 0, None, None
        self.names.clear()

    def _pour(self, statistics: ReadStatistics) -> None:
        add_name(statistics.regions, self.region)
        add_name(statistics.sources, self.source)
        if self.kind:
            statistics.kinds[self.kind] += self.count
        if self.management:
            _add_events(statistics.events, (f"{self.source}:{name}" for name in self.names if name))
        if not (self.first and self.last):
            return
        if self.region in statistics.regions:
            _extend_span(statistics.spans, self.region, self.first, self.last)
        if not self.data:
            for name in (self.source if self.source in statistics.sources else "", self.kind):
                if name:
                    _extend_span(statistics.logged, name, self.first, self.last)


def count_coverage(
    statistics: ReadStatistics,
    record: Mapping[str, object],
    time: datetime | None,
    principals: Principals,
    times: int = 1,
) -> None:
    """Counts the coverage of one or more equal records of any principal."""
    found = CoverageCounter.of(record, principals)
    found.note(time, str(record.get("eventName") or ""), times)
    found.add_to(statistics)


def add_name(names: set[str], name: str) -> None:
    """Adds a name, unless it is empty or there are too many."""
    if name and len(names) < _DISTINCT:
        names.add(name)


def _add_events(events: set[str], others: Iterable[str]) -> None:
    if len(events) < _MOST_EVENTS:
        events.update(others)


def _extend_span(spans: dict[str, tuple[datetime, datetime]], region: str, first: datetime, last: datetime) -> None:
    known = spans.get(region, (first, last))
    spans[region] = (min(known[0], first), max(known[1], last))
