"""The wrappings that tools put around CloudTrail records: EventBridge, lookup-events, Logstash … (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

# Each seen in published data sets, or written by the tool named.
_LISTS = ("Records", "Events", "logEvents", "hits")
"""A trail's file; lookup-events; CloudWatch Logs subscription; Elasticsearch."""
_OBJECTS = ("detail", "_source", "_raw", "hits", "cloudtrail")
"""EventBridge; Elasticsearch; Splunk."""
_TEXTS = ("CloudTrailEvent", "message", "_raw")
"""lookup-events; CloudWatch Logs and Logstash; Splunk."""
_DEPTH = 6


def unwrap(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """Give the records inside a value of a file; a value that wraps nothing known is given as it is."""
    if isinstance(value, str):
        value = _parsed(value)
    if depth == 0 or not isinstance(value, Mapping) or "eventName" in value:
        yield value
        return
    inner = _inner(value)
    if inner is None:
        yield value
        return
    for item in inner if isinstance(inner, list) else [inner]:
        yield from unwrap(item, depth - 1)


def _inner(value: Mapping[str, object]) -> object | None:
    for key in _LISTS:
        found = value.get(key)
        if isinstance(found, list):
            return found
    for key in _OBJECTS:
        found = value.get(key)
        if isinstance(found, Mapping):
            return found
    for key in _TEXTS:
        found = value.get(key)
        if isinstance(found, str) and (key == "CloudTrailEvent" or found.lstrip().startswith("{")):
            return found
    return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
