"""Parses and serializes the history file (docs/memory.md has the schema), and ignores unknown content.

Other people can write to the branch or folder of the file, so every row is validated separately: an invalid row
is left out alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from leastpriv.aws.arns import same_arn
from leastpriv.errors import UnreadableHistoryError
from leastpriv.evidence.history.models import (
    _ACTION,
    _PATTERN,
    _RESOURCE,
    MOST_RESOURCES,
    ActionUse,
    DeclinedPullRequest,
    KeepDecision,
    RevertedRemoval,
    UsageHistory,
    limit_resources,
)

VERSION = 1
LONGEST_FILE = 1_000_000
"""In bytes. A thousand actions on three resources each, used every month, take 880 KB (bench/memory_size.py)."""
_T = TypeVar("_T")
_KEY = "leastpriv-memory"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_RUN = re.compile(r"[0-9]{0,20}", re.ASCII)
_LOGIN = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\[bot\])?", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{8,128}", re.ASCII)
_CHANGE = re.compile(r"[0-9a-z-]{1,32}", re.ASCII)
_MOST_CHANGES = 1_500
_MOST = 10**12
_CLOCKS = timedelta(days=1)
"""Tolerance between the clocks of two machines; later dates are invalid."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """The content of a history file."""

    memory: UsageHistory
    left_out: int = 0
    """Number of invalid rows."""


def parse_history(raw: bytes, principal: str, now: datetime) -> HistoryFile:
    """Parses the history of a principal."""
    content = _object(raw)
    version = content.get(_KEY)
    if version != VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > VERSION
        raise UnreadableHistoryError("was written by a newer version of this program" if newer else "is no memory")
    if not _is_of(content.get("principal"), principal):
        raise UnreadableHistoryError("remembers another principal")
    reader = _Reader(now.astimezone(UTC) + _CLOCKS)
    used: dict[str, Mapping[str, ActionUse]] = {}
    for action, rows in reader.entries(content.get("used"), _ACTION):
        by_resource = dict(reader.rows(rows, _RESOURCE, reader.used))
        if by_resource:
            used[action] = limit_resources(by_resource)
    declined = reader.rows(content.get("declined"), re.compile("[1-9][0-9]{0,11}", re.ASCII), reader.declined)
    given = content.get("returned")
    found = {}
    for row in given if isinstance(given, list) else ():
        try:
            key = (reader.text(row["action"], _ACTION), reader.text(row["resource"], _RESOURCE))
            found[key] = RevertedRemoval(reader.day(row["refused"]), reader.number(row["pull"]))
        except (ValueError, TypeError, KeyError):
            reader.left_out += 1
    memory = UsageHistory(
        principal,
        used=used,
        words=dict(reader.rows(content.get("words"), _PATTERN, reader.word)),
        declined={int(number): decline for number, decline in declined},
        returned=found,
    )
    return HistoryFile(memory, reader.left_out)


def serialize_history(memory: UsageHistory) -> bytes:
    """Serializes a history; if it is too long it names fewer resources, but keeps every action."""
    for most in (MOST_RESOURCES, 5, 1, 0):
        used = {action: limit_resources(by_resource, most) for action, by_resource in memory.used.items()}
        raw = _written(replace(memory, used=used))
        if len(raw) <= LONGEST_FILE:
            return raw
    raise UnreadableHistoryError(f"would be longer than {LONGEST_FILE:,} bytes")


def _written(memory: UsageHistory) -> bytes:
    content = {
        _KEY: VERSION,
        "principal": memory.principal,
        "used": {
            action: {resource: _used_row(used) for resource, used in by_resource.items()}
            for action, by_resource in memory.used.items()
        },
        "words": {
            pattern: {
                "word": "keep" if word.keep else "forget",
                "by": word.by,
                "pull": word.pull,
                "comment": word.comment,
                "at": _stamp(word.at),
            }
            for pattern, word in memory.words.items()
        },
        "declined": {
            str(number): {
                "seen": _stamp(each.seen),
                "taken-back": each.taken_back,
                "fingerprint": each.fingerprint,
                "changes": list(each.changes),
            }
            for number, each in memory.declined.items()
        },
        "returned": [
            {"action": action, "resource": resource, "refused": each.refused.isoformat(), "pull": each.pull}
            for (action, resource), each in sorted(memory.returned.items())
        ],
    }
    return _lines(content, 3).encode() + b"\n"


def _lines(value: object, levels: int, indent: str = "") -> str:
    """Formats JSON with a line for each entry of the outer levels, so that a diff shows the added entries."""
    if not (levels and isinstance(value, dict) and value):
        return json.dumps(value, separators=(",", ":"), sort_keys=True)
    inner = f"{indent} "
    entries = [f"{inner}{json.dumps(key)}: {_lines(value[key], levels - 1, inner)}" for key in sorted(value)]
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def _used_row(used: ActionUse) -> dict[str, object]:
    row: dict[str, object] = {"first": used.first.isoformat(), "last": used.last.isoformat(), "runs": dict(used.runs)}
    return {**row, "run": used.workflow_run} if used.workflow_run else row


def _object(raw: bytes) -> Mapping[str, Any]:
    if len(raw) > LONGEST_FILE:
        raise UnreadableHistoryError(f"is longer than {LONGEST_FILE:,} bytes")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        raise UnreadableHistoryError("is not readable JSON") from None
    if not isinstance(content, dict):
        raise UnreadableHistoryError("is no memory")
    return content


def _is_of(found: object, principal: str) -> bool:
    """Whether two ARNs belong to one principal: a role with a path may be named without it."""
    return found == principal or (isinstance(found, str) and same_arn(found, principal))


class _Reader:
    """Validates rows; raises ValueError, TypeError or KeyError for an invalid row."""

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

    def rows(self, given: object, names: re.Pattern[str], read: Callable[[Any], _T]) -> Iterator[tuple[str, _T]]:
        """Yields the valid entries of an object."""
        for name, row in self.entries(given, names):
            try:
                yield name, read(row)
            except (ValueError, TypeError, KeyError):
                self.left_out += 1

    def used(self, row: Any) -> ActionUse:
        first, last = self.day(row["first"]), self.day(row["last"])
        if first > last:
            raise ValueError("it ends before it begins")
        runs = {self.text(month, _MONTH): self.number(count) for month, count in dict(row.get("runs", {})).items()}
        return ActionUse(first, last, runs, self.text(row.get("run", ""), _RUN))

    def word(self, row: Any) -> KeepDecision:
        if row["word"] not in ("keep", "forget"):
            raise ValueError("an unknown word")
        by = self.text(row["by"], _LOGIN)
        return KeepDecision(
            self.time(row["at"]), self.number(row["comment"]), row["word"] == "keep", by, self.number(row["pull"])
        )

    def declined(self, row: Any) -> DeclinedPullRequest:
        if not isinstance(row["taken-back"], bool) or not isinstance(row["changes"], list):
            raise TypeError("not a decline")
        changes = tuple(self.text(each, _CHANGE) for each in row["changes"][:_MOST_CHANGES])
        return DeclinedPullRequest(
            self.time(row["seen"]), row["taken-back"], self.text(row["fingerprint"], _HEX), changes
        )

    def text(self, given: object, form: re.Pattern[str]) -> str:
        if not isinstance(given, str) or not form.fullmatch(given):
            raise ValueError("of another form")
        return given

    def number(self, given: object) -> int:
        if not isinstance(given, int) or isinstance(given, bool) or not 0 < given < _MOST:
            raise ValueError("no count")
        return given

    def day(self, given: object) -> date:
        found = date.fromisoformat(self.text(given, _DAY))
        if found > self._latest.date():
            raise ValueError("later than now")
        return found

    def time(self, given: object) -> datetime:
        found = datetime.fromisoformat(self.text(given, _TIME))
        if found > self._latest:
            raise ValueError("later than now")
        return found


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
