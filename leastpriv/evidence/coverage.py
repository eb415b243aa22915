"""What the sources record of all principals, by region, day and kind, and the silences that may hide a call."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from leastpriv.models import Gap, GapKind, Scope


class DataStream(NamedTuple):
    """Recorded data events of one operation under one prefix."""

    event: str
    """Event source and name: `s3.amazonaws.com:GetObject`."""
    kind: str
    """`read` or `write`; empty where the records do not say."""
    prefix: str
    """Folder of the objects (`arn:aws:s3:::bucket/reports/2026/`), or the ARN of another resource."""


class SelectedData(NamedTuple):
    """Data events that the event selectors of a trail include, whatever the operation."""

    resource_type: str
    kind: str
    """`read` or `write`."""
    resource: str
    """ARN, or prefix of ARNs followed by `*`."""


LONGEST_SILENCE = timedelta(days=14)
"""Days without a record up to which a quiet region counts as read: many deploy every two weeks."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the sources record of all principals: a missing call proves something only where other calls were recorded.

    Region and kind are the finest unit, because each region may have a trail with other event selectors.
    """

    days: Mapping[str, frozenset[date]] = field(default_factory=dict)
    """Region -> days with a record of any principal."""
    logged: Mapping[tuple[str, str], frozenset[date]] = field(default_factory=dict)
    """Region and `management-read`, `management-write` or an excludable event source -> days with such a record."""
    data: Mapping[DataStream, tuple[datetime, datetime]] = field(default_factory=dict)
    """Times of the first and last data event."""
    events: frozenset[str] = frozenset()
    """Management events recorded of any principal, as event source and name: CloudTrail records these operations."""
    selected: frozenset[SelectedData] = frozenset()
    """Data events that event selectors include; empty where no event selectors were read."""
    every_region: bool = False
    """The sources have the records of every region: event history of all regions, or a trail of all regions."""
    named_regions: frozenset[str] = frozenset()
    """Regions that `aws-regions` names: the user says that the role works in no other."""

    def length(self, region: str, kind: str = "") -> timedelta | None:
        """Time that the records of a region, of one kind or any, span without long silences; None without records."""
        found = sorted(self.logged.get((region, kind), ()) if kind else self.days.get(region, ()))
        if not found:
            return None
        if kind == WRITE:
            # A quiet region has few writes; `silence_gaps` finds a long pause in a busy one.
            return found[-1] - found[0]
        steps = (later - earlier for earlier, later in pairwise(found))
        return sum((step for step in steps if step <= LONGEST_SILENCE), timedelta())


READ, WRITE = "management-read", "management-write"
EXCLUDABLE: Mapping[str, str] = {"kms": "kms.amazonaws.com", "rds-data": "rdsdata.amazonaws.com"}
"""IAM prefix -> event source of the management events that a trail may exclude.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
(read 2026-11-24).
"""
LOGGED_KINDS = frozenset({READ, WRITE, *EXCLUDABLE.values()})
"""Kinds of management events that a trail of one region may have and another lack."""
_BUSY_DAYS, _BUSY_WINDOW = 1 / 2, 1 / 3
"""A region is busy if it has records on this share of the days outside its longest silence, and of all days."""
_SILENT_WEEKDAY = 1 / 4
"""A day of the weekend is silent if at most this share of such days has records: many accounts rest then."""
_FEWEST_DAYS = 7


def folder_of(arn: str) -> str:
    """Returns the folder of an object (`arn:aws:s3:::bucket/a/`); another ARN unchanged."""
    return arn[: arn.rfind("/") + 1] if ":s3:::" in arn and "/" in arn else arn


def bucket_of(arn: str) -> str:
    """Returns the bucket of an object, as event selectors name it; another ARN unchanged."""
    return arn.partition("/")[0] if ":s3:::" in arn else arn


def silence_gaps(coverage: Coverage) -> Iterator[Gap]:
    """Yields a gap for each silence of a busy region, and of a kind of events that the region otherwise has."""
    window = frozenset[date]().union(*coverage.days.values())
    for region, days in sorted(coverage.days.items()):
        found = list(silences(days, window))
        if found:
            detail = f"{region} has no record {_listed(found)}, though it has on most other days"
            yield Gap(GapKind.SILENCE, Scope(regions=(region,)), detail)
            continue
        for kind in sorted(LOGGED_KINDS):
            found = list(silences(coverage.logged.get((region, kind), frozenset()), days))
            if kind == WRITE:
                # Nothing is written on many days: only a long pause is none of the account's own.
                found = [(first, last) for first, last in found if last - first >= LONGEST_SILENCE]
            if found:
                detail = f"{region} has no {_KINDS.get(kind, f'event of {kind}')} {_listed(found)}"
                yield Gap(GapKind.SILENCE, _scope(region, kind), f"{detail}, though it has on most other days")


def silences(days: Collection[date], window: Collection[date]) -> Iterator[tuple[date, date]]:
    """Yields the first and last day of each period without records in a window where most days have some.

    A single day counts in a region that has records every day; where weekends are silent, two working days do.
    """
    if len(days) < _FEWEST_DAYS:
        return
    # The first and the last day may be read in part.
    start, end = min(window) + timedelta(days=1), max(window) - timedelta(days=1)
    whole = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    silent = _silent_weekdays(days, whole)
    expected = [day for day in whole if day.weekday() not in silent or day in days]
    runs: list[list[date]] = [[]]
    for day in expected:
        if day in days:
            runs.append([])
        else:
            runs[-1].append(day)
    longest, days = max(map(len, runs)), {day for day in days if start <= day <= end}
    if len(days) < _BUSY_WINDOW * len(expected) or len(days) < _BUSY_DAYS * (len(expected) - longest):
        return
    yield from ((run[0], run[-1]) for run in runs if len(run) > bool(silent))


def _silent_weekdays(days: Collection[date], window: Collection[date]) -> frozenset[int]:
    counts = [[0, 0] for _ in range(7)]
    for day in window:
        counts[day.weekday()][0] += 1
        counts[day.weekday()][1] += day in days
    return frozenset(
        number
        for number, (known, busy) in enumerate(counts)
        if number in _WEEKEND and known >= _WEEKS and busy <= _SILENT_WEEKDAY * known
    )


_WEEKS = 3
"""Weeks that show whether a weekday is silent."""
_WEEKEND = (4, 5, 6)
"""Friday to Sunday: weekends differ by country."""
_KINDS = {READ: "reading call", WRITE: "writing call"}
_MOST_SILENCES = 3


def _scope(region: str, kind: str) -> Scope:
    prefix = next((prefix for prefix, source in EXCLUDABLE.items() if source == kind), "")
    return Scope(services=(prefix,), regions=(region,)) if prefix else Scope(regions=(region,), events=(kind,))


def _listed(found: list[tuple[date, date]]) -> str:
    named = [f"on {first}" if first == last else f"from {first} to {last}" for first, last in found[:_MOST_SILENCES]]
    more = len(found) - len(named)
    return ", ".join(named) + (f" and in {more} more periods" if more else "")
