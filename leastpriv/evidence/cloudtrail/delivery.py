"""Events under way: a gap for them, and waiting until CloudTrail has delivered them.

Waited for is a call of our own, the watermark, for it was made after those of the run.

CloudTrail delivers "within an average of about 5 minutes of an API call", without a promise (CloudTrail FAQ and "How
CloudTrail works" of its user guide, read 2026-11-24), and not strictly in order: a watermark that has shown is a strong
sign, no proof.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from leastpriv.errors import AwsError, AwsTrouble
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.aws_errors import explained
from leastpriv.evidence.cloudtrail.lookup import Lookup, pages
from leastpriv.evidence.source import Window
from leastpriv.model import Gap, GapKind, Scope

_UNDER_WAY = timedelta(minutes=15)
"""How long events may be on their way."""
_EVERY = 15.0
"""Seconds from one look to the next."""
NOT_WAITED_FOR = "name `event-history` in `trails` too, with `wait-for-events`, or run again later"
"""What helps against events under way to a trail, which nobody waits for."""
_MARK = "GetCallerIdentity"
_CLOCKS = timedelta(minutes=5)
"""By how much this machine's clock may be ahead of AWS's (signatures stop working at more)."""


def under_way(newest: datetime | None, now: datetime, window: Window, way_out: str, scope: Scope) -> Iterator[Gap]:
    """A gap where the role was at work a moment ago: what it did then may not show yet. `way_out` is an imperative."""
    since = now - _UNDER_WAY
    if newest and newest > since and (window.end is None or window.end > since):
        detail = f"the role was at work at {newest:%H:%M} UTC, and its newest events may not have been delivered: "
        yield Gap(GapKind.EVENTS_LATE, scope, f"{detail}{way_out}")


@dataclass(frozen=True, slots=True)
class _Mark:
    region: str
    request_ids: frozenset[str]
    """As the answer and its header say: for AWS they are equal, for stand-ins of it not always."""
    made: datetime


def await_delivery(
    aws: Aws,
    regions: Sequence[str],
    wait: timedelta,
    say: Callable[[str], None],
    every: float = _EVERY,
) -> Iterator[Gap]:
    """Returns when a call made now shows in the event history of each region, or `wait` has passed.

    Gives a gap for each region in which it has not shown, or that could not be asked.
    """
    waiting: dict[str, _Mark] = {}
    for region in regions:
        try:
            waiting[region] = _mark(aws, region)
        except AwsError as error:
            if error.trouble is AwsTrouble.INVALID:
                continue  # The reading will tell that the region cannot be read at all.
            yield _late(f"whether {region} has delivered its newest events is not known: {error}")
    began = time.monotonic()
    while waiting:
        for mark in list(waiting.values()):
            try:
                if _shows(aws, mark):
                    del waiting[mark.region]
            except AwsError as error:
                del waiting[mark.region]
                yield _late(f"whether {mark.region} has delivered its newest events is not known: {error}")
        passed = time.monotonic() - began
        left = wait.total_seconds() - passed
        if not waiting or left <= 0:
            break
        say(
            f"Waiting for CloudTrail to deliver the newest events of {', '.join(waiting)}: "
            f"{_minutes(passed)} of {_minutes(wait.total_seconds())} minutes"
        )
        time.sleep(min(every, left))
    for region in waiting:
        minutes = _minutes(wait.total_seconds())
        yield _late(f"{region} had not delivered its newest events after {minutes} minutes (`wait-for-events`)")


def _mark(aws: Aws, region: str) -> _Mark:
    client = aws.client("sts", region)
    made = datetime.now(UTC)
    with explained(f"marking the time in {region}", "sts:GetCallerIdentity"):
        answer = client.get_caller_identity()
    about = answer["ResponseMetadata"]
    found = (about.get("RequestId"), about.get("HTTPHeaders", {}).get("x-amzn-requestid"))
    return _Mark(region, frozenset(filter(None, found)), made)


def _shows(aws: Aws, mark: _Mark) -> bool:
    client = aws.client("cloudtrail", mark.region)
    found = pages(client, Lookup("EventName", _MARK), Window(mark.made - _CLOCKS))
    return any(_request_of(text) in mark.request_ids for page in found for text in page.events)


def _request_of(text: str) -> str:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(record.get("requestID") or "") if isinstance(record, Mapping) else ""


def _late(detail: str) -> Gap:
    # Of all regions: a login that is late hides what its session did elsewhere.
    return Gap(GapKind.EVENTS_LATE, Scope(), detail)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}" if seconds >= 60 or not seconds else f"{seconds / 60:.1f}"
