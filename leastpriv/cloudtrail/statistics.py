"""Counts what was read, and what the evidence covers."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from datetime import date, datetime
from typing import Annotated, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.coverage import (
    LOGGED_KINDS,
    Coverage,
    DataStream,
    RegionEvents,
    SelectedData,
    folder_of,
    mask_of,
)
from leastpriv.cloudtrail.record import (
    NoCall,
    account_of_record,
    is_data_event,
    is_management_event,
    read_only,
    region_of,
    resources_of,
)
from leastpriv.models import AwareTime, Gap

_DISTINCT = 1_000
"""Most names of one kind: there are 40 regions and 175 data event types, but a log may contain any
text.
"""
_MOST_EVENTS = 20_000
"""Event names kept: AWS has about as many operations."""
_MOST_STREAMS = 20_000
"""Prefixes of data events kept; more prefixes are not counted as recorded."""
_MOST_DAYS = 5_000
"""Days kept of one region: CloudTrail began in 2013."""
_MOST_ACCOUNTS = 20_000
"""Accounts kept: a log may contain any number."""


_K = TypeVar("_K")
_OPEN = Window()
_COUNTS = (
    "files", "damaged_files", "foreign_files", "records", "calls", "duplicates", "outside_window",
    "requests",
)  # fmt: skip


class ReadStatistics(Struct, array_like=True):
    """Counters of one reading: "N files, M records, K calls", and the coverage; updated while
    reading.
    """

    files: int = 0
    damaged_files: int = 0
    foreign_files: int = 0
    """JSON files without a CloudTrail record."""
    records: int = 0
    calls: int = 0
    duplicates: int = 0
    outside_window: int = 0
    no_calls: dict[NoCall, int] = {}
    """Number of records that name a target and are no call of it."""
    callers: dict[str, int] = {}
    """Number of calls of other callers, by ARN without the session."""
    regions: set[str] = set()
    """Regions of files and of all records: the evidence covers them."""
    events: set[str] = set()
    """Management events of any principal, as event source and name:
    `sqs.amazonaws.com:CreateQueue`.
    """
    days: dict[str, set[int]] = {}
    """Region -> days (`date.toordinal`) with a record of any principal."""
    logged: dict[RegionEvents, set[int]] = {}
    """Kind of `LOGGED_KINDS` in a region -> days with such a management event: a trail may exclude
    some.
    """
    data: dict[DataStream, int] = {}
    """Days with such a data event of any principal, as a mask."""
    selected: frozenset[SelectedData] = frozenset()
    """Data events that the trail's event selectors include."""
    every_region: bool = False
    """The trail records every region."""
    first: AwareTime | None = None
    last: AwareTime | None = None
    """Times of the first and last record of any principal in the window."""
    requests: int = 0
    """Answered requests to AWS; a repeated request counts once."""
    newest: AwareTime | None = None
    """Time of the targets' newest call, duplicates included."""
    accounts: dict[str, ReadStatistics] = {}
    """By account: the coverage of its records, where the targets are in several accounts."""

    def note_times(self, first: datetime, last: datetime) -> None:
        """Adds the times of the first and last of some records."""
        self.first = min(self.first or first, first)
        self.last = max(self.last or last, last)

    def note_call(self, time: datetime) -> None:
        """Adds the time of a target's call."""
        self.newest = max(self.newest or time, time)

    def cover(self, region: str, first: datetime, last: datetime) -> None:
        """Counts a region as read completely in a period: all kinds of management events on every
        day.
        """
        days = set(range(first.toordinal(), last.toordinal() + 1))
        _add_days(self.days, region, days)
        for kind in LOGGED_KINDS:
            _add_days(self.logged, RegionEvents(region, kind), days)

    def note_caller(self, arn: str, times: int = 1) -> None:
        """Counts calls of a role or user that is no target: a message about a wrong name lists
        them.
        """
        if arn:
            _count(self.callers, arn, times)

    def note_no_call(self, no_call: NoCall, times: int = 1) -> None:
        """Counts records that name a target and are no call of it."""
        _count(self.no_calls, no_call, times)

    def absorb(self, other: ReadStatistics) -> None:
        """Adds the counters of another reading."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.newest:
            self.note_call(other.newest)
        if other.first and other.last:
            self.note_times(other.first, other.last)
        for no_call, count in other.no_calls.items():
            _count(self.no_calls, no_call, count)
        for arn, count in other.callers.items():
            _count(self.callers, arn, count)
        for region in other.regions:
            add_name(self.regions, region)
        _add_events(self.events, other.events)
        for region, days in other.days.items():
            _add_days(self.days, region, days)
        for region_events, days in other.logged.items():
            _add_days(self.logged, region_events, days)
        _add_streams(self.data, other.data)
        for account, account_statistics in other.accounts.items():
            self.of_account(account).absorb(account_statistics)

    def of_account(self, account: str) -> ReadStatistics:
        """Returns the counters of an account's own records; those of one account too many are not
        kept.
        """
        if account not in self.accounts and len(self.accounts) >= _MOST_ACCOUNTS:
            return ReadStatistics()
        return self.accounts.setdefault(account, ReadStatistics())


class CountedGaps:
    """Gaps with the number of their occurrences; the detail is that of the first one."""

    def __init__(self) -> None:
        """Counts nothing yet."""
        self._gaps: dict[Hashable, Gap] = {}

    def add(self, key: Hashable, gap: Gap) -> None:
        """Counts an occurrence; `key`: what equal gaps have in common."""
        known_gap = self._gaps.get(key)
        self._gaps[key] = replace(known_gap, count=known_gap.count + 1) if known_gap else gap

    def gaps(self) -> Iterable[Gap]:
        """Returns the gaps, in the order of their first occurrences."""
        return self._gaps.values()


class PackedStatistics(Struct, array_like=True, gc=False):
    """Counters of one reading, in a form that MessagePack can encode."""

    counters: ReadStatistics
    """All but the data events and the accounts."""
    data: dict[DataStream, Annotated[str, Meta(pattern=r"^[0-9a-f]+$")]]
    """The masks are in hexadecimal: they have more bits than the format's numbers."""
    accounts: dict[str, PackedStatistics]

    @classmethod
    def of(cls, statistics: ReadStatistics) -> PackedStatistics:
        """Returns some statistics, packed."""
        return cls(
            counters=replace(statistics, data={}, accounts={}),
            data={stream: f"{days:x}" for stream, days in statistics.data.items()},
            accounts={
                account: cls.of(account_statistics)
                for account, account_statistics in statistics.accounts.items()
            },
        )

    def unpacked(self) -> ReadStatistics:
        """Returns the statistics."""
        return replace(
            self.counters,
            data={stream: int(days, 16) for stream, days in self.data.items()},
            accounts={
                account: account_statistics.unpacked()
                for account, account_statistics in self.accounts.items()
            },
        )


