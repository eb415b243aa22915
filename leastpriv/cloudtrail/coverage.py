"""What the sources record of all principals, by region, day and kind, and the silences and settings
that hide calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache, reduce
from itertools import pairwise, product
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


class RegionEvents(NamedTuple):
    """A kind of management events in one region."""

    region: str
    kind: str
    """`management-read`, `management-write` or an excludable event source."""


class Period(NamedTuple):
    """Whole days, from the first to the last."""

    first: date
    last: date

    def is_within(self, longer: Period) -> bool:
        """Whether all of these days are days of another period."""
        return longer.first <= self.first and self.last <= longer.last


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
    def whole_days(self) -> Period | None:
        """First and last day that the records should show in whole; None without records.

        The first and the last day with records may be read in part, unless the window includes them
        in whole.
        """
        days = frozenset[date]().union(*self.days.values())
        if not days:
            return None
        start, end = self.window.start, self.window.end
        day_before = (start - _MOMENT).date() if start else min(days)
        day_after = end.date() if end else max(days)
        return Period(day_before + _DAY, day_after - _DAY)

    @property
    def only_region(self) -> str:
        """The one region of which the sources have records; empty for none and for several."""
        return next(iter(self.days)) if len(self.days) == 1 else ""

    def length(self, region: str, kind: str = "") -> timedelta | None:
        """Time that the records of a region, of one kind or any, span without long silences; None
        without records.
        """
        logged_days = self.days_with(region, kind)
        if not logged_days:
            return None
        return length_of(logged_days, LONGEST_WRITE_SILENCE if kind == WRITE else LONGEST_SILENCE)

    def days_with(self, region: str, kind: str = "") -> frozenset[date]:
        """Returns the days with a record of a region, of one kind or any."""
        if not kind:
            return self.days.get(region, frozenset())
        return self.logged.get(RegionEvents(region, kind), frozenset())


_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)
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
        region_silences = silences(days, days_read)
        if region_silences:
            yield _silence_gap(Scope(regions=(region,)), region, "record", region_silences)
        for kind in sorted(LOGGED_KINDS):
            kind_silences = silences(
                coverage.days_with(region, kind), days_read, writes=kind == WRITE
            )
            kind_alone = _outside(kind_silences, region_silences)
            if kind_alone:
                event = _KINDS.get(kind, f"event of {kind}")
                yield _silence_gap(_scope_of_kind(region, kind), region, event, kind_alone)


def _silence_gap(scope: Scope, region: str, event: str, periods: Sequence[Period]) -> Gap:
    """Returns the gap of some silences; `event`: what the region lacks, as `writing call`."""
    detail = f"{region} has no {event} {_listed(periods)}, though it has on most other days"
    return Gap(GapKind.SILENCE, scope, detail)


def _scope_of_kind(region: str, kind: str) -> Scope:
    """Returns the events of a kind in a region: those of a service where a trail may exclude it."""
    for prefix, source in EXCLUDABLE.items():
        if source == kind:
            return Scope(services=(prefix,), regions=(region,))
    return Scope(events=(kind,), regions=(region,))


def _outside(periods: Sequence[Period], longer_periods: Sequence[Period]) -> Sequence[Period]:
    """Returns the periods that are no part of a longer one."""
    return [
        period
        for period in periods
        if not any(period.is_within(longer) for longer in longer_periods)
    ]


@lru_cache(maxsize=1_024)
def silences(days: frozenset[date], whole: Period, *, writes: bool = False) -> tuple[Period, ...]:
    """Returns each period without records that differs from the habit of the other days.

    A single day counts where most days have records; where weekends are silent, two working days
    do. `whole`: the days that the records should show; `writes`: the records are writing calls,
    which are rarer.
    """
    day_count = (whole.last - whole.first).days + 1
    window = [whole.first + timedelta(days=number) for number in range(day_count)]
    busy_days = sum(day in days for day in window)
    if busy_days < _FEWEST_DAYS:
        return ()
    silent_weekdays = _silent_weekdays(window, days)
    expected = [day for day in window if day.weekday() not in silent_weekdays or day in days]
    pauses = _pauses(expected, days)

    # Before the first record and after the last one the region may have been out of use, and the
    # longest pause may be the silence itself: the habit of the other days is judged without them.
    lengths = sorted(map(len, pauses[1:-1]))
    share = busy_days / (busy_days + sum(lengths[:-1]))
    if share < _BUSY:
        return ()
    if share >= (_DAILY_WRITES if writes else _DAILY):
        longest_usual = 1 if silent_weekdays else 0
    else:
        longest_usual = _longest_usual_pause(lengths, writes=writes)
    return tuple(Period(pause[0], pause[-1]) for pause in pauses if len(pause) > longest_usual)


def _pauses(expected: Iterable[date], days: frozenset[date]) -> list[list[date]]:
    """Returns the days without records before the first day with records, between each two, and
    after the last.
    """
    pauses: list[list[date]] = [[]]
    for day in expected:
        if day in days:
            pauses.append([])
        else:
            pauses[-1].append(day)
    return pauses


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


def _listed(periods: Sequence[Period]) -> str:
    text = ", ".join(map(_named, periods[:_MOST_SILENCES]))
    further = len(periods) - _MOST_SILENCES
    if further > 0:
        text += f" and in {further} more periods"
    return text


def _named(period: Period) -> str:
    if period.first == period.last:
        return f"on {period.first}"
    return f"from {period.first} to {period.last}"


def merge_source_gaps(gaps: Sequence[Sequence[Gap]]) -> tuple[Gap, ...]:
    """Returns the gaps of all sources; those of trail settings are reduced to what every trail
    excludes.

    A source without a settings gap takes no part: it may be a trail that excludes nothing, or files
    of unknown settings. A source that has no files of the targets' account has its own gap, which
    may hide any call.
    """
    merged_gaps: list[Gap] = []
    gaps_by_settings: list[Sequence[Gap]] = []
    for source_gaps in gaps:
        settings_gaps = [gap for gap in source_gaps if gap.kind is GapKind.NOT_LOGGED]
        if settings_gaps:
            gaps_by_settings.append(settings_gaps)
        merged_gaps += [gap for gap in source_gaps if gap.kind is not GapKind.NOT_LOGGED]
    if gaps_by_settings:
        merged_gaps += common_gaps(gaps_by_settings)
    return tuple(merged_gaps)


def common_gaps(gaps: Sequence[Sequence[Gap]]) -> Sequence[Gap]:
    """Intersection of the gaps of several trails (at least one); a trail without a gap excludes
    nothing.
    """
    return reduce(_common_to_two, gaps)


def _common_to_two(some: Sequence[Gap], others: Sequence[Gap]) -> Sequence[Gap]:
    gaps_in_common: list[Gap] = []
    for gap, other_gap in product(some, others):
        scope = _common(gap.scope, other_gap.scope)
        # Equal scopes in another order cover each other: keep the first.
        if scope is None or any(_is_covered(scope, known.scope) for known in gaps_in_common):
            continue
        gaps_in_common = [known for known in gaps_in_common if not _is_covered(known.scope, scope)]
        detail = gap.detail
        if other_gap.detail != detail:
            detail = f"{detail}; {other_gap.detail}"
        gaps_in_common.append(Gap(GapKind.NOT_LOGGED, scope, detail))
    return gaps_in_common


def _is_covered(scope: Scope, other: Scope) -> bool:
    """Whether another scope includes all of this scope: that of `eu-west-1` covers that of `s3` in
    `eu-west-1`.

    An empty field means all. `data_events` and `outside` make a scope smaller: the other scope is
    at least as large where it is not limited to data events, and leaves out no further resource.
    """
    if other.data_events and not scope.data_events:
        return False
    return (
        _is_within(scope.services, other.services)
        and _is_within(scope.events, other.events)
        and _is_within(scope.regions, other.regions)
        and set(other.outside) <= set(scope.outside)
    )


def _is_within(names: Sequence[str], wider_names: Sequence[str]) -> bool:
    """Whether a field of a scope is part of the same field of another, where empty means all."""
    if not wider_names:
        return True
    return bool(names) and set(names) <= set(wider_names)


def _common(one: Scope, other: Scope) -> Scope | None:
    """Returns what two scopes have in common; None for nothing."""
    services = _part(one.services, other.services)
    regions = _part(one.regions, other.regions)
    events = _part(one.events, other.events)
    if services is None or regions is None or events is None:
        return None
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
    common_names = [*_covered(some, others), *_covered(others, some)]
    return tuple(dict.fromkeys(common_names)) or None


def _covered(names: Iterable[str], other_names: Collection[str]) -> Sequence[str]:
    """Returns the names that others include: `AWS::S3::Object` has `AWS::S3::Object read`."""
    return [name for name in names if name in other_names or name.partition(" ")[0] in other_names]
