"""Blocks of records -> calls, gaps and figures, as `event.py` would read them one by one, but by types and from memory.

Who called, and what a record tells of the evidence, is worked out once for all records that are alike in the fields it
depends on. A block that holds none of the targets' names is not even decoded where only their calls are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import compress

from leastpriv.evidence.cloudtrail.blocks import Row, call_fields, record_of, rows_of, told_of
from leastpriv.evidence.cloudtrail.event import NotACall, call_of, examine, whose
from leastpriv.evidence.cloudtrail.figures import Cover, ReadStatistics
from leastpriv.evidence.cloudtrail.identity import Caller, access_key_in
from leastpriv.evidence.source import Principals, Window
from leastpriv.model import Call, Gap

_REMEMBERED = 20_000
"""Callers, and kinds of records, that are kept."""
_MOST_NAMES = 6
"""Names that are looked for one by one; reading the records takes no longer than looking for more."""
# A name's other letters may be written as escapes: Gson writes `=` as \\u003d.
_PLAIN = re.compile(r"[\w.-]+", re.ASCII)


class RowReader:
    """Reads blocks for one set of targets. For one thread."""

    def __init__(self, window: Window, principals: Principals, *, survey: bool = True) -> None:
        """`survey` False: only the targets' calls count, not what records of anybody tell of the evidence."""
        self.may_hold_target = _anything if survey else _finder(principals)
        """Whether bytes of records are to be read: those that hold a target's name, or all."""
        self.window, self.principals = window, principals
        self._is_bounded = window != Window()
        self._survey = survey
        self._callers: dict[tuple[object, ...], Caller | str | None] = {}
        self._covers: dict[tuple[object, ...], Cover] = {}
        self._touched: list[Cover] = []

    def read(self, block: bytes, figures: ReadStatistics) -> list[Call | Gap] | None:
        """Calls and gaps of a block in order; `None`, and nothing counted, where some record of it is no row."""
        rows = rows_of(block)
        if rows is None:
            return None
        held = len(rows)
        try:
            times = [_time(row.eventTime) for row in rows]
            if self._is_bounded:
                inside = [self.window.contains(time) for time in times]
                rows, times = list(compress(rows, inside)), list(compress(times, inside))
            found = [self._examined(row) for row in rows]
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

    def _examined(self, row: Row) -> Call | Gap | str:
        identity = row.userIdentity
        if identity is None:
            return self._slowly(row)
        # All that `whose` reads of a record but for the key, of which there is one for each session.
        session = identity.sessionContext
        key = (
            *(identity.arn, session, identity.type, identity.accountId, identity.principalId, identity.userName),
            *(identity.invokedBy, row.eventType or row.eventSource, row.awsRegion, row.eventCategory),
            row.sessionCredentialFromConsole,
        )
        try:
            caller = self._callers[key]
        except KeyError:
            caller = self._callers[key] = self._caller(row)
        if isinstance(caller, str):
            return caller
        if caller is None:
            return self._slowly(row)
        return call_of(call_fields(row), caller, access_key_in({"accessKeyId": identity.accessKeyId}))

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
        for row, time in zip(rows, times, strict=True):
            identity: object = row.recipientAccountId or _account(row)
            key = (row.eventSource, row.awsRegion, row.readOnly, row.managementEvent, row.eventCategory, identity)
            cover = self._covers.get(key)
            if cover is None:
                cover = self._covers[key] = Cover.of(told_of(row), self.principals)
            if not cover.count:
                self._touched.append(cover)
            cover.note(time)


def _account(row: Row) -> tuple[str | None, str | None]:
    identity = row.userIdentity
    return (identity.accountId, identity.arn) if identity else (None, None)


def _time(text: str) -> datetime:
    """The time of a row as CloudTrail writes it; raises `ValueError` for all else."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is not UTC:
        raise ValueError(text)
    return time


def _anything(_: bytes) -> bool:
    return True


def _finder(principals: Principals) -> Callable[[bytes], bool]:
    """Tells whether bytes hold the name of a target; all do where everybody is one, or a name cannot be looked for."""
    names = {max(_PLAIN.findall(each.name), key=len, default="").encode() for each in principals.targets or ()}
    if not names or b"" in names:
        return _anything
    if len(names) == 1:
        (name,) = names
        return lambda part: name in part
    if len(names) > _MOST_NAMES:
        return _anything
    return lambda part: any(name in part for name in names)
