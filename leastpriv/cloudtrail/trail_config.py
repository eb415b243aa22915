"""Reads a trail's configuration from AWS: its delivery location, and gaps for events that it
excludes.

Shapes of the answers: DescribeTrails, GetTrailStatus and GetEventSelectors of the CloudTrail API
reference, and "Logging management events" and "Logging data events" of the CloudTrail User Guide
(read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

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
_OF_A_SERVICE = 2
"""Colons of a value that names all resources of a service: `arn:aws:s3`."""
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


def excluded_events(answer: Mapping[str, Any]) -> Iterator[tuple[Scope, str]]:
    """Yields what a trail excludes according to GetEventSelectors: scope and description.

    For data events of selected resources, the scope exempts those resources: the records themselves
    must show whether they are recorded for long enough (docs: decision 6).
    """
    selectors = _selectors(answer)
    yield from _management(
        [selector for selector in selectors if selector.category == "Management"]
    )
    yield from _data([selector for selector in selectors if selector.category == "Data"])


def selected_data(answer: Mapping[str, Any]) -> Iterator[SelectedData]:
    """Yields the data events that a trail includes according to GetEventSelectors, whatever their
    operation.
    """
    for selector in _selectors(answer):
        if selector.category == "Data" and not selector.narrowed:
            yield from (
                SelectedData(selector.data_type, kind, name)
                for kind in selector.kinds
                for name in selector.resources
            )


def _selectors(answer: Mapping[str, Any]) -> Sequence[_Selector]:
    advanced = answer.get("AdvancedEventSelectors") or ()
    basic = answer.get("EventSelectors") or ()
    return [
        *map(_advanced, advanced),
        *(selector for basic_selector in basic for selector in _basic(basic_selector)),
    ]


def _management(selectors: Sequence[_Selector]) -> Iterator[tuple[Scope, str]]:
    unnarrowed = [selector for selector in selectors if not selector.narrowed]
    left_out: dict[frozenset[str], list[str]] = {}
    for kind in (_READ, _WRITE):
        covering = [selector.excluded for selector in unnarrowed if kind in selector.kinds]
        if covering:
            left_out.setdefault(frozenset.intersection(*covering), []).append(kind)
        else:
            yield Scope(events=(f"management-{kind}",)), f"management events of {_CALLS[kind]}"
    for excluded, kinds in left_out.items():
        for source in sorted(excluded):
            events = tuple(f"management-{kind}" for kind in kinds if len(kinds) < len(_BOTH))
            yield (
                Scope(services=(map_event(source, "").prefix,), events=events),
                f"management events of {source}",
            )


def _data(selectors: Sequence[_Selector]) -> Iterator[tuple[Scope, str]]:
    selected = {selector.data_type for selector in selectors}
    missing = tuple(kind for kind in data_event_types() if kind not in selected)
    if missing:
        other_kinds = f" of other kinds than {', '.join(sorted(selected))}" if selected else ""
        yield Scope(events=missing, data_events=True), f"data events{other_kinds}"
    for data_type in sorted(selected):
        for kind in (_READ, _WRITE):
            clear = [
                selector
                for selector in selectors
                if selector.data_type == data_type and kind in selector.kinds
            ]
            resources = sorted(
                {
                    resource
                    for selector in clear
                    if not selector.narrowed
                    for resource in selector.resources
                }
            )
            if "*" not in resources:
                but = f" but for {', '.join(resources)}" if resources else ""
                yield (
                    Scope(events=(f"{data_type} {kind}",), outside=tuple(resources)),
                    f"all data events of {data_type} ({kind}){but}",
                )


def _basic(selector: Mapping[str, Any]) -> Iterator[_Selector]:
    kinds = _BASIC.get(str(selector.get("ReadWriteType") or "All"), frozenset())
    if selector.get("IncludeManagementEvents", True):
        excluded = frozenset(
            str(source) for source in selector.get("ExcludeManagementEventSources") or ()
        )
        yield _Selector("Management", kinds, excluded)
    for resource in selector.get("DataResources") or ():
        data_type = str(resource.get("Type"))
        # A bucket and prefix, a function, a table, or a whole service, `arn:aws:lambda`
        # (DataResource of the CloudTrail API reference, read 2026-11-24).
        values = [str(value) for value in resource.get("Values") or ()]
        is_prefix = data_type == "AWS::S3::Object"
        resources = tuple(
            value if _below(value) != "*" and not is_prefix else _below(value) for value in values
        )
        yield _Selector("Data", kinds, data_type=data_type, resources=resources)


def _below(start: str) -> str:
    """A wildcard for all ARNs with this prefix; for a whole service, all resources of the type."""
    return "*" if start.rstrip(":").count(":") <= _OF_A_SERVICE else f"{start}*"


def _advanced(selector: Mapping[str, Any]) -> _Selector:
    field_selectors = selector.get("FieldSelectors") or ()
    fields = {
        str(field_selector.get("Field")): field_selector for field_selector in field_selectors
    }
    only = {
        name: _only(fields.pop(name))
        for name in ("eventCategory", "readOnly", "resources.type")
        if _operators(fields.get(name, {})) == {"Equals"}
    }
    category, flag = only.get("eventCategory", ""), only.get("readOnly", "")
    is_repeated = len(fields) + len(only) < len(field_selectors)
    kinds = {"true": frozenset({_READ}), "false": frozenset({_WRITE})}.get(flag.lower(), _BOTH)
    resources: tuple[str, ...] = ("*",)
    if _operators(fields.get("resources.ARN", {})) in ({"Equals"}, {"StartsWith"}):
        arn_field = fields.pop("resources.ARN")
        starts = (_below(str(start)) for start in arn_field.get("StartsWith") or ())
        resources = (*map(str, arn_field.get("Equals") or ()), *starts)
    excluded: frozenset[str] = frozenset()
    if category == "Management" and _operators(fields.get("eventSource", {})) == {"NotEquals"}:
        excluded = frozenset(
            str(source) for source in fields.pop("eventSource", {}).get("NotEquals", ())
        )
    data_type = only.get("resources.type", "")
    return _Selector(
        category, kinds, excluded, data_type, resources, narrowed=bool(fields) or is_repeated
    )


def _only(field: Mapping[str, Any]) -> str:
    values: Sequence[object] = field.get("Equals") or ()
    return str(values[0]) if len(values) == 1 else ""


def _operators(field: Mapping[str, Any]) -> set[str]:
    return {name for name, values in field.items() if name != "Field" and values}


_ARN = re.compile(
    r"arn:[a-z-]+:cloudtrail:(?P<region>[a-z0-9-]+):\d{12}:trail/(?P<name>[\w.-]+)", re.ASCII
)
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
    trails_found = [
        trail for trail in described_trails(client, trailNameList=[named]) if trail.bucket
    ]
    if not trails_found:
        place = (
            "its bucket as s3://BUCKET/PREFIX"
            if arn_match
            else "its ARN, or its bucket as s3://BUCKET/PREFIX"
        )
        raise InputError(
            f"trails: these credentials show no trail {named!r}: check the name, or name {place}."
        )
    return trails_found[0]


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


def settings_gaps(
    clients: Aws,
    named: str,
    delivery: tuple[str, Collection[DeliveryLocation]],
    trails: tuple[Trail, ...] | None,
    window: Window,
) -> Generator[Gap, None, tuple[bool, frozenset[SelectedData]]]:
    """Yields gaps for events that the trails of some locations exclude, or one gap where AWS does
    not answer.

    Returns whether the trails that recorded the longest part of the window record every region, and
    the data events that they include. Of several trails only those count that recorded the whole
    window, or else the longest part of it: events that each of them excludes are hidden.
    `delivery`: the bucket's name (empty: a log group), and the locations that are read; `trails`
    None: look for them.
    """
    try:
        if trails is None:
            bucket, locations = delivery
            trails_of_bucket = [
                described_trail
                for described_trail in described_trails(clients.client("cloudtrail"))
                if described_trail.bucket == bucket
            ]
            trails = tuple(
                trail
                for trail in trails_of_bucket
                if DeliveryLocation(trail.prefix, trail.organization) in locations
            )
        gaps_of_trails = [
            _trail_gaps(clients, trail, window, bool(delivery[0])) for trail in trails
        ]
    except (AwsError, InputError) as error:
        yield Gap(
            GapKind.SETTINGS_UNKNOWN, Scope(), f"{named}: its settings are not known. {error}"
        )
        return False, frozenset()
    if not gaps_of_trails:
        detail = f"{named}: no trail of this account delivers there, so its settings are not known"
        yield Gap(GapKind.SETTINGS_UNKNOWN, Scope(), detail)
        return False, frozenset()
    longest = min(gaps_of_trails, key=lambda each: (bool(each.stopped), each.since))
    begun = max(longest.since, window.start or _EVER)
    speaking = [
        trail_gaps
        for trail_gaps in gaps_of_trails
        if not trail_gaps.stopped and trail_gaps.since <= begun
    ] or [longest]
    yield from longest.stopped
    yield from common_gaps([trail_gaps.left_out for trail_gaps in speaking])
    selected = frozenset(data for trail_gaps in speaking for data in trail_gaps.selected)
    return any(trail_gaps.every_region for trail_gaps in speaking), selected


def location_gaps(named: str, place: str, window: Window) -> Iterator[Gap]:
    """Yields gaps for other regions and days where a prefix inside a trail is read as a whole
    trail.
    """
    _, region, days = location_parts(place)
    if region:
        detail = f"{named}: this location has {region} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions((region,))), detail)
    # All files of a window are in one folder of a year, month or day; the last may arrive a day
    # later.
    shape = ("%Y", "%Y/%m", "%Y/%m/%d")[days.count("/")]
    is_bounded = window.start and window.end and window.end.year < datetime.max.year
    end = window.end + DELIVERY_DELAY if window.end and is_bounded else None
    if days and not (end and days == f"{window.start:{shape}}" == f"{end:{shape}}"):
        yield Gap(
            GapKind.NOT_LOGGED,
            Scope(),
            f"{named}: this location has {days} only, and the window is longer",
        )


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


def _trail_gaps(clients: Aws, trail: Trail, window: Window, is_bucket: bool) -> _TrailGaps:
    """Reads the trail's settings, and its status for a bucket or a log group; raises AwsError."""
    # Only the trail's home region answers both.
    client = clients.client("cloudtrail", trail.home_region)
    with translate_errors(
        f"reading the status of the trail {trail.arn}", "cloudtrail:GetTrailStatus"
    ):
        status = client.get_trail_status(Name=trail.arn)
    if not is_bucket:
        status = {**status, "LatestDeliveryError": status.get("LatestCloudWatchLogsDeliveryError")}
    with translate_errors(
        f"reading the selectors of the trail {trail.arn}", "cloudtrail:GetEventSelectors"
    ):
        selectors = client.get_event_selectors(TrailName=trail.arn)
    events = (
        Gap(GapKind.NOT_LOGGED, scope, f"{trail.arn}: it does not log {what}")
        for scope, what in excluded_events(selectors)
    )
    return _TrailGaps(
        stopped=tuple(logging_stopped_gaps(trail, status, window)),
        left_out=(*unrecorded_regions(trail), *events),
        since=_utc(status.get("StartLoggingTime")) or _EVER,
        every_region=trail.multi_region,
        selected=frozenset(selected_data(selectors)),
    )


