"""`LookupEvents` in several regions at once: pages as they come, one thread a region, a bounded number held."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leastpriv.errors import AwsError, AwsTrouble, LeastprivError
from leastpriv.evidence.aws import Aws
from leastpriv.evidence.aws_errors import explained
from leastpriv.evidence.source import Window

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
    trouble: AwsTrouble = AwsTrouble.OTHER


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
            raise AwsError(f"The event history of {region} came in part only: {reason}.", AwsTrouble.INCOMPLETE)
        seen.add(token)
        arguments["NextToken"] = token


def _answer(client: Any, arguments: Mapping[str, object]) -> Mapping[str, Any]:
    """One page; one that breaks off is asked for again.

    botocore raises for some of these, and for others gives an answer without any of its members (seen with 1.44.8).
    """
    doing = f"reading the event history of {client.meta.region_name}"
    broken = AwsError(f"What answered while {doing} broke off, or is not AWS: run again later.", AwsTrouble.INCOMPLETE)
    for _ in range(_TRIES):
        try:
            with explained(doing, "cloudtrail:LookupEvents"):
                answer: Mapping[str, Any] = client.lookup_events(**arguments)
        except AwsError as error:
            if error.trouble is not AwsTrouble.INCOMPLETE:
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
            trouble = error.trouble if isinstance(error, AwsError) else AwsTrouble.OTHER
            last = Broken(self._region, str(error), trouble)
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
