"""What a trail is set to record, asked of AWS: where it delivers, and what its settings leave out (as gaps).

Shapes of the answers: DescribeTrails, GetTrailStatus and GetEventSelectors of the CloudTrail API reference, and
"Logging management events" and "Logging data events" of the CloudTrail User Guide (read 2026-11-24).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from leastpriv.errors import AwsError, AwsTrouble, InputError
from leastpriv.evidence.aws_errors import explained
from leastpriv.evidence.cloudtrail.event_selectors import unlogged
from leastpriv.evidence.cloudtrail.s3_objects import Clients
from leastpriv.evidence.source import Window
from leastpriv.model import Gap, GapKind, Scope
from leastpriv.permissions.visibility import global_services

_ARN = re.compile(r"arn:[a-z-]+:cloudtrail:(?P<region>[a-z0-9-]+):\d{12}:trail/(?P<name>[\w.-]+)", re.ASCII)
_MISSING = ("TrailNotFoundException", "InvalidTrailNameException", "CloudTrailARNInvalidException")


@dataclass(frozen=True, slots=True)
class Trail:
    """One trail, as DescribeTrails tells it."""

    arn: str
    bucket: str
    prefix: str
    """`S3KeyPrefix`: what stands before `AWSLogs/` in its keys; empty or without a slash at its end."""
    home_region: str
    multi_region: bool
    global_events: bool

    @property
    def location(self) -> str:
        """Where its files lie: `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def named_trail(clients: Clients, named: str) -> Trail:
    """The trail with this name or ARN.

    Raises:
        InputError: there is no such trail.
        AwsError: AWS does not tell.
    """
    known = _ARN.fullmatch(named)
    client = clients.client("cloudtrail", known["region"] if known else "")
    found = [trail for trail in _described(client, trailNameList=[named]) if trail.bucket]
    if not found:
        raise InputError(
            f"trails: there is no trail {named!r} here: name its ARN, or its bucket as s3://BUCKET/PREFIX."
        )
    return found[0]


def trails_into(clients: Clients, bucket: str, prefix: str) -> tuple[Trail, ...]:
    """The trails of this account that deliver into a place of a bucket. Raises `AwsError` where AWS does not tell."""
    described = _described(clients.client("cloudtrail"))
    return tuple(trail for trail in described if trail.bucket == bucket and _lies_in(prefix, trail.prefix))


def split(location: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`, without slashes at the prefix's ends.

    Raises:
        InputError: it names no bucket.
    """
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    if not bucket:
        raise InputError(f"trails: {location!r} names no bucket: write s3://BUCKET or s3://BUCKET/PREFIX.")
    return bucket, prefix.strip("/")


def settings_gaps(
    clients: Clients, named: str, location: str, trails: tuple[Trail, ...] | None, window: Window
) -> Iterator[Gap]:
    """What the trails that deliver to a place leave out; a gap that says so where AWS does not tell.

    `trails`: those that are known already; None looks for them. Of several the one that leaves out least counts: what
    it has, all of them have together.
    """
    try:
        known = trails_into(clients, *split(location)) if trails is None else trails
        found = sorted((gaps_of(clients, trail, window) for trail in known), key=len)
    except (AwsError, InputError) as error:
        yield Gap(GapKind.SETTINGS_UNKNOWN, Scope(), f"{named}: its settings are not known. {error}")
        return
    if not found:
        detail = f"{named}: no trail of this account delivers there, so its settings are not known"
        yield Gap(GapKind.SETTINGS_UNKNOWN, Scope(), detail)
    yield from found[0] if found else ()


def gaps_of(clients: Clients, trail: Trail, window: Window) -> tuple[Gap, ...]:
    """What the trail did not record in the window, by its settings and status.

    Raises:
        AwsError: AWS does not tell.
    """
    # Both are answered in the trail's home region only.
    client = clients.client("cloudtrail", trail.home_region)
    with explained(f"reading the status of the trail {trail.arn}", "cloudtrail:GetTrailStatus"):
        status = client.get_trail_status(Name=trail.arn)
    with explained(f"reading the selectors of the trail {trail.arn}", "cloudtrail:GetEventSelectors"):
        selectors = client.get_event_selectors(TrailName=trail.arn)
    return (
        *stopped(trail, status, window),
        *other_regions(trail),
        *(
            Gap(GapKind.NOT_LOGGED, scope, f"{trail.arn}: it does not log {what}")
            for scope, what in unlogged(selectors)
        ),
    )


def stopped(trail: Trail, status: Mapping[str, Any], window: Window) -> Iterator[Gap]:
    """Times in the window without logging, and files that could not be delivered (GetTrailStatus)."""
    start, stop = _utc(status.get("StartLoggingTime")), _utc(status.get("StopLoggingTime"))
    if not status.get("IsLogging"):
        since = f" since {stop:%Y-%m-%d %H:%M} UTC" if stop else ""
        if stop is None or window.end is None or stop < window.end:
            yield Gap(GapKind.LOGGING_STOPPED, Scope(), f"{trail.arn}: its logging is switched off{since}")
    elif stop and start and stop < start and (window.start is None or start > window.start):
        detail = f"{trail.arn}: its logging was off from {stop:%Y-%m-%d %H:%M} to {start:%Y-%m-%d %H:%M} UTC"
        yield Gap(GapKind.LOGGING_STOPPED, Scope(), detail)
    error = str(status.get("LatestDeliveryError") or "")
    if error:
        yield Gap(GapKind.LOGGING_STOPPED, Scope(), f"{trail.arn}: CloudTrail could not deliver its files: {error}")


def other_regions(trail: Trail) -> Iterator[Gap]:
    """Regions and global services that the trail was not told to record."""
    partition = trail.arn.split(":")[1]
    if not trail.multi_region:
        detail = f"{trail.arn}: it records {trail.home_region} only"
        yield Gap(GapKind.NOT_LOGGED, Scope(regions=other_regions_than((trail.home_region,))), detail)
    if not trail.global_events:
        detail = f"{trail.arn}: it does not log the events of global services"
        yield Gap(GapKind.NOT_LOGGED, Scope(services=global_services(partition)), detail)


def other_regions_than(regions: Sequence[str]) -> tuple[str, ...]:
    """The other regions of the same partition, as botocore's endpoints know them."""
    from botocore.session import get_session

    session = get_session()
    partition = session.get_partition_for_region(regions[0])
    return tuple(each for each in session.get_available_regions("cloudtrail", partition) if each not in regions)


def _described(client: Any, **named: Any) -> tuple[Trail, ...]:
    try:
        with explained("looking the trail up", "cloudtrail:DescribeTrails"):
            answer = client.describe_trails(**named)
    except AwsError as error:
        if error.trouble is AwsTrouble.OTHER and any(code in str(error) for code in _MISSING):
            return ()
        raise
    return tuple(
        Trail(
            arn=str(each.get("TrailARN") or each.get("Name")),
            bucket=str(each.get("S3BucketName") or ""),
            prefix=str(each.get("S3KeyPrefix") or "").strip("/"),
            home_region=str(each.get("HomeRegion") or client.meta.region_name),
            multi_region=bool(each.get("IsMultiRegionTrail")),
            global_events=bool(each.get("IncludeGlobalServiceEvents", True)),
        )
        for each in answer.get("trailList", ())
    )


def _lies_in(prefix: str, own: str) -> bool:
    """Whether a place of the bucket is the one a trail delivers to, or one of its folders."""
    top = f"{own}/" if own else ""
    place = f"{prefix.strip('/')}/".removeprefix("/")
    return place in ("", top) or place.startswith(f"{top}AWSLogs/")


def _utc(value: object) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None
