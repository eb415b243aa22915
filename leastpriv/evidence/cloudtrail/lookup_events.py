"""`LookupEvents` in several regions at once: pages as they come, one thread a region, a bounded number held.

Events under way: a gap for them, and waiting until CloudTrail has delivered them.

Waited for is a call of our own, the watermark, for it was made after those of the run.

CloudTrail delivers "within an average of about 5 minutes of an API call", without a promise (CloudTrail FAQ and "How
CloudTrail works" of its user guide, read 2026-11-24), and not strictly in order: a watermark that has shown is a strong
sign, no proof.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, AwsErrorKind, LeastprivError
from leastpriv.models import Gap, GapKind, Scope

_log = logging.getLogger(__name__)

_HELD = 16
"""Pages that wait for their reader."""
_PER_PAGE = 50
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Lookup:
    """One attribute that events are looked up by; without a key all events are meant."""

    key: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Up to 50 events of a region, as the texts of their records."""

    region: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """All lookups of a region came to their end."""

    region: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A region's lookups ended before that; the pages before are good."""

    region: str
    reason: str
    kind: AwsErrorKind = AwsErrorKind.OTHER


Item = Page | Finished | Broken


def lookups(
    aws: Aws, regions: Sequence[str], asked: Sequence[Lookup], window: Window, pace: float, most: int = 0
) -> Iterator[Item]:
    """Pages of every region, and one `Finished` or `Broken` each. Never raises for what AWS does.

    `pace`: seconds from one request of a region to the next. `most`: pages of a region at most; 0 is no bound.
    Whoever stops reading stops the requests.
    """
    ready: queue.Queue[Item] = queue.Queue(_HELD)
    stop = threading.Event()
    work = (_Region(aws, region, ready, stop, pace) for region in regions)
    # Daemons: an interrupted run does not wait for an answer that may take a minute.
    threads = [threading.Thread(target=each.run, args=(asked, window, most), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            item = ready.get()
            left -= not isinstance(item, Page)
            yield item
    finally:
        stop.set()


def pages(client: Any, asked: Lookup, window: Window) -> Iterator[Page]:
    """Pages of one lookup, newest event first.

    Raises:
        AwsError: AWS does not give one, or one names as the next what was read before.
    """
    arguments: dict[str, object] = {"MaxResults": _PER_PAGE}
    if asked.key:
        arguments["LookupAttributes"] = [{"AttributeKey": asked.key, "AttributeValue": asked.value}]
    if window.start:
        arguments["StartTime"] = window.start
    if window.end:
        arguments["EndTime"] = window.end
    region, seen = client.meta.region_name, set[str]()
    while True:
        answer = _answer(client, arguments)
        yield Page(region, tuple(str(event.get("CloudTrailEvent") or "") for event in answer.get("Events") or ()))
        token = answer.get("NextToken") or ""
        if not token:
            return
        if token in seen:
            reason = "a page names one that was read before as the next"
            raise AwsError(f"The event history of {region} came in part only: {reason}.", AwsErrorKind.INCOMPLETE)
        seen.add(token)
        arguments["NextToken"] = token


def _answer(client: Any, arguments: Mapping[str, object]) -> Mapping[str, Any]:
    """One page; one that breaks off is asked for again.

    botocore raises for some of these, and for others gives an answer without any of its members (seen with 1.44.8).
    """
    doing = f"reading the event history of {client.meta.region_name}"
    broken = AwsError(
        f"What answered while {doing} broke off, or is not AWS: run again later.", AwsErrorKind.INCOMPLETE
    )
    for _ in range(_TRIES):
        try:
            with translate_errors(doing, "cloudtrail:LookupEvents"):
                answer: Mapping[str, Any] = client.lookup_events(**arguments)
        except AwsError as error:
            if error.kind is not AwsErrorKind.INCOMPLETE:
                raise
            broken = error
            continue
        if "Events" in answer:
            return answer
    raise broken


class _Region:
    def __init__(self, aws: Aws, region: str, ready: queue.Queue[Item], stop: threading.Event, pace: float) -> None:
        self._aws = aws
        self._region = region
        self._ready = ready
        self._stop = stop
        self._pace = pace
        self._next = 0.0

    def run(self, asked: Sequence[Lookup], window: Window, most: int) -> None:
        """Everything that this region is asked; whatever happens, one last item tells of its end."""
        last: Item = Finished(self._region)
        try:
            last = self._asked(asked, window, most)
        except LeastprivError as error:
            kind = error.kind if isinstance(error, AwsError) else AwsErrorKind.OTHER
            last = Broken(self._region, str(error), kind)
        except Exception as error:  # a thread's exception would be lost, and the reader wait for ever
            last = Broken(self._region, f"reading the event history of {self._region} failed: {type(error).__name__}")
        finally:
            self._put(last)

    def _asked(self, asked: Sequence[Lookup], window: Window, most: int) -> Item:
        client = self._aws.client("cloudtrail", self._region)
        count = 0
        for lookup in asked:
            found = pages(client, lookup, window)
            while True:
                self._turn()
                if self._stop.is_set():
                    return Finished(self._region)
                if most and count == most:
                    reason = f"the event history of {self._region} is longer than {most * _PER_PAGE:,} events"
                    return Broken(self._region, f"{reason}: older ones were not looked through")
                page = next(found, None)
                if page is None:
                    break
                count += 1
                self._put(page)
        return Finished(self._region)

    def _turn(self) -> None:
        """Waits for this region's turn."""
        now = time.monotonic()
        self._stop.wait(max(0.0, self._next - now))
        self._next = max(now, self._next) + self._pace

    def _put(self, item: Item) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return


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
            if error.kind is AwsErrorKind.INVALID:
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
        _log.info(
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
    with translate_errors(f"marking the time in {region}", "sts:GetCallerIdentity"):
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
