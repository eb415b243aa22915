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
_Content = tuple[bytes, bytes, str | None, bytes]
"""What else than its shape decides what a call needs: request, resources, error message, answer."""


class ReadOptions(Struct, frozen=True):
    """How log files are read."""

    window: Window
    principals: Principals
    survey: bool = True
    """Whether to count the coverage of all records; False: only the targets' calls count."""
    hashes: bool = False
    """Whether the content of each file is hashed."""
    is_apart: bool = False
    """Whether each file counts without the others: the cache stores it, or a digest decides."""
    has_decoder: bool = True
    """Whether the reader has AWS decode encoded denials; False: they count as they are."""
    most_kept: int = MOST_KEPT
    """Bytes of memory of the calls of which repeated ones are made."""


class _OtherCaller(Struct, eq=False):
    """A caller that is no target."""

    arn: str


class _Target(Struct, eq=False):
    """A target, with its sessions by ARN and principal id of the records."""

    caller: Caller
    sessions: dict[_Key, Caller] = {}

    def in_session(self, identity: DecodedIdentity) -> Caller:
        """Returns the target with the session of a record."""
        key = (identity.arn, identity.principalId)
        caller = self.sessions.get(key)
        if caller is None:
            if len(self.sessions) >= _REMEMBERED:
                self.sessions.clear()
            caller = self.caller.in_session(identity.arn or "", identity.principalId or "")
            self.sessions[key] = caller
        return caller


class _WholeRecord(Struct, eq=False):
    """The whole record decides who called, or whether it is a login."""


_WHOLE_RECORD = _WholeRecord()
_Kind = _Target | _OtherCaller | _WholeRecord | SkipReason
"""Who called: a target, another caller, or the reason why a record has no caller."""
_NOT_READ = (_OtherCaller, SkipReason)
"""Kinds of callers whose calls are not read."""


class _Shape(Struct, eq=False):
    """Records of one caller, event, region and error code, whatever their content."""

    repeats: bool
    """Whether equal calls are made from one; not where each call has another effect."""
    fields: EventFields | None = None
    """None until a record without an error message is read."""
    reads_answer: bool = False
    """Whether rules read the answer of such a call."""
    calls: dict[_Content, Call] = {}

    def fields_of(self, row: DecodedRecord) -> EventFields:
        """Returns the fields of a record that others of this shape share, but for an error
        message: there may be as many messages as there are records.
        """
        if row.errorMessage is not None:
            return EventFields.of(identity_fields(row))
        if self.fields is None:
            self.fields = EventFields.of(identity_fields(row))
        return self.fields

    def content_of(self, row: DecodedRecord, answer: bytes, *, can_wait: bool) -> _Content:
        """Returns the content of a record; of an answer that no rule reads only that it has one."""
        return (
            bytes(row.requestParameters),
            bytes(row.resources),
            row.errorMessage,
            answer if self.reads_answer or not can_wait else _HAS_ANSWER,
        )

    def forget_equal_answers(self) -> None:
        """Makes calls with another answer other calls."""
        self.reads_answer = True
        self.calls.clear()


class _RecordKind(Struct, eq=False):
    """Records that share all fields on which their coverage depends but the event name."""

    fields: _Key
    cover: CoverageCounter


