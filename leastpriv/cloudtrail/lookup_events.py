"""Calls `LookupEvents` in several regions, one thread per region, and waits for the delivery of
recent events.

The wait ends when a call of our own, the watermark, is visible: it was made after those of the run.
CloudTrail delivers "within an average of about 5 minutes of an API call", without a guarantee
(CloudTrail FAQ and "How CloudTrail works" of its user guide, read 2026-11-24), and not strictly in
order: a visible watermark is a strong sign, but no proof.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct

from leastpriv.aws.arns import Window
from leastpriv.aws.errors import required_member, translate_errors
from leastpriv.aws.session import Aws
from leastpriv.errors import AwsError, AwsErrorKind, LeastprivError
from leastpriv.models import Gap, GapKind, Scope

_log = logging.getLogger(__name__)

_HELD = 16
"""Most pages in the queue."""
_PER_PAGE = 50
_MOST_PAGES = 1_200
"""Most pages of one region without a lookup attribute: ten minutes, 60,000 events."""
_TRIES = 3


_SIGNAL_CHECK = 0.5
"""Seconds that the main thread waits at most for an item: a signal that arrives just before an
endless wait does not end it (CPython handles signals between two of its instructions alone).
"""


class Lookup(NamedTuple):
    """The attribute of a lookup; without a key, all events."""

    key: str = ""
    value: str = ""


class Page(Struct, frozen=True):
    """Up to 50 events of a region, as JSON texts of their records."""

    region: str
    events: tuple[str, ...]


class RegionEnd(Struct, frozen=True):
    """All lookups of a region are complete, or they failed, after which the pages before are
    valid.
    """

    region: str
    failure: str = ""
    """Why they failed; empty where they are complete."""
    kind: AwsErrorKind = AwsErrorKind.OTHER


Item = Page | RegionEnd


def lookup_regions(
    aws: Aws, regions: Sequence[str], asked: Sequence[Lookup], window: Window, pace: float
) -> Iterator[Item]:
    """Yields pages of every region, and one `RegionEnd` each; `pace`: seconds between two requests
    of a region.

    Never raises for AWS errors. Closing the iterator stops the requests.
    """
    ready: queue.Queue[Item] = queue.Queue(_HELD)
    stop = threading.Event()
    work = (_Region(aws, region, ready, stop, pace) for region in regions)
    # Daemon threads: an interrupted run does not wait for a response that may take a minute.
    threads = [
        threading.Thread(target=region_lookup.run, args=(asked, window), daemon=True)
        for region_lookup in work
    ]
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            try:
                item = ready.get(timeout=_SIGNAL_CHECK)
            except queue.Empty:
                continue
            running -= not isinstance(item, Page)
            yield item
    finally:
        stop.set()


def pages(client: Any, asked: Lookup, window: Window) -> Iterator[Page]:
    """Yields the pages of one lookup, newest event first; raises AwsError."""
    arguments: dict[str, object] = {"MaxResults": _PER_PAGE}
    if asked.key:
        arguments["LookupAttributes"] = [{"AttributeKey": asked.key, "AttributeValue": asked.value}]
    if window.start:
        arguments["StartTime"] = window.start
    if window.end:
        arguments["EndTime"] = window.end
    region = client.meta.region_name
    page_tokens: set[str] = set()
    while True:
        answer = _answer(client, arguments)
        events = answer.get("Events") or ()
        yield Page(region, tuple(str(event.get("CloudTrailEvent") or "") for event in events))
        token = answer.get("NextToken") or ""
        if not token:
            return
        if token in page_tokens:
            reason = "a page names one that was read before as the next"
            raise AwsError(
                f"The event history of {region} was read in part only: {reason}.",
                AwsErrorKind.INCOMPLETE,
            )
        page_tokens.add(token)
        arguments["NextToken"] = token


def _answer(client: Any, arguments: Mapping[str, object]) -> Mapping[str, Any]:
    """Requests one page, and repeats the request if the response is truncated.

    botocore raises an error for some truncated responses, and returns others without any member
    (seen with 1.44.8).
    """
    activity = f"reading the event history of {client.meta.region_name}"
    tries_left = _TRIES
    while True:
        tries_left -= 1
        try:
            with translate_errors(activity, "cloudtrail:LookupEvents"):
                answer: Mapping[str, Any] = client.lookup_events(**arguments)
            required_member(answer, activity, "Events")
            return answer
        except AwsError as error:
            if error.kind is not AwsErrorKind.INCOMPLETE or not tries_left:
                raise


class _Region:
    def __init__(
        self, aws: Aws, region: str, ready: queue.Queue[Item], stop: threading.Event, pace: float
    ) -> None:
        self._aws = aws
        self._region = region
        self._ready = ready
        self._stop = stop
        self._pace = pace
        self._next = 0.0

    def run(self, asked: Sequence[Lookup], window: Window) -> None:
        """Runs all lookups of this region; the last item always reports the end."""
        last = RegionEnd(self._region)
        try:
            last = self._asked(asked, window)
        except LeastprivError as error:
            kind = error.kind if isinstance(error, AwsError) else AwsErrorKind.OTHER
            last = RegionEnd(self._region, str(error), kind)
        except Exception as error:
            # A thread's exception would be lost, and the reader would wait forever.
            reason = f"reading the event history of {self._region} failed: {type(error).__name__}"
            last = RegionEnd(self._region, reason)
        finally:
            self._put(last)

    def _asked(self, asked: Sequence[Lookup], window: Window) -> RegionEnd:
        client = self._aws.client("cloudtrail", self._region)
        count = 0
        for lookup in asked:
            event_pages = pages(client, lookup, window)
            while True:
                # Until the next request of this region is due.
                now = time.monotonic()
                self._stop.wait(max(0.0, self._next - now))
                self._next = max(now, self._next) + self._pace
                if self._stop.is_set():
                    return RegionEnd(self._region)
                if count == _MOST_PAGES and not lookup.key:
                    reason = (
                        f"the event history of {self._region} is longer than"
                        f" {_MOST_PAGES * _PER_PAGE:,} events"
                    )
                    return RegionEnd(self._region, f"{reason}: older ones were not read")
                page = next(event_pages, None)
                if page is None:
                    break
                count += 1
                self._put(page)
        return RegionEnd(self._region)

    def _put(self, item: Item) -> None:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return


_DELIVERY_TIME = timedelta(minutes=15)
"""Time in which recent events may not be delivered yet."""
_EVERY = 15.0
"""Seconds between two lookups."""
WAIT_ADVICE = "name `event-history` in `trails` too, with `wait-for-events`, or run again later"
"""Remedy for late events of a trail, which the run does not wait for."""
_WATERMARK_EVENT = "GetCallerIdentity"
_LARGEST_SKEW = timedelta(minutes=5)
"""Most that this machine's clock may differ from AWS's (signatures fail beyond it)."""


def late_events_gap(
    newest: datetime | None, now: datetime, window: Window, remedy: str, scope: Scope
) -> Iterator[Gap]:
    """Yields a gap where the role was active a moment ago; `remedy` is the remedy, an
    imperative.
    """
    since = now - _DELIVERY_TIME
    if newest and newest > since and (window.end is None or window.end > since):
        detail = (
            f"the role made calls at {newest:%H:%M} UTC, and its newest events may not have been"
            " delivered: "
        )
        yield Gap(GapKind.EVENTS_LATE, scope, f"{detail}{remedy}")


def await_delivery(
    aws: Aws, regions: Sequence[str], wait: timedelta, every: float = _EVERY
) -> Iterator[Gap]:
    """Waits until a call made now is visible in the event history of each region, or until `wait`
    has passed.

    Yields a gap for each region where it is not visible, or that could not be queried.
    """
    time_marks: dict[str, _TimeMark] = {}
    """By region, while it does not show the call."""
    for region in regions:
        try:
            time_marks[region] = _made_time_mark(aws, region)
        except AwsError as error:
            # Reading the region will report invalid credentials.
            if error.kind is not AwsErrorKind.INVALID:
                yield _unknown_delivery(region, error)
    longest = wait.total_seconds()
    began = time.monotonic()
    while True:
        for region, time_mark in list(time_marks.items()):
            try:
                if _shows(aws, region, time_mark):
                    del time_marks[region]
            except AwsError as error:
                del time_marks[region]
                yield _unknown_delivery(region, error)
        passed = time.monotonic() - began
        if not time_marks or passed >= longest:
            break
        _log.info(
            f"Waiting for CloudTrail to deliver the newest events of {', '.join(time_marks)}: "
            f"{_minutes(passed)} of {_minutes(longest)} minutes"
        )
        time.sleep(min(every, longest - passed))
    for region in time_marks:
        yield _late(
            f"{region} had not delivered its newest events after {_minutes(longest)} minutes"
            " (`wait-for-events`)"
        )


class _TimeMark(NamedTuple):
    """A call of our own, the watermark, that the event history will show."""

    request_ids: frozenset[str]
    time: datetime
    """A moment before the call."""


def _made_time_mark(aws: Aws, region: str) -> _TimeMark:
    """Makes the call in a region; raises AwsError."""
    client = aws.client("sts", region)
    call_time = datetime.now(UTC)
    with translate_errors(f"writing the time mark in {region}", "sts:GetCallerIdentity"):
        answer = client.get_caller_identity()
    metadata = answer["ResponseMetadata"]
    # AWS returns equal ids in the response and its header, test servers sometimes do not.
    request_ids = (
        metadata.get("RequestId"),
        metadata.get("HTTPHeaders", {}).get("x-amzn-requestid"),
    )
    return _TimeMark(frozenset(filter(None, request_ids)), call_time)


def _shows(aws: Aws, region: str, time_mark: _TimeMark) -> bool:
    """Whether the event history of a region shows the call; raises AwsError."""
    client = aws.client("cloudtrail", region)
    window = Window(time_mark.time - _LARGEST_SKEW)
    for page in pages(client, Lookup("EventName", _WATERMARK_EVENT), window):
        for text in page.events:
            with suppress(ValueError, RecursionError, AttributeError, TypeError):
                if json.loads(text).get("requestID") in time_mark.request_ids:
                    return True
    return False


def _unknown_delivery(region: str, error: AwsError) -> Gap:
    return _late(f"whether {region} has delivered its newest events is not known: {error}")


def _late(detail: str) -> Gap:
    # The gap has no region: a late AssumeRole event hides calls of its session in other regions.
    return Gap(GapKind.EVENTS_LATE, Scope(), detail)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f}" if seconds >= 60 or not seconds else f"{seconds / 60:.1f}"
