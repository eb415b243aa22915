"""Blocks of records -> calls, gaps and figures, as `event.py` would read them one by one, but by types and from memory.

Who called, and what a record tells of the evidence, is worked out once for all records that are alike in the fields it
depends on. A block that holds none of the targets' names is not even decoded where only their calls are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import compress

from msgspec import Raw

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.record import (
    NOTHING,
    Caller,
    NotACall,
    Shape,
    examine,
    is_access_key,
    object_of,
    whose,
)
from leastpriv.evidence.cloudtrail.record_blocks import NULL, Row, arns_of, record_of, rows_of, told_of, value_of
from leastpriv.evidence.cloudtrail.statistics import Cover, ReadStatistics
from leastpriv.models import Call, Gap

_REMEMBERED = 2_000
"""Callers, and kinds of records, that are kept."""
# A name's other letters may be written as escapes: Gson writes `=` as \\u003d.
_PLAIN = re.compile(r"[\w.-]{3,}", re.ASCII)


class RowReader:
    """Reads blocks for one set of targets. For one thread."""

    def __init__(self, window: Window, principals: Principals, *, survey: bool = True) -> None:
        """`survey` False: only the targets' calls count, not what records of anybody tell of the evidence."""
        self.sought = None if survey else finder(principals)
        """Whether bytes hold a target's name; `None` where all records are to be read."""
        self.window, self.principals = window, principals
        self._is_bounded = window != Window()
        self._survey = survey
        self._callers: dict[tuple[object, ...], Caller | str | None] = {}
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._covers: dict[tuple[object, ...], Cover] = {}
        self._touched: list[Cover] = []

    def read(self, block: bytes, figures: ReadStatistics, *, checked: bool) -> list[Call | Gap] | None:
        """Calls and gaps of a block in order; `None`, and nothing counted, where some record of it is no row.

        `checked`: a checksum vouches for the bytes, so that records without a target's name need not be decoded.
        """
        rows = rows_of(block, self.sought if checked else None)
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
        figures.outside_window += held - len(rows)
        figures.records += len(rows)
        if self._survey:
            self._cover(rows, times)
        items = [item for item in found if not isinstance(item, str)]
        if len(items) < len(found):
            figures.skipped.update([item for item in found if isinstance(item, str)])
        return items

    def survey(self, figures: ReadStatistics) -> None:
        """Adds what the records since the last time told of the evidence."""
        for cover in self._touched:
            cover.pour(figures)
        self._touched.clear()
        if len(self._covers) > _REMEMBERED:
            self._covers.clear()

    def _examined(self, row: Row, time: datetime) -> Call | Gap | str:
        identity = row.userIdentity
        if identity is None:
            return self._slowly(row)
        session = identity.sessionContext
        issuer = session and session.sessionIssuer
        arn = identity.arn
        # All that `whose` reads of a record but for the key, of which there is one for each session.
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
            key = (*key, identity.userName, row.awsRegion)
        try:
            caller = self._callers[key]
        except KeyError:
            caller = self._callers[key] = self._caller(row)
        if type(caller) is Caller:
            return self._call(row, time, caller, identity.accessKeyId) or self._slowly(row)
        return self._slowly(row) if caller is None else caller  # type: ignore[return-value] # a reason

    def _call(self, row: Row, time: datetime, caller: Caller, access_key: str | None) -> Call | None:
        """The call; `None` where the record lacks where or what, or is written as few are."""
        shape = self._shape(row)
        resources = () if row.resources is NULL else arns_of(row.resources)
        if resources is None or not shape.source or not shape.name:
            return None
        return shape.call(
            caller,
            access_key if access_key and is_access_key(access_key) else "",
            time,
            row.eventID or "",
            NOTHING if row.requestParameters == NULL else _object(row.requestParameters),
            NOTHING if row.responseElements == NULL else _object(row.responseElements),
            resources,
        )

    def _shape(self, row: Row) -> Shape:
        if row.errorMessage is not None:
            # There may be as many as there are records.
            return Shape.of(told_of(row))
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
            shape = self._shapes[key] = Shape.of(told_of(row))
            return shape

    def _slowly(self, row: Row) -> Call | Gap | str:
        found = examine(record_of(row), self.principals.wants)
        return found.value if isinstance(found, NotACall) else found

    def _caller(self, row: Row) -> Caller | str | None:
        """Who called, or why it is no call; `None` where the record itself has to say why nobody knows."""
        if len(self._callers) >= _REMEMBERED:
            self._callers.clear()
        found = whose(told_of(row), self.principals.wants)
        return None if isinstance(found, Gap) else found.value if isinstance(found, NotACall) else found

    def _cover(self, rows: list[Row], times: list[datetime]) -> None:
        covers = self._covers
        for row, time in zip(rows, times, strict=True):
            account: object = row.recipientAccountId or _account(row)
            key = (row.eventSource, row.awsRegion, row.readOnly, row.managementEvent, row.eventCategory, account)
            cover = covers.get(key)
            if cover is None:
                cover = covers[key] = Cover.of(told_of(row), self.principals)
            if not cover.count:
                self._touched.append(cover)
            cover.note(time)


def _account(row: Row) -> tuple[str | None, str | None]:
    identity = row.userIdentity
    return (identity.accountId, identity.arn) if identity else (None, None)


def _object(raw: Raw) -> Mapping[str, object]:
    found = value_of(raw)
    return found if type(found) is dict else object_of(found)


def _times(texts: list[str]) -> list[datetime]:
    """Times as CloudTrail writes them; raises `ValueError` for all else."""
    times = list(map(datetime.fromisoformat, texts))
    if {time.tzinfo for time in times} - {UTC}:
        raise ValueError(texts)
    return times


def finder(principals: Principals) -> Callable[[bytes], object] | None:
    """Tells whether bytes hold the name of a target; `None` where everybody is one, or names cannot be looked for.

    Every ARN of a role and of its sessions has a slash before the name: the search goes from slash to slash, and takes
    a fourteenth of the time that an expression of ten names takes without one. Old records give a user by the name
    alone.
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
