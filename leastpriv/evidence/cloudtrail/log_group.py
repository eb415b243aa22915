"""Reads calls from a CloudWatch log group to which a trail delivers, given as `log-group:NAME` or by its ARN.

CloudTrail delivers each record as one log event, and none above the largest size of a log event ("Sending CloudTrail
events to CloudWatch Logs" of the CloudTrail User Guide; FilterLogEvents of the CloudWatch Logs API reference, read
2026-11-27). What AWS denies or interrupts is a gap and does not end the run.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.errors import error_code, required_member
from leastpriv.aws.session import Aws, pages
from leastpriv.errors import AwsError, InputError
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator, FileReader, ReadOptions
from leastpriv.evidence.cloudtrail.file_store import DELIVERY_DELAY
from leastpriv.evidence.cloudtrail.lookup_events import WAIT_ADVICE, late_events_gap
from leastpriv.evidence.cloudtrail.s3_store import S3TrailOptions, failed_source_gap
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.cloudtrail.trail_config import described_trails, settings_gaps
from leastpriv.models import Call, Gap, Scope

_log = logging.getLogger(__name__)

PREFIX = "log-group:"
_ARN = re.compile(r"arn:[a-z-]+:logs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):log-group:(?P<name>[^:]+)(?::\*)?")
_TELL_EVERY = 50
"""Pages between two lines of progress."""


def is_log_group(trail: str) -> bool:
    """Whether a name in `trails` is a log group's."""
    return trail.startswith(PREFIX) or _ARN.fullmatch(trail) is not None


class LogGroup:
    """An evidence source: the records that a trail delivers to one log group."""

    def __init__(self, clients: Aws, named: str, options: S3TrailOptions) -> None:
        """`named`: `log-group:NAME` in the region of the credentials, or the group's ARN."""
        self.statistics = ReadStatistics()
        self._clients, self._named, self._options = clients, named, options
        known = _ARN.fullmatch(named)
        self._region = known["region"] if known else ""
        self._name = known["name"] if known else named.removeprefix(PREFIX)
        self._asked = {"logGroupIdentifier": named.removesuffix(":*")} if known else {"logGroupName": self._name}

    def __str__(self) -> str:
        """Name of the source in messages."""
        return self._named

    def read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        """Reads calls in the window, oldest first and deduplicated, and gaps; resets `statistics`."""
        self.statistics = ReadStatistics()
        return self._read(window.since(self._options.since), principals)

    def _read(self, window: Window, principals: Principals) -> Iterator[Call | Gap]:
        try:
            described = described_trails(self._clients.client("cloudtrail", self._region))
            trails = tuple(trail for trail in described if trail.log_group == self._name)
        except AwsError:
            # Reported as settings that are not known.
            trails = None
        settings = yield from settings_gaps(self._clients, self._named, ("", ()), trails, window)
        self.statistics.every_region, self.statistics.selected = settings
        seen = self._options.seen or EventDeduplicator()
        reader = FileReader(ReadOptions(window, principals, self._options.survey, self._options.max_decompressed))
        events = 0
        try:
            for number, messages in enumerate(self._pages(window), start=1):
                self.statistics.requests += 1
                events += len(messages)
                if number % _TELL_EVERY == 0:
                    _log.info(f"… {events:,} events of {self._named}")
                if messages:
                    # As a list of texts: each is one whole record or none.
                    text = json.dumps(messages).encode()
                    yield from reader.read(self._named, "", partial(BytesIO, text), self.statistics, seen)
                    self.statistics.files -= 1
        except AwsError as error:
            if error_code(error) == "ResourceNotFoundException":
                raise InputError(f"trails: there is no log group {self._name!r}: check name and region.") from error
            yield failed_source_gap(self._named, error)
            return
        finally:
            reader.records.survey(self.statistics)
        if events and not (self.statistics.records or self.statistics.outside_window):
            raise InputError(f"trails: the log group {self._name!r} holds no CloudTrail record: name another one.")
        if self._options.now:
            scope = Scope(data_events=self._options.waited)
            yield from late_events_gap(self.statistics.newest, self._options.now, window, WAIT_ADVICE, scope)

    def _pages(self, window: Window) -> Iterator[list[str]]:
        """Yields the messages of each page; a page may be empty though another follows."""
        doing = f"reading {self._named}"
        arguments: dict[str, Any] = dict(self._asked)
        if window.start:
            arguments["startTime"] = max(0, int(window.start.timestamp() * 1000))
        if window.end and window.end.year < datetime.max.year:
            # An event may be delivered, and stamped, later than its call was made.
            arguments["endTime"] = max(0, int((window.end + DELIVERY_DELAY).timestamp() * 1000))
        client = self._clients.client("logs", self._region)
        for page in pages(client, "filter_log_events", doing, "logs:FilterLogEvents", **arguments):
            yield [str(event.get("message") or "") for event in required_member(page, doing, "events")]
