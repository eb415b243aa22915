"""What the sources record of all principals, by region, day and kind, and the silences and settings
that hide calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache, reduce
from itertools import chain, pairwise
from typing import NamedTuple

from msgspec import Struct

from leastpriv.aws.arns import Window
from leastpriv.models import Gap, GapKind, Scope


class DataStream(NamedTuple):
    """Recorded data events of one operation under one prefix."""

    event: str
    """Event source and name: `s3.amazonaws.com:GetObject`."""
    kind: str
    """`read` or `write`; empty where the records do not say."""
    prefix: str
    """Folder of the objects (`arn:aws:s3:::bucket/reports/2026/`), or the ARN of another resource.
    """


class SelectedData(NamedTuple):
    """Data events that the event selectors of a trail include, whatever the operation."""

    resource_type: str
    kind: str
    """`read` or `write`."""
    resource: str
    """ARN, or prefix of ARNs followed by `*`."""


LONGEST_SILENCE = timedelta(days=14)
"""Days without a record up to which a quiet region counts as read: many deploy every two weeks."""
LONGEST_WRITE_SILENCE = timedelta(days=35)
"""The same for writing calls: some deploy once a month. `silence_gaps` finds a shorter pause in a
busy region.
"""


RegionEvents = tuple[str, str]
"""Region, and `management-read`, `management-write` or an excludable event source."""


class Coverage(Struct, frozen=True):
    """What the sources record of all principals: a missing call proves something only where other
    calls were recorded.

    Region and kind are the finest unit, because each region may have a trail with other event
    selectors.
    """

    days: Mapping[str, frozenset[date]] = {}
    """Region -> days with a record of any principal."""
    logged: Mapping[RegionEvents, frozenset[date]] = {}
    """Days with such a record."""
    data: Mapping[DataStream, int] = {}
    """Stream -> days with such a data event, as a mask (`mask_of`): there may be thousands of
    streams.
    """
    events: frozenset[str] = frozenset()
    """Management events recorded of any principal, as event source and name: CloudTrail records
    these operations.
    """
    selected: frozenset[SelectedData] = frozenset()
    """Data events that event selectors include; empty where no event selectors were read."""
    every_region: bool = False
    """The sources have the records of every region: event history of all regions, or a trail of all
    regions.
    """
    named_regions: frozenset[str] = frozenset()
    """Regions that `aws-regions` names: the user says that the role works in no other. Without
    them, the one region of all records, if the role names no other.
    """
    assumed_region: str = ""
    """The region of `named_regions`, where no input names it: the records are of no other."""
    window: Window = Window()
    """The period that the user asked for; its end is now where AWS itself is read. Open where files
    decide.
    """

    @property
    def whole_days(self) -> tuple[date, date] | None:
        """First and last day that the records should show in whole; None without records.

        The first and the last day with records may be read in part, unless the window includes them
        in whole.
        """
        days = frozenset[date]().union(*self.days.values())
        if not days:
            return None
        start, end = self.window.start, self.window.end
        first = (start - _MOMENT).date() if start else min(days)
        return first + _DAY, (end.date() if end else max(days)) - _DAY

    @property
    def only_region(self) -> str:
        """The one region of which the sources have records; empty for none and for several."""
        return next(iter(self.days)) if len(self.days) == 1 else ""

    def length(self, region: str, kind: str = "") -> timedelta | None:
        """Time that the records of a region, of one kind or any, span without long silences; None
        without records.
        """
        logged_days = self.logged.get((region, kind)) if kind else self.days.get(region)
        if not logged_days:
            return None
        return length_of(logged_days, LONGEST_WRITE_SILENCE if kind == WRITE else LONGEST_SILENCE)


_DAY, _MOMENT = timedelta(days=1), timedelta(microseconds=1)
_FIRST_DAY = date(2013, 11, 1).toordinal()
"""CloudTrail has no older records."""
_MOST_DAYS = 10_000


def mask_of(days: Iterable[int]) -> int:
    """Returns a number with a bit for each day (`date.toordinal`)."""
    mask = 0
    for day in days:
        if _FIRST_DAY <= day < _FIRST_DAY + _MOST_DAYS:
            mask |= 1 << (day - _FIRST_DAY)
    return mask


def days_of(mask: int) -> frozenset[date]:
    """Returns the days of a mask."""
    bits = bin(mask)[:1:-1]
    return frozenset(
        date.fromordinal(_FIRST_DAY + number) for number, bit in enumerate(bits) if bit == "1"
    )


@lru_cache(maxsize=256)
def length_of(days: frozenset[date], longest: timedelta = LONGEST_SILENCE) -> timedelta:
    """Returns the time that days span without longer silences."""
    steps = (later - earlier for earlier, later in pairwise(sorted(days)))
    return sum((step for step in steps if step <= longest), timedelta())


READ, WRITE = "management-read", "management-write"
EXCLUDABLE: Mapping[str, str] = {"kms": "kms.amazonaws.com", "rds-data": "rdsdata.amazonaws.com"}
"""IAM prefix -> event source of the management events that a trail may exclude.

