"""Figures of what was read, and of what it tells of the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leastpriv.aws.arns import Principals
from leastpriv.evidence.cloudtrail.record import account_of, is_data_event, read_only, region_of

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
    newest: datetime | None = None
    """Time of the targets' newest call, whether another source had it before or not."""
    whole: timedelta = timedelta()
    """Time whose every management event was looked through: reads, and those of each event source."""

    def note_call(self, time: datetime) -> None:
        """Take in when a call of the targets was made."""
        self.newest = max(self.newest or time, time)

    def absorb(self, other: ReadStatistics) -> None:
        """Take in what was read elsewhere, as if it had been read here."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped.update(other.skipped)
        self.kinds.update(other.kinds)
        for region in other.regions:
            remember(self.regions, region)
        for source in other.sources:
            remember(self.sources, source)
        for own, others in ((self.spans, other.spans), (self.logged, other.logged)):
            for name, (first, last) in others.items():
                _stretch(own, name, first, last)
        self.first = min(filter(None, (self.first, other.first)), default=None)
        self.last = max(filter(None, (self.last, other.last)), default=None)


@dataclass(slots=True)
class Cover:
    """What records of anybody that are alike tell of the evidence, but for their times.

    Only records of the principals' own accounts do: another account's trail may log what theirs does not.
    """

    own: bool
    region: str = ""
    source: str = ""
    data: bool = False
    kind: str = ""
    """`management-read`, `management-write`, `data-read`, `data-write`; empty where the records do not tell."""
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def of(cls, record: Mapping[str, object], principals: Principals) -> Cover:
        """Of the records like this one."""
        if not principals.include(account_of(record)):
            return cls(own=False)
        data, reads = is_data_event(record), read_only(record)
        kind = "" if reads is None else f"{'data' if data else 'management'}-{'read' if reads else 'write'}"
        return cls(True, region_of(record), str(record.get("eventSource") or ""), data, kind)

    def note(self, time: datetime | None, times: int = 1) -> None:
        """Count one more, or so many; a record may lack its time."""
        self.count += times
        if time:
            if self.first is None or self.last is None:
                self.first = self.last = time
            elif time < self.first:
                self.first = time
            elif time > self.last:
                self.last = time

    def pour(self, figures: ReadStatistics) -> None:
        """Add what was counted to the figures, and begin anew."""
        first, last = self.first, self.last
        if first and last:
            figures.first = min(figures.first or first, first)
            figures.last = max(figures.last or last, last)
        if self.own:
            self._pour(figures)
        self.count, self.first, self.last = 0, None, None

    def _pour(self, figures: ReadStatistics) -> None:
        remember(figures.regions, self.region)
        remember(figures.sources, self.source)
        if self.kind:
            figures.kinds[self.kind] += self.count
        if not (self.first and self.last):
            return
        if self.region in figures.regions:
            _stretch(figures.spans, self.region, self.first, self.last)
        if not self.data:
            for name in (self.source if self.source in figures.sources else "", self.kind):
                if name:
                    _stretch(figures.logged, name, self.first, self.last)


def cover(
    figures: ReadStatistics, record: Mapping[str, object], time: datetime | None, principals: Principals, times: int = 1
) -> None:
    """Note what a record of anybody, or so many like it, tells of what the evidence covers."""
    found = Cover.of(record, principals)
    found.note(time, times)
    found.pour(figures)


def remember(names: set[str], name: str) -> None:
    """Keep a name, but for an empty one and for more than logs hold by themselves."""
    if name and len(names) < _DISTINCT:
        names.add(name)


def _stretch(spans: dict[str, tuple[datetime, datetime]], region: str, first: datetime, last: datetime) -> None:
    known = spans.get(region, (first, last))
    spans[region] = (min(known[0], first), max(known[1], last))
