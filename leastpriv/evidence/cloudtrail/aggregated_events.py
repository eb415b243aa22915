"""Reads CloudTrail's five-minute summaries of data events as signs of use, which keep a permission and never add one.

A summary counts event names, resources and callers of one service, grouped by one of them ("CloudTrail record contents
for aggregated events" and "Aggregating data events" of the CloudTrail User Guide, read 2026-11-27). It shows neither
which caller used which resource nor whether AWS authorized the call, so that each use has an unknown outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leastpriv.aws.arns import Principals, principal_of
from leastpriv.evidence.cloudtrail.caller import Caller
from leastpriv.evidence.cloudtrail.record import EMPTY_OBJECT, EventFields, event_time, object_of
from leastpriv.models import AGGREGATED, Call

_TYPE = "AwsAggregatedEvent"
_EVENT, _RESOURCE, _CALLER = "eventName", "resourceARN", "userIdentity"
_MOST = 1_000
"""Uses of one summary."""


def is_aggregated(record: object) -> bool:
    """Whether a record is a summary of data events."""
    return isinstance(record, Mapping) and record.get("eventType") == _TYPE


def aggregated_calls(record: Mapping[str, object], principals: Principals) -> Iterator[Call]:
    """Yields a call with an unknown outcome for each event, resource and target that a summary may speak of.

    A summary without readable callers may speak of any target of its account.
    """
    start = object_of(record.get("timeWindow")).get("windowStart")
    account, time = str(record.get("accountId") or ""), event_time({"eventTime": start})
    summary = object_of(record.get("summary"))
    details = summary.get("details")
    found: dict[str, tuple[str, ...]] = {}
    for each in (summary.get("primaryDimension"), *(details if isinstance(details, list) else ())):
        told = object_of(each)
        statistics = told.get("statistics")
        names = [object_of(one).get("name") for one in statistics] if isinstance(statistics, list) else []
        dimension = str(told.get("dimension") or "")
        found[dimension] = (*found.get(dimension, ()), *(name for name in names if isinstance(name, str) and name))
    if time is None or not found.get(_EVENT):
        return
    named = [principal_of(name) for name in found.get(_CALLER, ())]
    callers = {each.arn for each in named if each and principals.targets is not None and principals.wants(each.arn)}
    if not any(named) and principals.include(account):
        callers |= {each.arn for each in principals.targets or () if each.account == account}
    number = 0
    for principal in sorted(callers):
        caller = Caller(principal, principal.split(":")[4], "", "", AGGREGATED)
        for name in found[_EVENT]:
            shape = EventFields.of({**record, "eventName": name, "eventCategory": "", "managementEvent": None})
            if not (shape.source and shape.name):
                continue
            for resource in found.get(_RESOURCE) or ("",):
                number += 1
                if number > _MOST:
                    return
                content = (EMPTY_OBJECT, EMPTY_OBJECT, (resource,) if resource else ())
                yield shape.call(caller, "", time, f"{record.get('eventId') or ''}/{number}", content)
