"""Reads the records of a file in any known format, one at a time: memory is limited by the largest
record.

CloudTrail's five-minute summaries of data events are read as signs of use, which keep a permission
and never add one. A summary counts event names, resources and callers of one service, grouped by
one of them ("CloudTrail record contents for aggregated events" and "Aggregating data events" of the
CloudTrail User Guide, read 2026-11-27). It shows neither which caller used which resource nor
whether AWS authorized the call, so that each use has an unknown outcome.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, product

from leastpriv.aws.arns import Principals, principal_of
from leastpriv.cloudtrail.caller import Caller
from leastpriv.cloudtrail.record import EMPTY_OBJECT, EventFields, event_time, object_of
from leastpriv.cloudtrail.record_blocks import DamagedFileError, first_piece
from leastpriv.models import AGGREGATED, Call

_TYPE = "AwsAggregatedEvent"
_EVENT = "eventName"
_RESOURCE = "resourceARN"
_CALLER = "userIdentity"
_MOST = 1_000
"""Uses of one summary."""


def is_aggregated(record: object) -> bool:
    """Whether a record is a summary of data events."""
    return isinstance(record, Mapping) and record.get("eventType") == _TYPE


def aggregated_calls(record: Mapping[str, object], principals: Principals) -> Iterator[Call]:
    """Yields a call with an unknown outcome for each event, resource and target that a summary may
    speak of.

    A summary without readable callers may speak of any target of its account.
    """
    window = object_of(record.get("timeWindow"))
    time = event_time({"eventTime": window.get("windowStart")})
    names_by_dimension = _names_by_dimension(object_of(record.get("summary")))
    event_names = names_by_dimension.get(_EVENT)
    if time is None or not event_names:
        return
    account = str(record.get("accountId") or "")
    callers = [
        Caller(arn, arn.split(":")[4], session="", invoked_by="", doubt=AGGREGATED)
        for arn in _targets_that_called(names_by_dimension.get(_CALLER, ()), account, principals)
    ]
    events = [_fields_of_event(record, event_name) for event_name in event_names]
    named_events = [fields for fields in events if fields.source and fields.name]
    resources = names_by_dimension.get(_RESOURCE) or [""]
    record_id = record.get("eventId") or ""
    uses = islice(product(callers, named_events, resources), _MOST)
    for number, (caller, fields, resource) in enumerate(uses, start=1):
        yield fields.call(
            caller,
            access_key="",
            time=time,
            event_id=f"{record_id}/{number}",
            parameters=EMPTY_OBJECT,
            response=EMPTY_OBJECT,
            resources=(resource,) if resource else (),
        )


def _names_by_dimension(summary: Mapping[str, object]) -> Mapping[str, Sequence[str]]:
    """Returns what a summary counts, by dimension: `{"eventName": ["GetObject", "PutObject"]}`."""
    details = summary.get("details")
    dimensions = [summary.get("primaryDimension")]
    if isinstance(details, list):
        dimensions += details
    names_by_dimension: dict[str, list[str]] = {}
    for counted in map(object_of, dimensions):
        dimension = str(counted.get("dimension") or "")
        names = names_by_dimension.setdefault(dimension, [])
        statistics = counted.get("statistics")
        if not isinstance(statistics, list):
            continue
        for statistic in statistics:
            name = object_of(statistic).get("name")
            if isinstance(name, str) and name:
                names.append(name)
    return names_by_dimension


def _targets_that_called(
    caller_names: Iterable[str], account: str, principals: Principals
) -> Sequence[str]:
    """Returns the ARNs of the targets among the callers of a summary, sorted; all targets of its
    account if it has no readable caller.
    """
    if principals.targets is None:
        return []
    callers = [caller for name in caller_names if (caller := principal_of(name))]
    if callers:
        return sorted({caller.arn for caller in callers if principals.wants(caller.arn)})
    return sorted({target.arn for target in principals.targets if target.account == account})


def _fields_of_event(summary_record: Mapping[str, object], event_name: str) -> EventFields:
    """Returns the fields that the calls of one event have in common."""
    # The category of the record is that of the summary, not that of its events.
    return EventFields.of(
        {**summary_record, "eventName": event_name, "eventCategory": "", "managementEvent": None}
    )


MAX_RECORD = 16 * 1024 * 1024
"""Characters of one JSON value: limits the effect of a quote that is never closed."""

_BLANK = re.compile(r"[ \t\r\n,\ufeff]*")
# The list of a whole file: a trail's file and the outputs of lookup-events and filter-log-events.
_LIST = re.compile(r'\{\s*"(?:Records|Events|events)"\s*:\s*\[')
_KEYS_OF_LIST = ("Records", "Events", "events")
# Outside a list a record begins a line: a program logs a text before it.
_NEXT_LINE = re.compile(r"(?<=\n)\{")
_BEGINS_LIST = re.compile(r'\[[ \t\r\n]*["{\[\]]')
_VALUE_STARTS = '{["'
"""With these a value begins outside a list, where programs log other texts."""
_IN_RECORD = "it is damaged or ends in the middle of a record"
# Bytes that are not UTF-8, as the decoder passes them on.
_INVALID = re.compile("[\udc80-\udcff]")
_DECODER = json.JSONDecoder(strict=False)

# Each format occurs in published data sets, or in the output of the named tool.
_LISTS = ("Records", "Events", "logEvents", "events", "results", "hits")
"""A trail's file; lookup-events; CloudWatch Logs: subscription, filter-log-events, Logs Insights;
Elasticsearch.
"""
_OBJECTS = ("detail", "_source", "_raw", "hits", "cloudtrail", "@message")
"""EventBridge; Elasticsearch; Splunk; Logs Insights where it exports JSON."""
_TEXTS = ("CloudTrailEvent", "message", "@message", "_raw")
"""lookup-events; CloudWatch Logs and Logstash; Logs Insights; Splunk."""
_WRAPPERS = ((_LISTS, list), (_OBJECTS, Mapping), (_TEXTS, str))
_LOGGER_FIELDS = frozenset({"level", "log.level", "levelname", "severity", "logger", "logger_name"})
"""Fields by which programs' loggers mark a line: its message is no record."""
_DEPTH = 6