class RecordReader:
    """Reads blocks for one set of targets. For one thread: files share its caches."""

    def __init__(self, options: ReadOptions) -> None:
        """Reads nothing yet."""
        self.options = options
        self._principals = options.principals
        self._names = target_name_search(options.principals)
        self.sought = None if options.survey else self._names
        """The search for the targets' names; `None` where all records are read."""
        self._is_bounded = options.window != Window()
        self._callers: dict[_Key, _Kind] = {}
        self._shapes: dict[_Key, _Shape] = {}
        self._kept = 0
        """Bytes in the shapes."""
        self._kinds_covered: dict[_Key, _RecordKind] = {}
        self._day = 0
        self._known: set[_Key] = set()
        """Kinds of records that were counted for this day since the last survey."""
        self._data_covers: dict[_Key, CoverageCounter] = {}
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
            times = _times(rows)
            if self._is_bounded:
                inside = list(map(self.options.window.contains, times))
                rows = list(compress(rows, inside))
                times = list(compress(times, inside))
            kinds = self._kinds(rows)
            items = [
                self._item(row, time, kind)
                for row, time, kind in zip(rows, times, kinds, strict=True)
                if type(kind) not in _NOT_READ
            ]
        except (ValueError, RecursionError):
            return None
        statistics.outside_window += row_count - len(rows)
        statistics.records += len(rows)
        if self.options.survey and rows:
            self._cover(rows, times, statistics)
        _count_other_callers(kinds, statistics)
        return _calls_and_gaps(items, statistics)

    def survey(self, statistics: ReadStatistics) -> None:
        """Adds the coverage of the records since the last call to the statistics."""
        for kind in self._kinds_covered.values():
            if kind.cover.days:
                kind.cover.add_to(statistics)
        self._forget_known()
        if len(self._kinds_covered) > _REMEMBERED:
            self._kinds_covered.clear()

    def _forget_known(self) -> None:
        self._known.clear()
        self._data_covers.clear()

    def _kinds(self, rows: Sequence[DecodedRecord]) -> list[_Kind]:
        """Returns who made the call of each record."""
        keys = list(map(_caller_key, rows))
        find = self._callers.get
        kinds = [find(key) or self._kind(row, key) for key, row in zip(keys, rows, strict=True)]
        if SkipReason.OTHER_CALLER in kinds:
            for number, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
                if kind is SkipReason.OTHER_CALLER and self._may_be_login(row):
                    kinds[number] = _WHOLE_RECORD
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
        """Finds who made the call of a record, and remembers it for records with the same key."""
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
        identity = row.userIdentity
        if identity is None:
            return _WHOLE_RECORD
        issuer = identity.sessionContext and identity.sessionContext.sessionIssuer
        name = (issuer and issuer.arn) or identity.arn or ""
        wants, in_account = self._principals.wants, self._principals.include
        caller = find_caller(identity_fields(row), wants, in_account)
        kind: _Kind = _WHOLE_RECORD
        if isinstance(caller, Caller):
            kind = _Target(caller)
        elif caller is SkipReason.NOT_WANTED:
            kind = _OtherCaller(without_session(name))
        elif isinstance(caller, SkipReason):
            kind = caller
        if len(key) != _SHORT or principal_of(name):
            self._callers[key] = kind
        return kind

    def _item(
        self, row: DecodedRecord, time: datetime, kind: _Kind
    ) -> Call | Gap | NoCall | SkipReason:
        if type(kind) is _Target:
            call = self._call(row, time, kind)
            if call is not None:
                return call
        # A field is missing or has a rare form.
        return parse_record(full_record(row), self._principals.wants, self._principals.include)

    def _call(self, row: DecodedRecord, time: datetime, target: _Target) -> Call | None:
        """Returns the call of a record; None where a field is missing or has a rare form."""
        identity = row.userIdentity
        if identity is None:
            return None
        caller = target.in_session(identity)
        shape = self._shape(row, target)
        answer = bytes(row.responseElements)
        can_wait = _can_wait(answer)
        content = shape.content_of(row, answer, can_wait=can_wait)
        equal_call = shape.calls.get(content)
        if equal_call and not shape.reads_answer and was_read(equal_call.response):
            # From now on, calls with another answer are other calls.
            shape.forget_equal_answers()
            content = shape.content_of(row, answer, can_wait=can_wait)
            equal_call = None
        if not equal_call:
            return self._new_call(row, time, caller, shape, content)
        return structs.replace(
            equal_call,
            event_id=row.eventID or "",
            session=caller.session,
            time=time,
            response=UndecodedAnswer(answer) if can_wait else equal_call.response,
            access_key=_access_key(identity),
        )

    def _new_call(
        self,
        row: DecodedRecord,
        time: datetime,
        caller: Caller,
        shape: _Shape,
        content: _Content,
    ) -> Call | None:
        """Returns the call of a record that is equal to no kept one."""
        fields = shape.fields_of(row)
        resources = decode_resource_arns(row.resources)
        if resources is None or not fields.source or not fields.name:
            return None
        answer = bytes(row.responseElements)
        call = fields.call(
            caller,
            access_key=_access_key(row.userIdentity),
            time=time,
            event_id=row.eventID or "",
            parameters=_object(row.requestParameters),
            response=UndecodedAnswer(answer)
            if _can_wait(answer)
            else _object(row.responseElements),
            resources=resources,
        )
        return self._kept_call(call, shape, content, answer) if shape.repeats else call

    def _kept_call(self, call: Call, shape: _Shape, content: _Content, answer: bytes) -> Call:
        """Keeps a call, so that equal ones are made from it, and returns it; a large one is not
        kept.
        """
        size = sum(map(len, filter(None, content)))
        if size > _LONGEST_KEPT:
            return call
        request, _, _, key_answer = content
        decoded_size = _SIZE_DECODED * (len(request) + len(key_answer))
        self._make_space(size + len(answer) + decoded_size)
        kept_call = structs.replace(call, repeats=Repeats(equal_answers=key_answer == answer))
        shape.calls[content] = kept_call
        return kept_call

    def _make_space(self, size: int) -> None:
        """Counts bytes that are kept, and drops all calls where they are too many."""
        self._kept += size + _SIZE_OF_CALL
        if self._kept > self.options.most_kept:
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
            self._forget_known()
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
        new_keys = set(keys) - self._known
        if new_keys:
            row_by_key = dict(zip(keys, rows, strict=True))
            for key in new_keys:
                self._cover_kind(key, row_by_key[key], day)
        if not self._data_covers:
            return
        for key, row in zip(keys, rows, strict=True):
            cover = self._data_covers.get(key)
            if cover is not None and row.resources is not NULL:
                cover.note_folders(day, row.eventName, self._folders_of(row))

    def _cover_kind(self, key: _Key, row: DecodedRecord, day: int) -> None:
        """Counts a kind of record for the first time on a day."""
        fields = key[:-1]
        kind = self._kinds_covered.get(fields)
        if kind is None:
            kind = _RecordKind(fields, CoverageCounter.of(identity_fields(row), self._principals))
            self._kinds_covered[fields] = kind
        cover = kind.cover
        cover.names.add(row.eventName)
        cover.days.add(day)
        # The keys of one kind share its texts, which saves memory.
        key = (*kind.fields, row.eventName)
        self._known.add(key)
        if cover.data and cover.own:
            self._data_covers[key] = cover

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


