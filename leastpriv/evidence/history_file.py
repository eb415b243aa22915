"""Parses and serializes the history file (docs/memory.md has the schema), and ignores unknown
content.

Other people can write to the branch or folder of the file, so every row is validated separately: an
invalid row is left out alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, structs, to_builtins
from msgspec.structs import replace

from leastpriv.aws.arns import same_arn
from leastpriv.errors import UnreadableHistoryError
from leastpriv.evidence.usage_history import (
    _ACTION,
    _NEVER,
    _PATTERN,
    _RESOURCE,
    MOST_RESOURCES,
    ActionUse,
    Count,
    DeclinedPullRequest,
    KeepDecision,
    RevertedRemoval,
    Time,
    UsageHistory,
    limit_resources,
)
from leastpriv.models import TargetName

VERSION = 1
LONGEST_FILE = 1_000_000
"""In bytes. A thousand actions on three resources each, used every month, take 880 KB
(bench/memory_size.py).
"""
_KEY = "leastpriv-memory"
_MOST_CHANGES = 1_500
_MOST_ADDITIONS = 100
_NUMBER = re.compile("[1-9][0-9]{0,11}", re.ASCII)
_CLOCKS = timedelta(days=1)
"""Tolerance between the clocks of two machines; later dates are invalid."""


class _WordRow(Struct):
    word: Literal["keep", "forget"]
    by: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}(?:\[bot\])?\Z")]
    pull: Count
    comment: Count
    at: Time


class _ReturnedRow(Struct, rename="kebab", omit_defaults=True):
    action: Annotated[str, Meta(pattern=rf"\A(?:{_PATTERN.pattern})\Z")]
    resource: Annotated[str, Meta(pattern=rf"\A{_RESOURCE.pattern}\Z")]
    refused: date
    pull: Count
    merged: Time = _NEVER
    by_person: bool = False


_Row = TypeVar("_Row", ActionUse, _WordRow, DeclinedPullRequest, _ReturnedRow)


class _TargetRow(Struct):
    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}\Z")]
    file: Annotated[str, Meta(min_length=1, max_length=4_096)]


def parse_history(
    raw: bytes, principal: str, now: datetime, *, formerly: str = ""
) -> tuple[UsageHistory, int]:
    """Parses the history of a principal; returns the number of invalid rows too.

    Args:
        raw: The content of the file.
        principal: ARN of the role or user.
        now: Later entries are invalid.
        formerly: The ARN that the file names, where the target had another role then.

    Raises:
        UnreadableHistoryError: The file is no history, or that of another principal.
    """
    content = _content_of(raw)
    principal_text = content.get("principal")
    # A role with a path may be named without it.
    expected = formerly or principal
    if principal_text != expected and not (
        isinstance(principal_text, str) and same_arn(principal_text, expected)
    ):
        raise UnreadableHistoryError("remembers another principal")
    reader = _Reader(now.astimezone(UTC) + _CLOCKS)
    use_by_action = {
        action: limit_resources(valid)
        for action, rows in reader.entries(content.get("used"), _ACTION)
        if (valid := dict(reader.rows(rows, _RESOURCE, ActionUse)))
    }
    words = {
        pattern: KeepDecision(row.at, row.comment, row.word == "keep", row.by, row.pull)
        for pattern, row in reader.rows(content.get("words"), _PATTERN, _WordRow)
    }
    declined = {
        int(number): replace(
            row,
            changes=row.changes[:_MOST_CHANGES],
            additions=row.additions[:_MOST_ADDITIONS],
        )
        for number, row in reader.rows(content.get("declined"), _NUMBER, DeclinedPullRequest)
    }
    returned = content.get("returned")
    numbered_rows = enumerate(returned) if isinstance(returned, list) else ()
    back = {
        (row.action, row.resource): RevertedRemoval(
            refused=row.refused, pull=row.pull, merged=row.merged, by_person=row.by_person
        )
        for _, row in reader.valid(numbered_rows, _ReturnedRow)
    }
    target = _target_of(content)
    history = UsageHistory(
        principal=principal,
        used=use_by_action,
        words=words,
        declined=declined,
        returned=back,
        target=target,
    )
    return history, reader.left_out


@lru_cache(1_000)
def target_of(raw: bytes) -> TargetName | None:
    """Returns the target that a history file names; None where it names none."""
    try:
        return _target_of(_content_of(raw))
    except UnreadableHistoryError:
        return None


def _target_of(content: Mapping[str, object]) -> TargetName | None:
    role = content.get("principal")
    if not isinstance(role, str):
        return None
    try:
        row = convert(content.get("target"), _TargetRow)
    except ValidationError:
        return None
    return TargetName(id=row.id, role=role, file=row.file)


def _content_of(raw: bytes) -> Mapping[str, object]:
    """Returns the content of a history file; raises UnreadableHistoryError for another file."""
    if len(raw) > LONGEST_FILE:
        raise UnreadableHistoryError(f"is longer than {LONGEST_FILE:,} bytes")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise UnreadableHistoryError("is not readable JSON") from None
    if not isinstance(content, dict):
        raise UnreadableHistoryError("is no memory")
    version = content.get(_KEY)
    if version != VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > VERSION
        raise UnreadableHistoryError(
            "was written by a newer version of this program" if newer else "is no memory"
        )
    return content


def serialize_history(memory: UsageHistory) -> bytes:
    """Serializes a history; if it is too long it names fewer resources, but keeps every action."""
    for most_resources in (MOST_RESOURCES, 5, 1, 0):
        use_by_action = {
            action: limit_resources(by_resource, most_resources)
            for action, by_resource in memory.used.items()
        }
        raw = _written(replace(memory, used=use_by_action))
        if len(raw) <= LONGEST_FILE:
            return raw
    # No later run could read it.
    raise UnreadableHistoryError(f"would be longer than {LONGEST_FILE:,} bytes")


def _written(memory: UsageHistory) -> bytes:
    """Returns the usage history as the bytes of its JSON file."""
    target = memory.target
    content = {
        _KEY: VERSION,
        "principal": memory.principal,
        **({"target": _TargetRow(target.id, target.file)} if target else {}),
        "used": memory.used,
        "words": {
            pattern: _WordRow(
                "keep" if word.keep else "forget", word.by, word.pull, word.comment, word.at
            )
            for pattern, word in memory.words.items()
        },
        "declined": {str(number): decline for number, decline in memory.declined.items()},
        "returned": [
            _ReturnedRow(
                action=action,
                resource=resource,
                refused=returned.refused,
                pull=returned.pull,
                merged=returned.merged,
                by_person=returned.by_person,
            )
            for (action, resource), returned in sorted(memory.returned.items())
        ],
    }
    return _lines(to_builtins(content), 3).encode() + b"\n"


def _lines(value: object, levels: int, indent: str = "") -> str:
    """Formats JSON with a line for each entry of the outer levels, so that a diff shows the added
    entries.
    """
    if not (levels and isinstance(value, dict) and value):
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    inner = f"{indent} "
    entries = [
        f"{inner}{json.dumps(key)}: {_lines(value[key], levels - 1, inner)}"
        for key in sorted(value)
    ]
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


class _Reader:
    """Validates rows, and counts those that it leaves out."""

    def __init__(self, latest: datetime) -> None:
        self._latest = latest
        self.left_out = 0

    def entries(self, given: object, names: re.Pattern[str]) -> Iterator[tuple[str, object]]:
        """Yields the entries of an object whose names are valid."""
        for name, value in given.items() if isinstance(given, dict) else ():
            if names.fullmatch(name):
                yield name, value
            else:
                self.left_out += 1

    def rows(
        self, given: object, names: re.Pattern[str], kind: type[_Row]
    ) -> Iterator[tuple[str, _Row]]:
        """Yields the valid entries of an object."""
        yield from self.valid(self.entries(given, names), kind)

    def valid(
        self, given: Iterable[tuple[Any, object]], kind: type[_Row]
    ) -> Iterator[tuple[Any, _Row]]:
        """Yields the rows of the right form that are not of the future."""
        for name, value in given:
            try:
                row = convert(value, kind)
            except (ValidationError, OverflowError, UnicodeError):
                self.left_out += 1
                continue
            times = [member for member in structs.astuple(row) if isinstance(member, date)]
            latest = self._latest
            late = (
                time > (latest if isinstance(time, datetime) else latest.date()) for time in times
            )
            days = [time.date() if isinstance(time, datetime) else time for time in times]
            if any(late) or (days != sorted(days) and not isinstance(row, _ReturnedRow)):
                self.left_out += 1
            else:
                yield name, row
