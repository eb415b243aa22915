"""Fakes CloudWatch log groups of CloudTrail: events by time, in pages of which some are empty."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.aws.server import Asked, Operation, RefusedError

DELIVERED = timedelta(minutes=5)


@dataclass(slots=True)
class LogGroups:
    """The state: records of each log group, and the trails that deliver to them."""

    records: dict[str, Sequence[Mapping[str, Any] | str]]
    trails: Sequence[Mapping[str, Any]] = ()
    selectors: Mapping[str, Any] = field(default_factory=dict)
    page: int = 3

    def operations(self) -> dict[str, Operation]:
        """The operations for `FakeAws`."""
        return {
            "logs:FilterLogEvents": self._filter,
            "cloudtrail:DescribeTrails": lambda _: {"trailList": list(self.trails)},
            "cloudtrail:GetTrailStatus": lambda _: {
                "IsLogging": True,
                "StartLoggingTime": datetime.min.replace(year=2020),
            },
            "cloudtrail:GetEventSelectors": lambda _: self.selectors,
        }

    def _filter(self, asked: Asked) -> Mapping[str, Any]:
        told = asked.parameters
        identifier = told.get("logGroupIdentifier", "")
        name = told.get("logGroupName") or identifier.split(":")[6]
        if name not in self.records:
            raise RefusedError(
                "ResourceNotFoundException", "The specified log group does not exist."
            )
        events = [self._event(number, record) for number, record in enumerate(self.records[name])]
        first, last = told.get("startTime", 0), told.get("endTime", 2**62)
        events = [event for event in events if first <= event["timestamp"] < last]
        start = int(told.get("nextToken") or 0)
        # Every second page is empty, as pages may be.
        shown = events[start // 2 * self.page :][: self.page] if start % 2 else []
        more = (
            {"nextToken": str(start + 1)}
            if (start + 1) // 2 * self.page < len(events) or not start % 2
            else {}
        )
        return {"events": shown, "searchedLogStreams": [], **more}

    @staticmethod
    def _event(number: int, record: Mapping[str, Any] | str) -> dict[str, Any]:
        text = record if isinstance(record, str) else json.dumps(record, separators=(",", ":"))
        time = (
            datetime.fromisoformat(record["eventTime"]) + DELIVERED
            if isinstance(record, Mapping)
            else None
        )
        stamp = int(time.timestamp() * 1000) if time else 0
        return {
            "logStreamName": "s",
            "timestamp": stamp,
            "ingestionTime": stamp,
            "message": text,
            "eventId": str(number),
        }