def _count_other_callers(kinds: Iterable[_Kind], statistics: ReadStatistics) -> None:
    counts = Counter([kind.arn for kind in kinds if type(kind) is _OtherCaller])
    for arn, count in counts.items():
        statistics.note_caller(arn, count)


def _calls_and_gaps(
    items: Sequence[Call | Gap | NoCall | SkipReason], statistics: ReadStatistics
) -> list[Call | Gap]:
    """Returns the calls and gaps among some items, and counts the records that are no calls."""
    calls_and_gaps = [item for item in items if type(item) is Call or type(item) is Gap]
    if len(calls_and_gaps) < len(items):
        for item in items:
            if isinstance(item, NoCall):
                statistics.note_no_call(item)
    return calls_and_gaps


def _times(rows: Iterable[DecodedRecord]) -> list[datetime]:
    """Returns the times of some records.

    Raises:
        ValueError: a time has another form than CloudTrail's, or no record can have it.
    """
    times = [datetime.fromisoformat(row.eventTime) for row in rows]
    if {time.tzinfo for time in times} - {UTC}:
        raise ValueError("a time is not in UTC")
    if times and not (is_possible_time(min(times)) and is_possible_time(max(times))):
        raise ValueError("a time is not possible")
    return times


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
    if identity is None:
        return ()
    kind = row.eventSource if row.eventType is None else row.eventType
    if identity.type in OTHER_TYPES:
        return identity.type, kind, row.eventCategory
    is_named_user = identity.type == "IAMUser" and bool(identity.arn)
    return (
        identity.sessionContext,
        identity.type,
        identity.accountId,
        identity.invokedBy,
        kind,
        row.eventCategory,
        row.sessionCredentialFromConsole,
        identity.arn,
        None if is_named_user else identity.principalId,
        None if is_named_user else identity.userName,
        None if identity.arn else row.awsRegion,
    )


def _access_key(identity: DecodedIdentity | None) -> str:
    """Returns the id of the access key that signed a call; empty where the record has none."""
    key = identity.accessKeyId if identity else None
    return key if key and is_access_key(key) else ""


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