class CoverageCounter(Struct):
    """Counts the coverage of records with equal fields.

    Only records of the principals' own accounts count: another account's trail may record other
    events.
    """

    own: bool
    account: str = ""
    """The account of the records, where the targets are in several; else empty."""
    region: str = ""
    source: str = ""
    data: bool = False
    kind: str = ""
    """`management-read`, `management-write`, `data-read`, `data-write`; empty where unknown."""
    management: bool = False
    """The records say that they are management events; old ones do not say what they are."""
    names: set[str] = set()
    """Event names of the records."""
    days: set[int] = set()
    streams: dict[str, dict[str, set[int]]] = {}
    """Event name and folder of data events -> their days."""

    @classmethod
    def of(cls, record: Mapping[str, object], principals: Principals) -> CoverageCounter:
        """Creates a counter for records like this one."""
        account = account_of_record(record)
        if not principals.include(account):
            return cls(own=False)
        is_data, reads = is_data_event(record), read_only(record)
        category = "data" if is_data else "management"
        access = "read" if reads else "write"
        kind = "" if reads is None else f"{category}-{access}"
        source = str(record.get("eventSource") or "")
        return cls(
            own=True,
            account=account if principals.has_several_accounts else "",
            region=region_of(record),
            source=source,
            data=is_data,
            kind=kind,
            management=is_management_event(record),
        )

    def note_folders(self, day: int, name: str, folders: Iterable[str]) -> None:
        """Counts the folders of a data event's resources: event selectors may name a prefix. Those
        of other events do not count.
        """
        if not self.data:
            return
        days_by_folder = self.streams.setdefault(name, {})
        for folder in folders:
            days = days_by_folder.get(folder)
            if days is None:
                days_by_folder[folder] = {day}
            else:
                days.add(day)

    def add_to(self, statistics: ReadStatistics) -> None:
        """Adds the counts to the statistics, and resets them."""
        if self.own:
            self._add(statistics)
            if self.account:
                self._add(statistics.of_account(self.account))
        for collection in (self.names, self.days, self.streams):
            collection.clear()

    def _add(self, statistics: ReadStatistics) -> None:
        add_name(statistics.regions, self.region)
        if self.management:
            events = {f"{self.source}:{name}" for name in self.names if name}
            _add_events(statistics.events, events)
        if not self.days:
            return
        if self.region in statistics.regions:
            _add_days(statistics.days, self.region, self.days)
            kinds = set() if self.data else {self.source, self.kind} & LOGGED_KINDS
            for kind in kinds:
                _add_days(statistics.logged, RegionEvents(self.region, kind), self.days)
        access = self.kind.removeprefix("data-")
        for name, days_by_folder in self.streams.items():
            event = f"{self.source}:{name}"
            streams = {
                DataStream(event, access, folder): mask_of(days)
                for folder, days in days_by_folder.items()
            }
            _add_streams(statistics.data, streams)


