"""Reads a trail's configuration from AWS: its delivery location, and gaps for events that it
excludes.

Shapes of the answers: DescribeTrails, GetTrailStatus and GetEventSelectors of the CloudTrail API
reference, and "Logging management events" and "Logging data events" of the CloudTrail User Guide
(read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any, NamedTuple

from msgspec import Struct

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import error_code, required_member, translate_errors
from leastpriv.aws.session import Aws, other_regions
from leastpriv.cloudtrail.coverage import SelectedData, common_gaps
from leastpriv.cloudtrail.file_store import (
    DELIVERY_DELAY,
    DeliveryLocation,
    location_parts,
)
from leastpriv.errors import AwsError, InputError
from leastpriv.models import Gap, GapKind, Scope
from leastpriv.permissions.event_table import data_event_types, global_services, map_event

_READ, _WRITE = "read", "write"
_BOTH = frozenset({_READ, _WRITE})
_BASIC = {"ReadOnly": frozenset({_READ}), "WriteOnly": frozenset({_WRITE}), "All": _BOTH}
_BY_READ_ONLY = {"true": frozenset({_READ}), "false": frozenset({_WRITE})}
_COLONS_OF_SERVICE = 2
_CALLS = {_READ: "reading calls", _WRITE: "writing calls"}


class _Selector(Struct, frozen=True):
    """One basic or advanced event selector."""

    category: str
    """`Management` or `Data`; other categories contain no evidence of permissions."""
    kinds: frozenset[str]
    """`read`, `write` or both."""
    excluded: frozenset[str] = frozenset()
    """Event sources that the selector excludes."""
    data_type: str = ""
    resources: tuple[str, ...] = ("*",)
    """ARNs that the selector includes, or prefixes of ARNs followed by `*`."""
    narrowed: bool = False
    """The selector has further conditions (a name, a caller), so the excluded events are not known.
    """


class ExcludedEvents(NamedTuple):
    """Events that a trail does not log."""

    scope: Scope
    description: str


def excluded_events(answer: Mapping[str, Any]) -> Iterator[ExcludedEvents]:
    """Yields what a trail excludes according to GetEventSelectors.

    For data events of selected resources, the scope exempts those resources: the records themselves
    must show whether they are recorded for long enough (docs: decision 6).
    """
    selectors = _selectors(answer)
    yield from _excluded_management_events(
        [selector for selector in selectors if selector.category == "Management"]
    )
    yield from _excluded_data_events(
        [selector for selector in selectors if selector.category == "Data"]
    )


def selected_data(answer: Mapping[str, Any]) -> Iterator[SelectedData]:
    """Yields the data events that a trail includes according to GetEventSelectors, whatever their
    operation.
    """
    for selector in _selectors(answer):
        if selector.category == "Data" and not selector.narrowed:
            for kind, resource in product(selector.kinds, selector.resources):
                yield SelectedData(selector.data_type, kind, resource)


def _selectors(answer: Mapping[str, Any]) -> Sequence[_Selector]:
    selectors = [_advanced(advanced) for advanced in answer.get("AdvancedEventSelectors") or ()]
    for basic in answer.get("EventSelectors") or ():
        selectors += _basic(basic)
    return selectors


def _excluded_management_events(selectors: Sequence[_Selector]) -> Iterator[ExcludedEvents]:
    kinds_by_sources: dict[frozenset[str], list[str]] = {}
    for kind in (_READ, _WRITE):
        excluded_sources = [
            selector.excluded
            for selector in selectors
            if kind in selector.kinds and not selector.narrowed
        ]
        if excluded_sources:
            # An event is logged if one of the selectors includes it.
            sources = frozenset.intersection(*excluded_sources)
            kinds_by_sources.setdefault(sources, []).append(kind)
        else:
            scope = Scope(events=(f"management-{kind}",))
            yield ExcludedEvents(scope, f"management events of {_CALLS[kind]}")
    for sources, kinds in kinds_by_sources.items():
        are_all_kinds = len(kinds) == len(_BOTH)
        events = () if are_all_kinds else tuple(f"management-{kind}" for kind in kinds)
        for source in sorted(sources):
            scope = Scope(services=(map_event(source, "").prefix,), events=events)
            yield ExcludedEvents(scope, f"management events of {source}")


def _excluded_data_events(selectors: Sequence[_Selector]) -> Iterator[ExcludedEvents]:
    selected_types = sorted({selector.data_type for selector in selectors})
    missing_types = tuple(name for name in data_event_types() if name not in selected_types)
    if missing_types:
        others = f" of other kinds than {', '.join(selected_types)}" if selected_types else ""
        scope = Scope(events=missing_types, data_events=True)
        yield ExcludedEvents(scope, f"data events{others}")
    for data_type, kind in product(selected_types, (_READ, _WRITE)):
        resources: set[str] = set()
        for selector in selectors:
            if selector.data_type == data_type and kind in selector.kinds and not selector.narrowed:
                resources.update(selector.resources)
        if "*" not in resources:
            outside = tuple(sorted(resources))
            exception = f" but for {', '.join(outside)}" if outside else ""
            scope = Scope(events=(f"{data_type} {kind}",), outside=outside)
            yield ExcludedEvents(scope, f"all data events of {data_type} ({kind}){exception}")


def _basic(selector: Mapping[str, Any]) -> Iterator[_Selector]:
    """Yields a basic event selector as one selector for each category and type."""
    kinds = _BASIC.get(str(selector.get("ReadWriteType") or "All"), frozenset())
    if selector.get("IncludeManagementEvents", True):
        sources = selector.get("ExcludeManagementEventSources") or ()
        yield _Selector("Management", kinds, excluded=frozenset(map(str, sources)))
    for data_resource in selector.get("DataResources") or ():
        data_type = str(data_resource.get("Type"))
        # A bucket and prefix, a function, a table, or a whole service, `arn:aws:lambda`
        # (DataResource of the CloudTrail API reference, read 2026-11-24).
        resources = map(str, data_resource.get("Values") or ())
        yield _Selector(
            "Data",
            kinds,
            data_type=data_type,
            resources=tuple(
                _below(resource)
                if data_type == "AWS::S3::Object" or _is_service(resource)
                else resource
                for resource in resources
            ),
        )


def _is_service(start: str) -> bool:
    """Whether a value names all resources of a service: `arn:aws:s3`."""
    return start.rstrip(":").count(":") <= _COLONS_OF_SERVICE


def _below(start: str) -> str:
    """A wildcard for all ARNs with this prefix; for a whole service, all resources of the type."""
    return "*" if _is_service(start) else f"{start}*"


def _advanced(selector: Mapping[str, Any]) -> _Selector:
    field_selectors = selector.get("FieldSelectors") or ()
    conditions = {str(condition.get("Field")): condition for condition in field_selectors}
    # Of two conditions on one field only the last one is read.
    is_narrowed = len(conditions) < len(field_selectors)
    category = _taken_value(conditions, "eventCategory")
    read_only = _taken_value(conditions, "readOnly")
    data_type = _taken_value(conditions, "resources.type")
    resources: Sequence[str] = ("*",)
    if _operators(conditions, "resources.ARN") in ({"Equals"}, {"StartsWith"}):
        condition = conditions.pop("resources.ARN")
        starts = condition.get("StartsWith") or ()
        resources = [*map(str, condition.get("Equals") or ()), *map(_below, map(str, starts))]
    excluded: frozenset[str] = frozenset()
    if category == "Management" and _operators(conditions, "eventSource") == {"NotEquals"}:
        excluded = frozenset(map(str, conditions.pop("eventSource")["NotEquals"]))
    return _Selector(
        category=category,
        kinds=_BY_READ_ONLY.get(read_only.lower(), _BOTH),
        excluded=excluded,
        data_type=data_type,
        resources=tuple(resources),
        narrowed=bool(conditions) or is_narrowed,
    )


def _taken_value(conditions: dict[str, Mapping[str, Any]], field: str) -> str:
    """Removes the condition that a field equals some values, and returns the value if it is one."""
    if _operators(conditions, field) != {"Equals"}:
        return ""
    values: Sequence[object] = conditions.pop(field)["Equals"]
    return str(values[0]) if len(values) == 1 else ""


def _operators(conditions: Mapping[str, Mapping[str, Any]], field: str) -> set[str]:
    """Returns the operators of the condition on a field; none where there is no condition."""
    condition = conditions.get(field, {})
    return {name for name, values in condition.items() if name != "Field" and values}


_ARN = re.compile(
    r"arn:[a-z-]+:cloudtrail:(?P<region>[a-z0-9-]+):\d{12}:trail/(?P<name>[\w.-]+)", re.ASCII
)
BUCKET_ERROR = "LatestDeliveryError"
"""What GetTrailStatus calls the latest fault of the delivery to a bucket."""
LOG_GROUP_ERROR = "LatestCloudWatchLogsDeliveryError"
_EVER = datetime.min.replace(tzinfo=UTC)
_MISSING = ("TrailNotFoundException", "InvalidTrailNameException", "CloudTrailARNInvalidException")


class Trail(Struct, frozen=True):
    """One trail, as DescribeTrails returns it."""

    arn: str
    bucket: str
    prefix: str
    """`S3KeyPrefix`: the key before `AWSLogs/`; empty or without a trailing slash."""
    home_region: str
    multi_region: bool
    global_events: bool
    organization: bool = False
    """Its files are below the organization's id."""
    log_group: str = ""
    """Name of the CloudWatch log group that it delivers to; empty where it delivers to none."""

    @property
    def location(self) -> str:
        """Location of its files: `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def find_trail(clients: Aws, named: str) -> Trail:
    """Returns the trail with this name or ARN.

    Raises InputError where there is no such trail, and AwsError where AWS does not answer.
    """
    arn_match = _ARN.fullmatch(named)
    client = clients.client("cloudtrail", arn_match["region"] if arn_match else "")
    for trail in described_trails(client, trailNameList=[named]):
        if trail.bucket:
            return trail
    place = "its bucket as s3://BUCKET/PREFIX"
    if not arn_match:
        place = f"its ARN, or {place}"
    raise InputError(
        f"trails: these credentials show no trail {named!r}: check the name, or name {place}."
    )


def split_location(location: str) -> tuple[str, str]:
    """Splits `s3://bucket/prefix` into bucket and prefix, without slashes around the prefix.

    Raises InputError where it has no bucket.
    """
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(
            f"trails: {location!r} names no bucket: write s3://BUCKET or s3://BUCKET/PREFIX."
        )
    return bucket, prefix.strip("/")


class SelectedEvents(NamedTuple):
    """What the trails of some locations record."""

    every_region: bool = False
    data: frozenset[SelectedData] = frozenset()
    """The data events that they include."""


def trails_of_bucket(
    clients: Aws, bucket: str, locations: Collection[DeliveryLocation]
) -> Sequence[Trail]:
    """Returns the trails of this account that deliver to some locations of a bucket; raises
    AwsError and InputError.
    """
    return [
        trail
        for trail in described_trails(clients.client("cloudtrail"))
        if trail.bucket == bucket
        and DeliveryLocation(trail.prefix, trail.organization) in locations
    ]


def settings_gaps(
    clients: Aws,
    named: str,
    find_trails: Callable[[], Iterable[Trail]],
    window: Window,
    error_field: str = BUCKET_ERROR,
) -> Generator[Gap, None, SelectedEvents]:
    """Yields gaps for events that some trails exclude, or one gap where AWS does not answer.

    Of several trails only those count that recorded the whole window, or else the longest part of
    it: events that each of them excludes are hidden.

    Args:
        clients: AWS.
        named: The source in messages.
        find_trails: Returns the trails that deliver there.
        window: The time to read.
        error_field: What GetTrailStatus calls the latest fault of the delivery there.

    Returns:
        What the trails record that count.
    """
    try:
        gaps_of_trails = [
            _trail_gaps(clients, trail, window, error_field) for trail in find_trails()
        ]
    except (AwsError, InputError) as error:
        detail = f"{named}: its settings are not known. {error}"
        yield Gap(GapKind.SETTINGS_UNKNOWN, Scope(), detail)
        return SelectedEvents()
    if not gaps_of_trails:
        detail = f"{named}: no trail of this account delivers there, so its settings are not known"
        yield Gap(GapKind.SETTINGS_UNKNOWN, Scope(), detail)
        return SelectedEvents()
    longest = min(gaps_of_trails, key=lambda gaps: (bool(gaps.stopped), gaps.since))
    latest_start = max(longest.since, window.start or _EVER)
    counting = [
        gaps for gaps in gaps_of_trails if not gaps.stopped and gaps.since <= latest_start
    ] or [longest]
    yield from longest.stopped
    yield from common_gaps([gaps.left_out for gaps in counting])
    return SelectedEvents(
        every_region=any(gaps.every_region for gaps in counting),
        data=frozenset().union(*(gaps.selected for gaps in counting)),
    )


def location_gaps(named: str, place: str, window: Window) -> Iterator[Gap]:
    """Yields gaps for other regions and days where a prefix inside a trail is read as a whole
    trail.
    """
    location = location_parts(place)
    if location.region:
        detail = f"{named}: this location has {location.region} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions((location.region,))), detail)
    if location.days and not _is_within(window, location.days):
        detail = f"{named}: this location has {location.days} only, and the window is longer"
        yield Gap(GapKind.NOT_LOGGED, Scope(), detail)


def _is_within(window: Window, days: str) -> bool:
    """Whether all files of a window are in the folder of a year, a month or a day (`2026/11`)."""
    if not window.start or not window.end or window.end.year == datetime.max.year:
        return False
    shape = ("%Y", "%Y/%m", "%Y/%m/%d")[days.count("/")]
    # The last file may arrive a day later.
    last = window.end + DELIVERY_DELAY
    return f"{window.start:{shape}}" == f"{last:{shape}}" == days


class _TrailGaps(Struct, frozen=True):
    """The gaps of one trail in a window."""

    stopped: tuple[Gap, ...]
    """Periods without logging."""
    left_out: tuple[Gap, ...]
    """Gaps from its settings."""
    since: datetime
    """When it last began to log; the earliest time where unknown."""
    every_region: bool
    selected: frozenset[SelectedData]


def _trail_gaps(clients: Aws, trail: Trail, window: Window, error_field: str) -> _TrailGaps:
    """Reads the status and the settings of a trail; raises AwsError."""
    # Only the trail's home region answers both.
    client = clients.client("cloudtrail", trail.home_region)
    with translate_errors(
        f"reading the status of the trail {trail.arn}", "cloudtrail:GetTrailStatus"
    ):
        status = client.get_trail_status(Name=trail.arn)
    with translate_errors(
        f"reading the selectors of the trail {trail.arn}", "cloudtrail:GetEventSelectors"
    ):
        selectors = client.get_event_selectors(TrailName=trail.arn)
    excluded_gaps = [
        Gap(GapKind.NOT_LOGGED, events.scope, f"{trail.arn}: it does not log {events.description}")
        for events in excluded_events(selectors)
    ]
    return _TrailGaps(
        stopped=tuple(logging_stopped_gaps(trail, status, window, error_field)),
        left_out=(*unrecorded_regions(trail), *excluded_gaps),
        since=_utc(status.get("StartLoggingTime")) or _EVER,
        every_region=trail.multi_region,
        selected=frozenset(selected_data(selectors)),
    )


def logging_stopped_gaps(
    trail: Trail, status: Mapping[str, Any], window: Window, error_field: str = BUCKET_ERROR
) -> Iterator[Gap]:
    """Yields gaps for periods without logging, and for files that could not be delivered
    (GetTrailStatus).
    """
    start = _utc(status.get("StartLoggingTime"))
    stop = _utc(status.get("StopLoggingTime"))
    detail = ""
    if not status.get("IsLogging"):
        if stop is None or window.end is None or stop < window.end:
            since = f" since {stop:%Y-%m-%d %H:%M} UTC" if stop else ""
            detail = f"{trail.arn}: its logging is off{since}"
    elif stop and start and stop < start and (window.start is None or start > window.start):
        period = f"from {stop:%Y-%m-%d %H:%M} to {start:%Y-%m-%d %H:%M} UTC"
        detail = f"{trail.arn}: its logging was off {period}"
    if detail:
        yield Gap(GapKind.LOGGING_STOPPED, Scope(), detail)
    error = str(status.get(error_field) or "")
    if error:
        detail = f"{trail.arn}: CloudTrail could not deliver its events: {error}"
        yield Gap(GapKind.LOGGING_STOPPED, Scope(), detail)


def unrecorded_regions(trail: Trail) -> Iterator[Gap]:
    """Yields gaps for regions and global services that the trail does not record."""
    partition = trail.arn.split(":")[1]
    if not trail.multi_region:
        detail = f"{trail.arn}: it records {trail.home_region} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions((trail.home_region,))), detail)
    if not trail.global_events:
        detail = f"{trail.arn}: it does not log the events of global services"
        yield Gap(GapKind.NOT_LOGGED, Scope(services=global_services(partition)), detail)


def described_trails(client: Any, **named: Any) -> tuple[Trail, ...]:
    """Returns the trails of this account, or those of these names; raises `AwsError`."""
    activity = "reading the trail"
    try:
        with translate_errors(activity, "cloudtrail:DescribeTrails"):
            answer = client.describe_trails(**named)
    except AwsError as error:
        if error_code(error) in _MISSING:
            return ()
        raise
    home_region = client.meta.region_name
    return tuple(
        _trail(description, home_region)
        for description in required_member(answer, activity, "trailList")
    )


def _trail(description: Mapping[str, Any], region: str) -> Trail:
    """Reads one trail; `region`: its home region where the answer does not say."""
    log_group_arn = str(description.get("CloudWatchLogsLogGroupArn") or "")
    return Trail(
        arn=str(description.get("TrailARN") or description.get("Name")),
        bucket=str(description.get("S3BucketName") or ""),
        prefix=str(description.get("S3KeyPrefix") or "").strip("/"),
        home_region=str(description.get("HomeRegion") or region),
        multi_region=bool(description.get("IsMultiRegionTrail")),
        global_events=bool(description.get("IncludeGlobalServiceEvents", True)),
        organization=bool(description.get("IsOrganizationTrail")),
        log_group=":".join(log_group_arn.split(":")[6:7]),
    )


def _utc(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None