def logging_stopped_gaps(trail: Trail, status: Mapping[str, Any], window: Window) -> Iterator[Gap]:
    """Yields gaps for periods without logging, and for files that could not be delivered
    (GetTrailStatus).
    """
    start, stop = _utc(status.get("StartLoggingTime")), _utc(status.get("StopLoggingTime"))
    if not status.get("IsLogging"):
        since = f" since {stop:%Y-%m-%d %H:%M} UTC" if stop else ""
        if stop is None or window.end is None or stop < window.end:
            yield Gap(GapKind.LOGGING_STOPPED, Scope(), f"{trail.arn}: its logging is off{since}")
    elif stop and start and stop < start and (window.start is None or start > window.start):
        detail = (
            f"{trail.arn}: its logging was off from {stop:%Y-%m-%d %H:%M} to"
            f" {start:%Y-%m-%d %H:%M} UTC"
        )
        yield Gap(GapKind.LOGGING_STOPPED, Scope(), detail)
    error = str(status.get("LatestDeliveryError") or "")
    if error:
        yield Gap(
            GapKind.LOGGING_STOPPED,
            Scope(),
            f"{trail.arn}: CloudTrail could not deliver its events: {error}",
        )


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
    return tuple(
        Trail(
            arn=str(description.get("TrailARN") or description.get("Name")),
            bucket=str(description.get("S3BucketName") or ""),
            prefix=str(description.get("S3KeyPrefix") or "").strip("/"),
            home_region=str(description.get("HomeRegion") or client.meta.region_name),
            multi_region=bool(description.get("IsMultiRegionTrail")),
            global_events=bool(description.get("IncludeGlobalServiceEvents", True)),
            organization=bool(description.get("IsOrganizationTrail")),
            log_group=":".join(
                str(description.get("CloudWatchLogsLogGroupArn") or "").split(":")[6:7]
            ),
        )
        for description in required_member(answer, activity, "trailList")
    )


def _utc(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None