def unwrap(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """Yields the records in a value of a file; an unknown value is passed on unchanged.

    A text is one whole record or none: programs log texts that contain records, and such a text is
    no call.
    """
    if isinstance(value, str):
        yield _record_in_text(value)
        return
    value = _row_as_object(value)
    wrapped = _wrapped(value) if depth else None
    if wrapped is None:
        yield value
        return
    for record in wrapped if isinstance(wrapped, list) else [wrapped]:
        yield from unwrap(record, depth - 1)


def _row_as_object(value: object) -> object:
    """Returns a row of Logs Insights, `[{"field": "@message", "value": "{…}"}]`, as an object;
    another value unchanged.
    """
    if not isinstance(value, list) or not value:
        return value
    if not all(isinstance(cell, Mapping) and "field" in cell for cell in value):
        return value
    return {str(cell["field"]): cell.get("value") for cell in value}


def _wrapped(value: object) -> object | None:
    """Returns the record in an object that another tool wrote, or the list of them; None where it
    has none.
    """
    if not isinstance(value, Mapping) or "eventName" in value:
        return None
    if not _LOGGER_FIELDS.isdisjoint(value):
        return None
    for keys, kind in _WRAPPERS:
        for key in keys:
            if isinstance(value.get(key), kind):
                inner: object = value[key]
                return inner
    return None


_CLAIMS_RECORD = re.compile(r'\s*\{\s*"eventVersion"')


def _record_in_text(text: str) -> object:
    """Decodes a text, such as the message of a log event, that is exactly one record as CloudTrail
    writes it.

    Returns:
        the record; an empty object if the text is no record; the text if it is a damaged or
        incomplete one.
    """
    try:
        record = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text if _CLAIMS_RECORD.match(text) else {}
    if is_aggregated(record):
        return record
    if _is_forwarded(record):
        record = record["detail"]
    if not isinstance(record, Mapping) or "eventName" not in record:
        return {}
    # S3 and DynamoDB notify programs of events with similar fields, from the source `aws:s3`.
    if not str(record.get("eventSource", ".amazonaws.com")).endswith(".amazonaws.com"):
        return {}
    # `parse_record` reports the other fields of a call if they are missing.
    is_incomplete = "userIdentity" in record and not {"eventVersion", "eventID"} <= record.keys()
    return text if is_incomplete else record


_FORWARDED = re.compile(r"AWS [A-Za-z ]+ via CloudTrail")
"""The `detail-type` of a record that EventBridge forwards ("AWS service events delivered via AWS
CloudTrail" of the EventBridge User Guide)."""


def _is_forwarded(event: object) -> bool:
    """Whether a value is an event of EventBridge with a record of CloudTrail.

    Programs cannot send events whose source begins with `aws.` (PutEvents of the EventBridge API
    reference).
    """
    return (
        isinstance(event, Mapping)
        and str(event.get("source", "")).startswith("aws.")
        and _FORWARDED.fullmatch(str(event.get("detail-type", ""))) is not None
        and isinstance(event.get("detail"), Mapping)
    )


def parse_values(pieces: Iterator[bytes], *, depth: int = 0) -> Iterator[object]:
    """Yields the JSON values of a file in order, whose bytes begin inside `depth` open brackets.

    The values are the elements of `{"Records": […]}` or of a list, one object per line, with the
    time before it in an export of CloudWatch Logs, or the messages in a table of Logs Insights.
    Raises DamagedFileError where the file is damaged behind the values before, or cannot be read.
    """
    texts = _texts(pieces)
    if depth:
        return _Scanner(texts, depth).values()
    first = next(texts)
    texts = chain([first], texts)
    if _TIME.match(first.lstrip("\ufeff")):
        return _messages_of_export(texts)
    header = first.partition("\n")[0].lstrip("\ufeff").strip()
    if _MESSAGE in [name.strip('"') for name in header.split(",")]:
        return _messages_of_table(texts)
    return _Scanner(texts, depth).values()


_MESSAGE = "@message"


# "Export log data to Amazon S3" of the CloudWatch Logs User Guide: an event begins with its time.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", re.ASCII)


def _messages_of_export(texts: Iterator[str]) -> Iterator[object]:
    """Yields the messages of a file that CloudWatch Logs exported; the lines of one event are one
    message.
    """
    message = ""
    for line in _lines(texts):
        time = _TIME.match(line)
        if not time:
            message += line
        else:
            if message:
                yield message
            message = line[time.end() :]
        if len(message) > MAX_RECORD:
            raise DamagedFileError("it has an event without an end")
    if message:
        yield message


def _messages_of_table(texts: Iterator[str]) -> Iterator[object]:
    """Yields the messages of a table that CloudWatch Logs Insights exported as CSV.

    Raises DamagedFileError where the table is damaged behind the messages before.
    """
    csv.field_size_limit(MAX_RECORD)
    rows = csv.DictReader(_lines(texts), strict=True)
    try:
        for row in rows:
            yield row.get(_MESSAGE) or ""
    except csv.Error as error:
        raise DamagedFileError(f"it is a damaged table ({error})") from error


def _lines(texts: Iterator[str]) -> Iterator[str]:
    """Yields the lines of a text that arrives in pieces."""
    unfinished_line = ""
    for text in texts:
        *whole_lines, unfinished_line = (unfinished_line + text.lstrip("\ufeff")).splitlines(
            keepends=True
        ) or [""]
        if unfinished_line.endswith("\n"):
            whole_lines.append(unfinished_line)
            unfinished_line = ""
        yield from whole_lines
        if len(unfinished_line) > MAX_RECORD:
            raise DamagedFileError("it is a table with an endless line")
    if unfinished_line:
        yield unfinished_line


class _Scanner:
    """Scans the text with one chunk and one record in memory."""

    def __init__(self, texts: Iterator[str], depth: int) -> None:
        self._texts = texts
        self._text = ""
        self._at = 0
        self._depth = depth
        self._ended = False
        self._broken = ""

    def values(self) -> Iterator[object]:
        if not self._skip_blank():
            raise self._damage("it is empty")
        while self._skip_blank():
            first = self._text[self._at]
            if self._is_bracket(first):
                continue
            if first == '"' and self._depth:
                yield from self._member()
            elif self._decode_element(first):
                yield self._value
            elif not self._next_line():
                raise self._damage(_IN_RECORD)
        if self._broken or self._depth:
            raise self._damage("it ends in the middle of a list")

    def _damage(self, fault: str) -> DamagedFileError:
        """Returns the first fault of the file: an earlier one, else this one."""
        return DamagedFileError(self._broken or fault)

    def _next_line(self) -> bool:
        """Outside a list, moves to the next object that begins a line; the file is damaged all the
        same.
        """
        if self._depth:
            return False
        self._broken = self._broken or _IN_RECORD
        self._at += 1
        while not (match := _NEXT_LINE.search(self._text, self._at)):
            # The last character may be the line end before it.
            self._at = max(self._at, len(self._text) - 1)
            if not self._fill_more():
                return False
        self._at = match.start()
        return True

    def _is_bracket(self, first: str) -> bool:
        """Moves over the start or the end of a list, or of an object that contains one."""
        if first in "]}":
            self._at += 1
            self._depth = max(self._depth - 1, 0)
            return True
        while len(self._text) - self._at < 64 and self._fill_more():
            pass
        if first == "[" and (self._depth or _BEGINS_LIST.match(self._text, self._at)):
            self._at += 1
            self._depth += 1
            return True
        match = _LIST.match(self._text, self._at)
        if not match:
            return False
        self._at = match.end()
        self._depth += 2
        return True

    def _member(self) -> Iterator[object]:
        """Skips a member of the object around the list; a string in a list is a value."""
        if not self._decode():
            raise self._damage(_IN_RECORD)
        key = self._value
        if not self._skip_blank() or self._text[self._at] != ":":
            yield key
            return
        self._at += 1
        is_list = self._skip_blank() and self._text[self._at] == "[" and key in _KEYS_OF_LIST
        if not is_list and not self._decode():
            raise self._damage(_IN_RECORD)

    def _decode_element(self, first: str) -> bool:
        """Decodes an element of a list; outside a list only an object, a list or a text."""
        return (self._depth > 0 or first in _VALUE_STARTS) and self._decode()

    def _decode(self) -> bool:
        """Decodes the value at this position, and reads on while it is incomplete; false where it
        is damaged.
        """
        while True:
            try:
                self._value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # A fault in the last characters may be the end of the chunk: `fals`, `\u00e`,
                # `-Infinit`.
                is_cut = (
                    error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 12
                )
                if is_cut and len(self._text) - self._at < MAX_RECORD and self._fill_more():
                    continue
                return False
            except (ValueError, RecursionError):
                return False
            if not self._text.isascii() and _INVALID.search(self._text, self._at, end):
                return False
            # A number or word may continue in the next chunk.
            if end == len(self._text) and self._text[end - 1] not in '}]"' and self._fill_more():
                continue
            self._at = end
            return True

    def _skip_blank(self) -> bool:
        """Moves to the next character that is not blank; false at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return True
            if not self._fill_more():
                return False

    def _fill_more(self) -> bool:
        if self._ended:
            return False
        try:
            self._text = self._text[self._at :] + next(self._texts)
        except StopIteration:
            self._ended = True
            return False
        except DamagedFileError as broken:
            self._ended = True
            self._broken = str(broken)
            return False
        self._at = 0
        return True


def _texts(pieces: Iterator[bytes]) -> Iterator[str]:
    first = first_piece(pieces)
    encoding = "utf-16" if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    errors = "replace" if encoding == "utf-16" else "surrogateescape"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    yield decoder.decode(first)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)
