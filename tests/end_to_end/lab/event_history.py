"""Answers cloudtrail:LookupEvents: the last management events of a region, newest first."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Record = Mapping[str, Any]

_PAGE = 50


class LookupRefusedError(Exception):
    """A request that LookupEvents rejects; `code` is the error's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def lookup(records: Sequence[Record], region: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One page of the event history.

    `records` are all delivered ones, oldest first. The token holds the position in the history, so
    that records delivered between two pages shift nothing.

    Raises:
        LookupRefusedError: a token of another request, more than one attribute, or a range that
            ends before it begins.
    """
    attributes = asked.get("LookupAttributes") or []
    if len(attributes) > 1:
        raise LookupRefusedError(
            "InvalidLookupAttributesException", "You can specify only one lookup attribute."
        )
    start, end = _time(asked.get("StartTime")), _time(asked.get("EndTime"))
    if start is not None and end is not None and start > end:
        raise LookupRefusedError(
            "InvalidTimeRangeException", "Start time cannot be after end time."
        )
    size = int(asked.get("MaxResults") or _PAGE)
    if not 1 <= size <= _PAGE:
        raise LookupRefusedError(
            "InvalidMaxResultsException", f"{size} is not a valid value for MaxResults."
        )
    question = json.dumps([attributes, start, end, asked.get("EventCategory")], default=str)
    before = _read_token(str(asked.get("NextToken") or ""), question, len(records))
    page: list[dict[str, Any]] = []
    position = before
    while position > 0 and len(page) <= size:
        position -= 1
        record = records[position]
        if _fits(record, region, attributes, start, end, asked.get("EventCategory")):
            page.append(_event(record) | {"_position": position})
    answer: dict[str, Any] = {"Events": page[:size]}
    if len(page) > size:
        answer["NextToken"] = _token(page[size - 1]["_position"], question)
    for event in page:
        del event["_position"]
    return answer


def _fits(
    record: Record, region: str, attributes: Sequence[Mapping[str, str]], start: float | None, end: float | None,
    category: object,
) -> bool:  # fmt: skip
    if record["awsRegion"] != region or not record["managementEvent"] or category:
        return False
    when = _seconds(record)
    if (start is not None and when < start) or (end is not None and when > end):
        return False
    return all(
        _ATTRIBUTES[each["AttributeKey"]](record, each["AttributeValue"]) for each in attributes
    )


_ATTRIBUTES: Mapping[str, Callable[[Record, str], bool]] = {
    "EventId": lambda record, value: record["eventID"] == value,
    "EventName": lambda record, value: record["eventName"] == value,
    "EventSource": lambda record, value: record["eventSource"] == value,
    "ReadOnly": lambda record, value: str(record["readOnly"]).lower() == value.lower(),
    "AccessKeyId": lambda record, value: record["userIdentity"].get("accessKeyId") == value,
    "Username": lambda record, value: user_name(record) == value,
    "ResourceName": lambda record, value: any(
        value in (each["ResourceName"],) for each in _resources(record)
    ),
    "ResourceType": lambda record, value: any(
        each.get("ResourceType") == value for each in _resources(record)
    ),
}


def user_name(record: Record) -> str:
    """The user's or the session's name."""
    identity = record["userIdentity"]
    if identity.get("type") == "AssumedRole":
        return str(identity["arn"]).rpartition("/")[2]
    return str(identity.get("userName") or ("root" if identity.get("type") == "Root" else ""))


def _event(record: Record) -> dict[str, Any]:
    event = {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": str(record["readOnly"]).lower(),
        "EventTime": _seconds(record),
        "EventSource": record["eventSource"],
        "Username": user_name(record),
        "Resources": _resources(record),
        "CloudTrailEvent": json.dumps(record),
    }
    key = record["userIdentity"].get("accessKeyId")
    return event | ({"AccessKeyId": key} if key else {})


def _resources(record: Record) -> list[dict[str, str]]:
    found = []
    for each in record.get("resources", []):
        name = each.get("ARN", "")
        found.append(
            {"ResourceName": name, **({"ResourceType": each["type"]} if "type" in each else {})}
        )
    return found


def _seconds(record: Record) -> float:
    return datetime.fromisoformat(str(record["eventTime"])).timestamp()


def _time(value: object) -> float | None:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int | float | str) and value != "" else None


def _token(position: int, question: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([position, question]).encode()).decode()


def _read_token(token: str, question: str, newest: int) -> int:
    if not token:
        return newest
    try:
        position, asked = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise LookupRefusedError("InvalidNextTokenException", "Invalid token.") from error
    if asked != question:
        raise LookupRefusedError(
            "InvalidNextTokenException", "The request parameters do not match those of the token."
        )
    return int(position)
