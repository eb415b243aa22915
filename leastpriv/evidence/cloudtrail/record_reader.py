"""Reads blocks of records into calls, gaps and statistics, equal to `record.py` but by type and with caches.

The caller and the coverage of a record are computed once for all records with equal fields. Where only the targets'
calls are read, a block without a target's name is not decoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress

from msgspec import Raw

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.caller import Caller, is_access_key, without_session
from leastpriv.evidence.cloudtrail.record import (
    ASSUME_ROLE,
    EMPTY_OBJECT,
    LOGIN_EVENTS,
    EventFields,
    SkipReason,
    find_caller,
    object_of,
    parse_record,
    resources_of,
)
from leastpriv.evidence.cloudtrail.record_blocks import (
    NULL,
    DecodedRecord,
    decode_block,
    decode_resource_arns,
    decode_value,
    full_record,
    identity_fields,
)
from leastpriv.evidence.cloudtrail.statistics import CoverageCounter, ReadStatistics
from leastpriv.evidence.coverage import folder_of
from leastpriv.models import Call, Gap

_NOT_WANTED = SkipReason.NOT_WANTED.value
_REMEMBERED = 2_000
"""Callers and kinds of records in the cache."""
# Other letters of a name may be escaped: Gson writes `=` as \\u003d.
_PLAIN = re.compile(r"[\w.-]{3,}", re.ASCII)


@dataclass(slots=True, eq=False)
class _OtherCaller:
    """A caller that is no target, with the number of its calls since the last survey."""

    arn: str
    count: int = 0


class RecordReader:
    """Reads blocks for one set of targets. For one thread."""

    def __init__(self, window: Window, principals: Principals, *, survey: bool = True) -> None:
        """`survey` False: only the targets' calls count, not the coverage of all records."""
        self.sought = None if survey else target_name_search(principals)
        """Whether bytes contain a target's name; `None` where all records are read."""
        self.window, self.principals = window, principals
        self._is_bounded = window != Window()
        self._survey = survey
        self._callers: dict[tuple[object, ...], Caller | _OtherCaller | str | None] = {}
        self._others_by_role: dict[str, _OtherCaller] = {}
        self._others: list[_OtherCaller] = []
        """Other callers with a call since the last survey."""
        self._shapes: dict[tuple[object, ...], EventFields] = {}
        self._covers: dict[tuple[object, ...], CoverageCounter] = {}
        self._touched: dict[tuple[object, ...], CoverageCounter] = {}
        self._folders: dict[bytes, tuple[str, ...]] = {}

    def read(self, block: bytes, statistics: ReadStatistics, *, checked: bool) -> list[Call | Gap] | None:
        """Returns the calls and gaps of a block in order; `None` and no counts where a record does not decode.

        `checked`: a checksum covers the bytes, so that records without a target's name need not be decoded.
        """
        rows = decode_block(block, self.sought if checked else None)
        if rows is None:
            return None
        held = len(rows)
        try:
            times = _times([row.eventTime for row in rows])
            if self._is_bounded:
                inside = [self.window.contains(time) for time in times]
                rows, times = list(compress(rows, inside)), list(compress(times, inside))
            found = list(map(self._examined, rows, times))
        except (ValueError, RecursionError):
            return None
        statistics.outside_window += held - len(rows)
        statistics.records += len(rows)
        if self._survey and rows:
            self._cover(rows, times, statistics)
        items = [item for item in found if type(item) is not _OtherCaller]
        if len(items) < len(found):
            statistics.skipped[_NOT_WANTED] += len(found) - len(items)
            for other, count in Counter([item for item in found if type(item) is _OtherCaller]).items():
                if not other.count:
                    self._others.append(other)
                other.count += count
        statistics.skipped.update([item for item in items if isinstance(item, str)])
        return [item for item in items if not isinstance(item, str | _OtherCaller)]

    def survey(self, statistics: ReadStatistics) -> None:
        """Adds the coverage of the records since the last call to the statistics."""
        for cover in self._touched.values():
            cover.add_to(statistics)
        self._touched.clear()
        for other in self._others:
            statistics.note_caller(other.arn, other.count)
            other.count = 0
        self._others.clear()
        if len(self._covers) > _REMEMBERED:
            self._covers.clear()

    def _examined(self, row: DecodedRecord, time: datetime) -> Call | Gap | _OtherCaller | str:
        identity = row.userIdentity
        if identity is None:
            return self._slowly(row)
        session = identity.sessionContext
        issuer = session and session.sessionIssuer
        arn = identity.arn
        # All fields that `find_caller` reads except the key, which differs for each session.
        key: tuple[object, ...] = (
            arn,
            issuer and issuer.arn,
            identity.type,
            identity.accountId,
            identity.principalId,
            identity.invokedBy,
            row.eventSource if row.eventType is None else row.eventType,
            row.eventCategory,
            row.sessionCredentialFromConsole,
            session and session.sessionCredentialFromConsole,
        )
        if not arn:
            key = (*key, identity.userName, row.awsRegion, issuer and issuer.userName)
        try:
            caller = self._callers[key]
        except KeyError:
            caller = self._callers[key] = self._caller(row)
        if type(caller) is Caller:
            return self._call(row, time, caller, identity.accessKeyId) or self._slowly(row)
        if type(caller) is _OtherCaller:
            return caller
        if caller is None or row.eventName in LOGIN_EVENTS or (row.eventName == ASSUME_ROLE and identity.invokedBy):
            return self._slowly(row)
        return caller  # type: ignore[return-value] # a reason

    def _call(self, row: DecodedRecord, time: datetime, caller: Caller, access_key: str | None) -> Call | None:
        """Returns the call; `None` where a field is missing or has a rare form."""
        shape = self._shape(row)
        resources = () if row.resources is NULL else decode_resource_arns(row.resources)
        if resources is None or not shape.source or not shape.name:
            return None
        content = (
            EMPTY_OBJECT if row.requestParameters == NULL else _object(row.requestParameters),
            EMPTY_OBJECT if row.responseElements == NULL else _object(row.responseElements),
            resources,
        )
        key = access_key if access_key and is_access_key(access_key) else ""
        return shape.call(caller, key, time, row.eventID or "", content)

    def _shape(self, row: DecodedRecord) -> EventFields:
        if row.errorMessage is not None:
            # There may be as many as there are records.
            return EventFields.of(identity_fields(row))
        key = (
            row.eventSource,
            row.eventName,
            row.awsRegion,
            row.readOnly,
            row.managementEvent,
            row.eventCategory,
            row.errorCode,
            row.omitted,
        )
        try:
            return self._shapes[key]
        except KeyError:
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            shape = self._shapes[key] = EventFields.of(identity_fields(row))
            return shape

    def _slowly(self, row: DecodedRecord) -> Call | Gap | str:
        found = parse_record(full_record(row), self.principals.wants, self.principals.include)
        return found.value if isinstance(found, SkipReason) else found

    def _caller(self, row: DecodedRecord) -> Caller | _OtherCaller | str | None:
        """Returns the caller, or why there is none; `None` where the whole record is needed for the reason."""
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
            self._others_by_role.clear()
        fields = identity_fields(row)
        found = find_caller(fields, self.principals.wants, self.principals.include)
        if found is SkipReason.NOT_WANTED:
            # A role may have many sessions: one counter for all of them.
            identity = row.userIdentity
            issuer = identity and identity.sessionContext and identity.sessionContext.sessionIssuer
            name = without_session((issuer and issuer.arn) or (identity and identity.arn) or "")
            return self._others_by_role.setdefault(name, _OtherCaller(name))
        return None if isinstance(found, Gap) else found.value if isinstance(found, SkipReason) else found

    def _cover(self, rows: list[DecodedRecord], times: list[datetime], statistics: ReadStatistics) -> None:
        first, last = min(times), max(times)
        statistics.note_times(first, last)
        if first.toordinal() == last.toordinal():
            self._cover_day(rows, first.toordinal())
            return
        days = list(map(datetime.toordinal, times))
        for day in sorted(set(days)):
            self._cover_day([row for row, other in zip(rows, days, strict=True) if other == day], day)

    def _cover_day(self, rows: list[DecodedRecord], day: int) -> None:
        """Counts each shape and event name once: most records of a block share them."""
        keys = [
            (
                row.eventSource,
                row.awsRegion,
                row.readOnly,
                row.managementEvent,
                row.eventCategory,
                row.recipientAccountId or _account(row),
                row.eventName,
            )
            for row in rows
        ]
        data: dict[tuple[object, ...], CoverageCounter] = {}
        for key, row in dict(zip(keys, rows, strict=True)).items():
            shape = key[:-1]
            cover = self._covers.get(shape)
            if cover is None:
                cover = self._covers[shape] = CoverageCounter.of(identity_fields(row), self.principals)
            self._touched[shape] = cover
            cover.names.add(row.eventName)
            cover.days.add(day)
            if cover.data and cover.own:
                data[key] = cover
        for row, key in zip(rows, keys, strict=True) if data else ():
            if row.resources is not NULL and key in data:
                data[key].note_folders(day, row.eventName, self._folders_of(row))

    def _folders_of(self, row: DecodedRecord) -> Iterable[str]:
        """Returns the folders of a data event's resources; those of objects in one folder are decoded once."""
        raw = bytes(row.resources)
        end = raw.rfind(b"/")
        start = raw.rfind(b":s3:::", 0, max(end, 0))
        is_object = start >= 0 and raw.find(b'"', start, end) < 0
        key = raw[:end] + raw[raw.find(b'"', end) :] if is_object else raw
        found = self._folders.get(key)
        if found is None:
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            found = self._folders[key] = tuple(map(folder_of, _resource_arns(row)))
        return found