Source: logging-management-events-with-cloudtrail.html in
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/ (read 2026-11-24).
"""
LOGGED_KINDS = frozenset({READ, WRITE, *EXCLUDABLE.values()})
"""Kinds of management events that a trail of one region may have and another lack."""
_BUSY = 1 / 2
"""A region is busy if it has records on this share of its days, from its first to its last but the
longest silence.
"""
_DAILY, _DAILY_WRITES = 4 / 5, 9 / 10
"""With records on this share of these days, each day without a record is a silence."""
_SILENT_WEEKDAY = 1 / 4
"""A day of the weekend is silent if at most this share of such days has records: many accounts rest
then.
"""
_FEWEST_DAYS = 7


def folder_of(arn: str) -> str:
    """Returns the folder of an object (`arn:aws:s3:::bucket/a/`); another ARN unchanged."""
    return arn[: arn.rfind("/") + 1] if ":s3:::" in arn and "/" in arn else arn


def silence_gaps(coverage: Coverage) -> Iterator[Gap]:
    """Yields a gap for each silence of a busy region, and of a kind of events that the region
    otherwise has.
    """
    days_read = coverage.whole_days
    if days_read is None:
        return
    for region, days in sorted(coverage.days.items()):
        general = silences(days, days_read)
        if general:
            detail = f"{region} has no record {_listed(general)}, though it has on most other days"
            yield Gap(GapKind.SILENCE, Scope(regions=(region,)), detail)
        for kind in sorted(LOGGED_KINDS):
            logged = coverage.logged.get((region, kind), frozenset())
            silence = _longer(silences(logged, days_read, writes=kind == WRITE), general)
            if silence:
                detail = (
                    f"{region} has no {_KINDS.get(kind, f'event of {kind}')} {_listed(silence)}"
                )
                prefix = next(
                    (prefix for prefix, source in EXCLUDABLE.items() if source == kind), ""
                )
                scope = (
                    Scope(services=(prefix,), regions=(region,))
                    if prefix
                    else Scope(events=(kind,), regions=(region,))
                )
                yield Gap(GapKind.SILENCE, scope, f"{detail}, though it has on most other days")


def _longer(
    silent: tuple[tuple[date, date], ...], general: tuple[tuple[date, date], ...]
) -> tuple[tuple[date, date], ...]:
    """Returns the silences of a kind of events that are no part of a silence of all."""
    return tuple(
        (first, last)
        for first, last in silent
        if not any(begin <= first and last <= end for begin, end in general)
    )


@lru_cache(maxsize=1_024)
def silences(
    days: frozenset[date], whole: tuple[date, date], *, writes: bool = False
) -> tuple[tuple[date, date], ...]:
    """Returns the first and last day of each period without records that differs from the habit of
    the other days.

    A single day counts where most days have records; where weekends are silent, two working days
    do. `whole`: the first and the last day that the records should show; `writes`: the records are
    writing calls, which are rarer.
    """
    start, end = whole
    inside = sorted(day for day in days if start <= day <= end)
    if len(inside) < _FEWEST_DAYS:
        return ()
    window = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    silent_weekdays = _silent_weekdays(window, days)
    expected = [day for day in window if day.weekday() not in silent_weekdays or day in days]

    # The days without records before the first day with records, between each two, after the last.
    pauses: list[list[date]] = [[]]
    for day in expected:
        if day in days:
            pauses.append([])
        else:
            pauses[-1].append(day)

    # Before the first record and after the last one the region may have been out of use, and the
    # longest pause may be the silence itself: the habit of the other days is judged without them.
    lengths = sorted(map(len, pauses[1:-1]))
    share = len(inside) / (len(inside) + sum(lengths[:-1]))
    if share < _BUSY:
        return ()
    if share >= (_DAILY_WRITES if writes else _DAILY):
        longest_usual = 1 if silent_weekdays else 0
    else:
        longest_usual = _longest_usual_pause(lengths, writes=writes)
    return tuple((pause[0], pause[-1]) for pause in pauses if len(pause) > longest_usual)


def _silent_weekdays(window: Sequence[date], days: frozenset[date]) -> set[int]:
    """Returns the weekdays of the weekend that mostly have no records: `{5, 6}` for Saturday and
    Sunday; empty where the window has too few weeks to show it.
    """
    silent_weekdays: set[int] = set()
    for weekday in _WEEKEND:
        such_days = [day for day in window if day.weekday() == weekday]
        busy_count = sum(day in days for day in such_days)
        if len(such_days) >= _WEEKS and busy_count <= _SILENT_WEEKDAY * len(such_days):
            silent_weekdays.add(weekday)
    return silent_weekdays


def _longest_usual_pause(lengths: Sequence[int], *, writes: bool) -> int:
    """Returns the days that a pause may last where days without records are the rule: twice as long
    as nine of ten pauses, 4 where these last up to two days.

    Args:
        lengths: The lengths of the pauses in days, the shortest first.
        writes: The records are writing calls, which are rarer.
    """
    longest_usual = 2 * lengths[len(lengths) * 9 // 10]
    return max(longest_usual, LONGEST_SILENCE.days) if writes else longest_usual


_WEEKS = 3
"""Weeks that show whether a weekday is silent."""
_WEEKEND = (4, 5, 6)
"""Friday to Sunday: weekends differ by country."""
_KINDS = {READ: "reading call", WRITE: "writing call"}
_MOST_SILENCES = 3


def _listed(found: Sequence[tuple[date, date]]) -> str:
    names = [
        f"on {first}" if first == last else f"from {first} to {last}"
        for first, last in found[:_MOST_SILENCES]
    ]
    further = len(found) - len(names)
    return ", ".join(names) + (f" and in {further} more periods" if further else "")


def merge_source_gaps(gaps: Sequence[Sequence[Gap]]) -> tuple[Gap, ...]:
    """Returns the gaps of all sources; those of trail settings are reduced to what every trail
    excludes.

    A source without a settings gap takes no part: it may be a trail that excludes nothing, or files
    of unknown settings. A source that has no files of the targets' account has its own gap, which
    may hide any call.
    """
    settings_gaps: list[Sequence[Gap]] = [
        [gap for gap in source_gaps if gap.kind is GapKind.NOT_LOGGED] for source_gaps in gaps
    ]
    other_gaps = [
        gap for source_gaps in gaps for gap in source_gaps if gap.kind is not GapKind.NOT_LOGGED
    ]
    known_gaps = [gaps_of_source for gaps_of_source in settings_gaps if gaps_of_source]
    return (*other_gaps, *(common_gaps(known_gaps) if known_gaps else ()))


def common_gaps(gaps: Sequence[Sequence[Gap]]) -> Sequence[Gap]:
    """Intersection of the gaps of several trails (at least one); a trail without a gap excludes
    nothing.
    """
    return reduce(_common_to_two, gaps)


def _common_to_two(some: Sequence[Gap], others: Sequence[Gap]) -> Sequence[Gap]:
    pairs = (
        (gap, gap_of_other, _common(gap.scope, gap_of_other.scope))
        for gap in some
        for gap_of_other in others
    )
    gaps_in_common: list[Gap] = []
    for gap, other_gap, scope in pairs:
        # Equal scopes in another order cover each other: keep the first.
        if scope and not any(_is_covered(scope, common_gap.scope) for common_gap in gaps_in_common):
            gaps_in_common = [
                common_gap
                for common_gap in gaps_in_common
                if not _is_covered(common_gap.scope, scope)
            ]
            detail = (
                gap.detail
                if gap.detail == other_gap.detail
                else f"{gap.detail}; {other_gap.detail}"
            )
            gaps_in_common.append(Gap(GapKind.NOT_LOGGED, scope, detail))
    return gaps_in_common


def _is_covered(scope: Scope, other: Scope) -> bool:
    """Whether another scope includes all of this scope: that of `eu-west-1` covers that of `s3` in
    `eu-west-1`.

    An empty field means all. `data_events` and `outside` make a scope smaller: the other scope is
    at least as large where it is not limited to data events, and leaves out no further resource.
    """
    parts = [
        (getattr(scope, name), getattr(other, name)) for name in ("services", "events", "regions")
    ]
    inside = all(
        not wide_part or (part and set(part) <= set(wide_part)) for part, wide_part in parts
    )
    return (
        inside
        and set(other.outside) <= set(scope.outside)
        and (scope.data_events or not other.data_events)
    )


def _common(one: Scope, other: Scope) -> Scope | None:
    parts = [
        _part(getattr(one, name), getattr(other, name))
        for name in ("services", "regions", "events")
    ]
    if any(part is None for part in parts):
        return None
    services, regions, events = (part or () for part in parts)
    # Partly selected data events stay hidden even if other events of their type are recorded.
    in_part = any(scope.events and not scope.data_events for scope in (one, other))
    return Scope(
        services=services,
        events=events,
        regions=regions,
        data_events=(one.data_events or other.data_events) and not in_part,
        outside=tuple(dict.fromkeys((*one.outside, *other.outside))),
    )


def _part(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """Intersection of two scope fields, where empty means "all"; None: nothing in common.

    A resource type's data events include those of one kind, which its name precedes.
    """
    if not some or not others:
        return some or others
    pairs = chain(((each, others) for each in some), ((each, some) for each in others))
    common_items = (
        pair for pair, there in pairs if pair in there or pair.partition(" ")[0] in there
    )
    return tuple(dict.fromkeys(common_items)) or None
