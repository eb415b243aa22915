"""Reads blocks of records into calls, gaps and statistics, equal to `record.py` but by type and
with caches.

The caller and the coverage of a record are computed once for all records with equal fields. A call
whose caller, event, request, resources and error are those of an earlier one is made from that one,
so that no field of it is decoded or mapped again. Where only the targets' calls are read, a block
without a target's name is not decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import compress

from msgspec import Raw, Struct, structs

from leastpriv.aws.arns import Principals, Window, principal_of
from leastpriv.cloudtrail.caller import (
    OTHER_TYPES,
    Caller,
    is_access_key,
    without_session,
    workload_services,
)
from leastpriv.cloudtrail.coverage import folder_of
from leastpriv.cloudtrail.record import (
    ASSUME_ROLE,
    EMPTY_OBJECT,
    LOGIN_EVENTS,
    EventFields,
    NoCall,
    SkipReason,
    find_caller,
    is_possible_time,
    object_of,
    parse_record,
    resources_of,
)
from leastpriv.cloudtrail.record_blocks import (
    NULL,
    DecodedIdentity,
    DecodedRecord,
    UndecodedAnswer,
    decode_block,
    decode_resource_arns,
    decode_value,
    full_record,
    has_name,
    identity_fields,
    target_name_search,
    was_read,
)
from leastpriv.cloudtrail.statistics import CoverageCounter, ReadStatistics
from leastpriv.models import Call, Gap, Repeats
from leastpriv.permissions.request import creates
from leastpriv.permissions.tool_lifecycle import program_of

_NOT_WANTED, _OTHER = SkipReason.NOT_WANTED.value, SkipReason.OTHER_CALLER.value
_REMEMBERED = 4_000
"""Callers and kinds of records in the cache."""
MOST_KEPT = 48 * 1024 * 1024
"""Bytes of memory of the calls of which repeated ones are made, by the estimates below."""
_SIZE_OF_CALL = 1_500
"""Bytes of such a call, of its key and of where it counts, besides its content."""
_SIZE_DECODED = 8
"""Bytes of a decoded request or answer for each byte of its JSON."""
_LONGEST_KEPT = 2_048
"""Bytes of the content of such a call: request, resources, message and answer."""
_LONGEST_UNDECODED = 4_000
"""Bytes of an answer that is decoded when a rule reads it: a shorter one has no number that is too
long.
"""
_MOST_BRACKETS = 200
"""Brackets of such an answer: with fewer it is not nested too deeply."""
_SHORT = 7
"""Fields in the key of a caller whose role the record names."""
_STS = "sts.amazonaws.com"
_WITH_MEMBER = b'{"'
_ESCAPE = b"\\"
_HAS_ANSWER = b"{"
"""Part of a key: any answer with a member."""
_KNOWN_KEYS = 20_000
"""Kinds of records of one day, by event name, that were counted already."""

_Key = tuple[object, ...]


class _OtherCaller(Struct, eq=False):
    """A caller that is no target, with the number of its calls since the last survey."""

    arn: str
    count: int = 0


class _Target(Struct, eq=False):
    """A target, with its sessions by ARN and principal id of the records."""

    caller: Caller
    sessions: dict[tuple[str | None, str | None], Caller] = {}


class _Shape(Struct, eq=False):
    """Records of one caller, event, region and error code, whatever their content."""

    repeats: bool
    """Whether equal calls are made from one; not where each call has another effect."""
    fields: EventFields | None = None
    """None until a record without an error message is read."""
    reads_answer: bool = False
    """Whether rules read the answer of such a call."""
    calls: dict[_Key, Call] = {}
    """What else decides what a call needs -> one of the calls."""


_Kind = _Target | _OtherCaller | str | object
_SLOW = object()
"""The whole record decides who called, or whether it is a login."""


class RecordReader:
    """Reads blocks for one set of targets. For one thread."""

    def __init__(
        self,
        window: Window,
        principals: Principals,
        *,
        survey: bool = True,
        most_kept: int = MOST_KEPT,
    ) -> None:
        """Reads nothing yet.

        Args:
            window: the records that count.
            principals: whose calls are returned.
            survey: False: only the targets' calls count, not the coverage of all records.
            most_kept: bytes of memory of the calls of which repeated ones are made.
        """
        self._most_kept = most_kept
        self._names = target_name_search(principals)
        self.sought = None if survey else self._names
        """The search for the targets' names; `None` where all records are read."""
        self.window, self.principals = window, principals
        self._is_bounded = window != Window()
        self._survey = survey
        self._callers: dict[_Key, _Kind] = {}
        self._others_by_role: dict[str, _OtherCaller] = {}
        self._others: list[_OtherCaller] = []
        """Other callers with a call since the last survey."""
        self._shapes: dict[_Key, _Shape] = {}
        self._kept = 0
        """Bytes in the shapes."""
        self._covers: dict[_Key, tuple[_Key, CoverageCounter]] = {}
        self._touched: dict[_Key, CoverageCounter] = {}
        self._day = 0
        self._known: set[_Key] = set()
        """Kinds of records that were counted for this day since the last survey."""
        self._data: dict[_Key, CoverageCounter] = {}
        """The data events among them."""
        self._folders: dict[bytes, tuple[str, ...]] = {}

    def read(
        self, block: bytes, statistics: ReadStatistics, *, checked: bool
    ) -> list[Call | Gap] | None:
        """Returns the calls and gaps of a block in order; `None` and no counts where a record does
        not decode.

        `checked`: a checksum covers the bytes, so that records without a target's name need not be
        decoded.
        """
        rows = decode_block(block, self.sought if checked else None)
        if rows is None:
            return None
        row_count = len(rows)
        try:
            texts = [row.eventTime for row in rows]
            times = list(map(datetime.fromisoformat, texts))
            if {time.tzinfo for time in times} - {UTC}:
                raise ValueError(texts)
            if times and not (is_possible_time(min(times)) and is_possible_time(max(times))):
                raise ValueError(texts)
            if self._is_bounded:
                inside = list(map(self.window.contains, times))
                rows, times = list(compress(rows, inside)), list(compress(times, inside))
            kinds = self._kinds(rows)
            read_items = [
                self._item(row, time, kind)
                for row, time, kind in zip(rows, times, kinds, strict=True)
                if type(kind) is not _OtherCaller and type(kind) is not str
            ]
        except (ValueError, RecursionError):
            return None
        statistics.outside_window += row_count - len(rows)
        statistics.records += len(rows)
        if self._survey and rows:
            self._cover(rows, times, statistics)
        for kind, count in Counter(kinds).items():
            if isinstance(kind, _OtherCaller):
                statistics.skipped[_NOT_WANTED] += count
                if not kind.count:
                    self._others.append(kind)
                kind.count += count
            elif isinstance(kind, str):
                statistics.skipped[kind] += count
        calls_and_gaps: list[Call | Gap] = []
        for read_item in read_items:
            if isinstance(read_item, str):
                statistics.skipped[read_item] += 1
            elif isinstance(read_item, NoCall):
                statistics.note_no_call(read_item)
            else:
                calls_and_gaps.append(read_item)
        return calls_and_gaps

    def survey(self, statistics: ReadStatistics) -> None:
        """Adds the coverage of the records since the last call to the statistics."""
        for cover in self._touched.values():
            cover.add_to(statistics)
        self._touched.clear()
        self._known.clear()
        for other_reader in self._others:
            statistics.note_caller(other_reader.arn, other_reader.count)
            other_reader.count = 0
        self._others.clear()
        if len(self._covers) > _REMEMBERED:
            self._covers.clear()

    def _kinds(self, rows: Sequence[DecodedRecord]) -> list[_Kind]:
        """Returns the caller of each record: a target, another caller, or the reason why it has
        none.
        """
        keys = list(map(_caller_key, rows))
        find = self._callers.get
        kinds = [find(key) or self._kind(row, key) for key, row in zip(keys, rows, strict=True)]
        if _OTHER in kinds:
            return [
                _SLOW if kind == _OTHER and self._may_be_login(row) else kind
                for kind, row in zip(kinds, rows, strict=True)
            ]
        return kinds

    def _may_be_login(self, row: DecodedRecord) -> bool:
        """Whether a caller outside of AWS, or a service, may get the keys of a target's role by the
        call, as by `AssumeRoleWithWebIdentity`: only then is its whole record parsed.
        """
        if row.eventName == ASSUME_ROLE:
            service = (row.userIdentity and row.userIdentity.invokedBy) or ""
            if service.removesuffix(".cn") not in workload_services():
                return False
        elif row.eventName not in LOGIN_EVENTS:
            return False
        # The request or the response names the role.
        return not self._names or any(
            has_name(self._names, bytes(raw))
            for raw in (row.requestParameters, row.responseElements)
        )

    def _kind(self, row: DecodedRecord, key: _Key) -> _Kind:
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
            self._others_by_role.clear()
        identity = row.userIdentity
        issuer = identity and identity.sessionContext and identity.sessionContext.sessionIssuer
        name = (issuer and issuer.arn) or (identity and identity.arn) or ""
        caller = find_caller(identity_fields(row), self.principals.wants, self.principals.include)
        kind: _Kind = _SLOW
        if isinstance(caller, Caller):
            kind = _Target(caller)
        elif caller is SkipReason.NOT_WANTED and identity:
            # A role may have many sessions: one counter for all of them.
            role = without_session(name)
            kind = self._others_by_role.setdefault(role, _OtherCaller(role))
        elif isinstance(caller, SkipReason) and identity:
            kind = caller.value
        if len(key) != _SHORT or principal_of(name):
            self._callers[key] = kind
        return kind

    def _item(self, row: DecodedRecord, time: datetime, kind: object) -> Call | Gap | NoCall | str:
        identity = row.userIdentity
        if type(kind) is _Target and identity:
            session_caller = kind.sessions.get((identity.arn, identity.principalId))
            call = self._call(row, time, kind, session_caller or _session(kind, identity))
            if call is not None:
                return call
        # A field is missing or has a rare form.
        parsed = parse_record(full_record(row), self.principals.wants, self.principals.include)
        return parsed.value if isinstance(parsed, SkipReason) else parsed

    def _call(
        self, row: DecodedRecord, time: datetime, target: _Target, caller: Caller
    ) -> Call | None:
        """Returns the call of a record; None where a field is missing or has a rare form."""
        identity = row.userIdentity
        key = (identity and identity.accessKeyId) or ""
        access_key = key if key and is_access_key(key) else ""
        shape = self._shape(row, target)
        answer = bytes(row.responseElements)
        is_undecoded = _can_wait(answer)
        content = (
            bytes(row.requestParameters),
            bytes(row.resources),
            row.errorMessage,
            answer if shape.reads_answer or not is_undecoded else _HAS_ANSWER,
        )
        known_call = shape.calls.get(content)
        if known_call is not None:
            if shape.reads_answer or not was_read(known_call.response):
                return structs.replace(
                    known_call,
                    event_id=row.eventID or "",
                    session=caller.session,
                    time=time,
                    response=UndecodedAnswer(answer) if is_undecoded else known_call.response,
                    access_key=access_key,
                )
            shape.reads_answer = True
            shape.calls.clear()
            content = (*content[:3], answer)
        fields = shape.fields
        if row.errorMessage is not None or fields is None:
            # There may be as many messages as there are records.
            fields = EventFields.of(identity_fields(row))
            shape.fields = fields if row.errorMessage is None else shape.fields
        resources = decode_resource_arns(row.resources)
        if resources is None or not fields.source or not fields.name:
            return None
        response = UndecodedAnswer(answer) if is_undecoded else _object(row.responseElements)
        call = fields.call(
            caller,
            access_key,
            time,
            row.eventID or "",
            (_object(row.requestParameters), response, resources),
        )
        size = sum(map(len, filter(None, content)))
        if shape.repeats and size <= _LONGEST_KEPT:
            call = structs.replace(call, repeats=Repeats(equal_answers=content[3] == answer))
            decoded = len(content[0]) + len(content[3])
            self._make_space(size + len(answer) + _SIZE_DECODED * decoded)
            shape.calls[content] = call
        return call

    def _make_space(self, size: int) -> None:
        """Counts bytes that are kept, and drops all calls where they are too many."""
        self._kept += size + _SIZE_OF_CALL
        if self._kept > self._most_kept:
            self._shapes.clear()
            self._kept = 0

    def _shape(self, row: DecodedRecord, target: _Target) -> _Shape:
        key = (
            target,
            row.eventSource,
            row.eventName,
            row.awsRegion,
            row.readOnly,
            row.managementEvent,
            row.eventCategory,
            row.errorCode,
            row.omitted,
            program_of(row.userAgent or ""),
        )
        shape = self._shapes.get(key)
        if shape is None:
            self._make_space(0)
            # A call to AWS STS may issue a key, and one that creates has another id in its answer.
            repeats = row.eventSource != _STS and not creates(row.eventName)
            shape = self._shapes[key] = _Shape(repeats)
        return shape

    def _cover(
        self, rows: Sequence[DecodedRecord], times: list[datetime], statistics: ReadStatistics
    ) -> None:
        first, last = min(times), max(times)
        statistics.note_times(first, last)
        if first.toordinal() == last.toordinal():
            self._cover_day(rows, first.toordinal())
            return
        days = list(map(datetime.toordinal, times))
        for day in sorted(set(days)):
            self._cover_day(
                [row for row, row_day in zip(rows, days, strict=True) if row_day == day], day
            )

    def _cover_day(self, rows: Sequence[DecodedRecord], day: int) -> None:
        """Counts each kind of record and event name once a day: most records share them."""
        if day != self._day or len(self._known) > _KNOWN_KEYS:
            self._day = day
            self._known.clear()
        if not self._known:
            self._data.clear()
        keys: list[_Key] = [
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
        fresh = set(keys) - self._known
        if fresh:
            by_key = dict(zip(keys, rows, strict=True))
            for key in fresh:
                self._cover_kind(key, by_key[key], day)
        data_events = self._data
        if data_events:
            for row, cover in [
                (row, data_events[key])
                for key, row in zip(keys, rows, strict=True)
                if key in data_events
            ]:
                if row.resources is not NULL:
                    cover.note_folders(day, row.eventName, self._folders_of(row))

    def _cover_kind(self, key: _Key, row: DecodedRecord, day: int) -> None:
        shape, cover = self._covers.get(key[:-1], (key[:-1], None))
        if cover is None:
            cover = CoverageCounter.of(identity_fields(row), self.principals)
            self._covers[shape] = shape, cover
        self._touched[shape] = cover
        # The texts of one shape are shared by all its keys.
        key = (*shape, row.eventName)
        self._known.add(key)
        cover.names.add(row.eventName)
        cover.days.add(day)
        if cover.data and cover.own:
            self._data[key] = cover

    def _folders_of(self, row: DecodedRecord) -> Iterable[str]:
        """Returns the folders of a data event's resources; those of objects in one folder are
        decoded once.
        """
        raw = bytes(row.resources)
        end = raw.rfind(b"/")
        start = raw.rfind(b":s3:::", 0, max(end, 0))
        is_object = start >= 0 and raw.find(b'"', start, end) < 0
        key = raw[:end] + raw[raw.find(b'"', end) :] if is_object else raw
        folders = self._folders.get(key)
        if folders is None:
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            arns = decode_resource_arns(row.resources)
            folders = tuple(
                map(folder_of, resources_of(decode_value(row.resources)) if arns is None else arns)
            )
            self._folders[key] = folders
        return folders


def _session(target: _Target, identity: DecodedIdentity) -> Caller:
    if len(target.sessions) >= _REMEMBERED:
        target.sessions.clear()
    caller = target.caller.in_session(identity.arn or "", identity.principalId or "")
    target.sessions[identity.arn, identity.principalId] = caller
    return caller


def _caller_key(row: DecodedRecord) -> _Key:
    """Returns the key under which the result of `find_caller` is kept: one for all sessions of a
    role that the record names, as `arn:aws:iam::123456789012:role/ci-deploy`.
    """
    identity = row.userIdentity
    # Of the session only the role that issued it and the sign-in to the console are decoded.
    session = identity.sessionContext if identity else None
    if not identity or not session or not session.sessionIssuer or not session.sessionIssuer.arn:
        return _other_key(row)
    return (
        session,
        identity.type,
        identity.accountId,
        identity.invokedBy,
        row.eventSource if row.eventType is None else row.eventType,
        row.eventCategory,
        row.sessionCredentialFromConsole,
    )


def _other_key(row: DecodedRecord) -> _Key:
    """Returns the key of a caller that is no session of a named role, as a user or a service: all
    fields that `find_caller` reads.
    """
    identity = row.userIdentity
    kind = row.eventSource if row.eventType is None else row.eventType
    if identity is None:
        return ()
    if identity.type in OTHER_TYPES:
        return identity.type, kind, row.eventCategory
    return (
        identity.sessionContext,
        identity.type,
        identity.accountId,
        identity.invokedBy,
        kind,
        row.eventCategory,
        row.sessionCredentialFromConsole,
        identity.arn,
        None
        if identity.arn and identity.type == "IAMUser"
        else (identity.principalId, identity.userName),
        None if identity.arn else row.awsRegion,
    )


def _account(row: DecodedRecord) -> tuple[str | None, str | None]:
    identity = row.userIdentity
    return (identity.accountId, identity.arn) if identity else (None, None)


def _can_wait(answer: bytes) -> bool:
    """Whether an answer has a member, and decodes without an error when a rule reads it."""
    return (
        answer[:2] == _WITH_MEMBER
        and len(answer) <= _LONGEST_UNDECODED
        and _ESCAPE not in answer
        and answer.count(b"[") + answer.count(b"{") < _MOST_BRACKETS
    )


def _object(raw: Raw) -> Mapping[str, object]:
    if raw == NULL:
        return EMPTY_OBJECT
    value = decode_value(raw)
    return value if type(value) is dict else object_of(value)