def total_coverage(
    statistics: Iterable[ReadStatistics],
    named_regions: Iterable[str] = (),
    window: Window = _OPEN,
    *,
    every_region: bool = False,
    account: str = "",
) -> Coverage:
    """Merges what several sources cover; `every_region`: a source has the records of every
    region; `account`: of the targets' accounts only this one counts.
    """
    total = ReadStatistics()
    for source in statistics:
        counted = source.accounts.get(account, ReadStatistics()) if account else source
        total.absorb(counted)
        total.selected |= source.selected
        every_region = every_region or source.every_region
    return Coverage(
        days={region: _dates(days) for region, days in sorted(total.days.items())},
        logged={key: _dates(days) for key, days in sorted(total.logged.items())},
        data=total.data,
        events=frozenset(total.events),
        selected=total.selected,
        every_region=every_region,
        named_regions=frozenset(named_regions),
        window=window,
    )


def _dates(days: Iterable[int]) -> frozenset[date]:
    return frozenset(map(date.fromordinal, days))


def count_coverage(
    statistics: ReadStatistics,
    record: Mapping[str, object],
    time: datetime | None,
    principals: Principals,
) -> None:
    """Counts the coverage of one record of any principal; it may lack its time."""
    counter = CoverageCounter.of(record, principals)
    name = str(record.get("eventName") or "")
    counter.names.add(name)
    if time:
        statistics.note_times(time, time)
        day = time.toordinal()
        counter.days.add(day)
        counter.note_folders(day, name, map(folder_of, resources_of(record.get("resources"))))
    counter.add_to(statistics)


def _count(counts: dict[_K, int], key: _K, times: int) -> None:
    """Counts a key, unless there are too many others."""
    if key in counts or len(counts) < _DISTINCT:
        counts[key] = counts.get(key, 0) + times


def add_name(names: set[str], name: str) -> None:
    """Adds a name, unless it is empty or there are too many."""
    if name and len(names) < _DISTINCT:
        names.add(name)


def _add_events(events: set[str], others: Iterable[str]) -> None:
    if len(events) < _MOST_EVENTS:
        events.update(others)


def _add_days(days: dict[_K, set[int]], key: _K, others: set[int]) -> None:
    days_of_key = days.setdefault(key, set())
    if len(days_of_key) < _MOST_DAYS:
        days_of_key |= others


def _add_streams(streams: dict[DataStream, int], others: Mapping[DataStream, int]) -> None:
    for stream, days in others.items():
        if stream in streams or len(streams) < _MOST_STREAMS:
            streams[stream] = streams.get(stream, 0) | days