def _account(row: DecodedRecord) -> tuple[str | None, str | None]:
    identity = row.userIdentity
    return (identity.accountId, identity.arn) if identity else (None, None)


def _resource_arns(row: DecodedRecord) -> Iterable[str]:
    found = decode_resource_arns(row.resources)
    return resources_of(decode_value(row.resources)) if found is None else found


def _object(raw: Raw) -> Mapping[str, object]:
    found = decode_value(raw)
    return found if type(found) is dict else object_of(found)


def _times(texts: list[str]) -> list[datetime]:
    """Parses times in CloudTrail's format; raises `ValueError` for others."""
    times = list(map(datetime.fromisoformat, texts))
    if {time.tzinfo for time in times} - {UTC}:
        raise ValueError(texts)
    return times


def target_name_search(principals: Principals) -> Callable[[bytes], object] | None:
    """Returns a test for the name of a target in bytes; `None` where all principals are read.

    Every ARN of a role or session has a slash before the name: searching from slash to slash takes a fourteenth of the
    time of a regular expression with ten names. Old records give a user by the name alone.
    """
    targets = principals.targets or frozenset()
    starts = [_PLAIN.match(each.name) for each in targets]
    names = sorted({start[0].encode() for start in starts if start}, reverse=True)
    if not names or not all(starts) or principals.patterns:
        return None
    have_slash = all(each.kind == "role" for each in targets)
    if len(names) == 1:
        name = b"/" + names[0] if have_slash else names[0]
        return lambda part: name in part
    return re.compile(b"/(?:%b)" % b"|".join(map(re.escape, names))).search if have_slash else None
