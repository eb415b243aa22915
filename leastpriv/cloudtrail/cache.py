"""Caches the results of log files between runs, so that a daily run reads only the files of the
last day.

The cache holds the calls of the targets and what each file shows of all principals, but no
permissions: those are derived again (docs: decision 43). A cache serves one version of the program,
since another one may read more of a call. CloudTrail never writes a file twice; a changed ETag in a
bucket, or a changed size or time on disk, means another file.

A request may hold passwords, tokens and documents, and an answer credentials, so a call is reduced
to what its needs depend on: the names of members, ARNs, the texts under keys that the rules of the
event read, and of documents the roles in them. A text that nothing reads becomes a mark, because
rules ask whether a request has any.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, structs

from leastpriv import __version__
from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.coverage import DataStream
from leastpriv.cloudtrail.file_reader import FileResult
from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.record_blocks import UndecodedAnswer
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import InputError
from leastpriv.models import Call, Gap, Outcome
from leastpriv.permissions.event_table import STATEMENT, Verdict
from leastpriv.permissions.implied import ROLE_IN_TEXT
from leastpriv.permissions.mapping import EventPlan, plan_of
from leastpriv.permissions.project_tags import is_project_tag, project_tags
from leastpriv.permissions.request import (
    FREE_MAPS,
    NAMED_BY_KEY,
    NUMBERED,
    id_keys,
    key_of,
    request_values,
)

if TYPE_CHECKING:
    import sqlite3

_FORMAT = 10
_PENDING = 200
"""Number of objects after which results are committed."""


class ObjectCache:
    """Results of the files of one bucket or folder for one set of targets, in one SQLite file. For
    one thread.
    """

    def __init__(self, folder: Path, bucket: str, principals: Principals) -> None:
        """Creates the folder and the file where they do not exist.

        Raises:
            InputError: the folder cannot be written.
        """
        targets = (
            sorted(target.arn for target in principals.targets)
            if principals.targets is not None
            else ["*"]
        )
        whose = [*targets, *sorted(principals.patterns)]
        name = hashlib.sha256(
            "\n".join([__version__, str(_FORMAT), bucket, *whose]).encode(
                "utf-8", "surrogateescape"
            )
        ).hexdigest()
        self._path = folder / f"calls-{_FORMAT}-{__version__}-{name[:24]}.sqlite"
        self._pending = 0
        self._is_refused = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The caches of other versions may hold more of a call than this one.
            for path in folder.glob("*.sqlite"):
                own = path.name.startswith(f"calls-{_FORMAT}-{__version__}-")
                if not own and re.fullmatch(
                    r"(objects|calls-\d+-.+)-[0-9a-f]{24}\.sqlite", path.name
                ):
                    path.unlink()
            if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
                raise InputError(
                    f"cache-dir: {str(self._path)!r} is not a regular file: remove it."
                )
            self._database = self._opened()
        except (OSError, *_database_errors()) as error:
            raise InputError(f"cache-dir: {str(folder)!r} cannot be written: {error}.") from error

    def get(self, stored: StoredFile) -> FileResult | None:
        """Returns the stored result of an unchanged object; None where there is none or it cannot
        be parsed.
        """
        try:
            found = self._database.execute(
                "SELECT content FROM objects WHERE key = ? AND etag = ? AND length(content) <= ?",
                (stored.key, stored.etag, _MOST_CONTENT),
            ).fetchone()
            return _result(_decode(_unpacked(found[0]))) if found else None
        except Exception:  # another program may have written it, in any shape
            return None

    def put(self, stored: StoredFile, result: FileResult) -> None:
        """Stores the result of an object; on an error the object is read again next time."""
        if self._is_refused:
            return
        try:
            content = zlib.compress(msgspec.msgpack.encode(_kept(result)))
            times = [item.time for item in result.items if isinstance(item, Call)]
            times += [result.statistics.last] if result.statistics.last else []
            row = (
                stored.key,
                stored.etag,
                max(times).timestamp() if times else float("inf"),
                content,
            )
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
            self._pending += 1
            if self._pending >= _PENDING:
                self._database.commit()
                self._pending = 0
        except _database_errors()[0]:
            # Another run holds SQLite's lock, which costs seconds, or the disk is full: do not try
            # again for each object.
            self._is_refused = True
        except (UnicodeError, RecursionError, OverflowError):
            pass  # a text or number that the format lacks

    def close(self, start: datetime | None = None) -> None:
        """Commits pending results, and removes those of objects without a record since `start`."""
        with suppress(*_database_errors()):
            if start:
                self._database.execute("DELETE FROM objects WHERE last < ?", (start.timestamp(),))
            self._database.commit()
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connected(self._path)
        except _database_errors():
            # Not a database, a damaged one or one of another schema: start with an empty one.
            self._path.unlink()
            return _connected(self._path)


_MOST_CONTENT = 64 * 1024 * 1024
"""Bytes of the largest result that is read; in place of a larger one, the file is read again."""


def _unpacked(content: bytes) -> bytes:
    """Decompresses a row; raises ValueError for more than any file's result."""
    stream = zlib.decompressobj()
    plain = stream.decompress(content, _MOST_CONTENT)
    if stream.unconsumed_tail:
        raise ValueError("the row is larger than any result")
    return plain


def _database_errors() -> tuple[type[Exception], type[Exception]]:
    """Returns the errors of a file that is no usable database, whose bytes SQLite quotes, decodable
    or not.
    """
    import sqlite3

    return sqlite3.Error, UnicodeError


def _connected(path: Path) -> sqlite3.Connection:
    import sqlite3

    is_new = not path.exists()
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = OFF")
    if is_new:
        # It shrinks as rows are removed; on an existing database the setting would wait for other
        # runs.
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA auto_vacuum = FULL")
        database.execute(_TABLE)
    # Views and triggers of a changed file would run as queries.
    if database.execute("SELECT sql FROM sqlite_master").fetchall() != [(_TABLE,)]:
        database.close()
        raise sqlite3.DatabaseError("the database has another schema")
    return database


_TABLE = (
    "CREATE TABLE objects (key TEXT PRIMARY KEY, etag TEXT, last REAL, content BLOB) WITHOUT ROWID"
)


_Time = Annotated[datetime, Meta(tz=True)]
"""A time without a zone could not be compared."""


_MARK = "repeats"
"""The last field of a call, the mark of repeated ones: it is of one reading."""
_KeptCall: Any = msgspec.defstruct(
    "_KeptCall",
    [
        (name, {"event_id": bytes, "time": _Time}.get(name, kind))
        for name, kind in get_type_hints(Call).items()
        if name != _MARK
    ],
    array_like=True,
)
"""A call as the list of its fields; its id as `~` and the bytes of a UUID, which no compression
shortens, else as `=` and the text."""


class _KeptCoverage(Struct, array_like=True, gc=False):
    """What a file shows of all principals, or of those of one account."""

    regions: set[str]
    events: set[str]
    days: dict[str, set[int]]
    logged: dict[tuple[str, str], set[int]]
    data: list[tuple[DataStream, str]]
    """Streams and their masks, in hexadecimal: a mask has more bits than the format's numbers."""

    @classmethod
    def of(cls, statistics: ReadStatistics) -> _KeptCoverage:
        """Returns the coverage in some statistics."""
        return cls(
            regions=statistics.regions,
            events=statistics.events,
            days=statistics.days,
            logged=statistics.logged,
            data=[(stream, f"{days:x}") for stream, days in statistics.data.items()],
        )

    def statistics(self) -> ReadStatistics:
        """Returns statistics with this coverage alone."""
        return ReadStatistics(
            regions=self.regions,
            events=self.events,
            days=self.days,
            logged=self.logged,
            data={stream: int(days, 16) for stream, days in self.data},
        )


class _Kept(Struct, array_like=True, gc=False):
    """The result of a file; its gaps follow its calls."""

    calls: list[_KeptCall]
    gaps: list[Gap]
    records: int
    foreign_files: int
    duplicates: int
    skipped: dict[str, int]
    callers: dict[str, int]
    coverage: _KeptCoverage
    accounts: dict[str, _KeptCoverage]
    first: _Time | None
    last: _Time | None
    sha256: str


_decode = msgspec.msgpack.Decoder(_Kept).decode


def _kept(result: FileResult) -> _Kept:
    each = result.statistics
    calls = [essential_call(item) for item in result.items if isinstance(item, Call)]
    return _Kept(
        calls=[
            _KeptCall(_packed_id(call.event_id), *msgspec.structs.astuple(call)[1:-1])
            for call in calls
        ],
        gaps=[item for item in result.items if isinstance(item, Gap)],
        records=each.records,
        foreign_files=each.foreign_files,
        duplicates=each.duplicates,
        skipped=each.skipped,
        callers=each.callers,
        coverage=_KeptCoverage.of(each),
        accounts={account: _KeptCoverage.of(own) for account, own in each.accounts.items()},
        first=each.first,
        last=each.last,
        sha256=result.sha256,
    )


def _result(kept: _Kept) -> FileResult:
    calls = [
        Call(_event_id(call.event_id), *msgspec.structs.astuple(call)[1:]) for call in kept.calls
    ]
    statistics = kept.coverage.statistics()
    statistics.files = 1
    statistics.records = kept.records
    statistics.foreign_files = kept.foreign_files
    statistics.duplicates = kept.duplicates
    statistics.skipped = Counter(kept.skipped)
    statistics.callers = Counter(kept.callers)
    statistics.first = kept.first
    statistics.last = kept.last
    statistics.accounts = {account: own.statistics() for account, own in kept.accounts.items()}
    return FileResult((*calls, *kept.gaps), statistics, kept.sha256)


def _packed_id(text: str) -> bytes:
    with suppress(ValueError):
        found = UUID(text)
        if str(found) == text:
            return b"~" + found.bytes
    return b"=" + text.encode()


def _event_id(kept: bytes) -> str:
    return str(UUID(bytes=kept[1:])) if kept.startswith(b"~") else kept[1:].decode()


_UNREAD = "\u2026"
"""Replaces a text that no rule reads."""
_MARKS = ("", _UNREAD)
_UNREAD_NUMBER = 0.0
_UNREAD_KEY = "unread"
_DEEPEST = 64
"""Levels of a request; deeper ones are dropped, as the walk of the mapping ends before."""
_ALWAYS = frozenset({"awsservicename", "imageid", "resourcetype", "operation", "tablename"})
"""Keys that rules of single operations read."""
_CONTEXT = "encryptioncontext"
_ANSWERED = frozenset({"accesskeyid", "subject", "provider", "rootdevicetype"})
"""Keys of an answer: the key that a login or AssumeRole issued and its identity, and what EC2 says
of an image.
"""
_ARN = re.compile(r"arn(:|%3a)", re.IGNORECASE)


def essential_call(call: Call) -> Call:
    """Returns the call without the texts of request, answer and error message on which nothing
    depends.
    """
    plan = plan_of(call.source, call.name)
    # That the cache reads an answer does not make it part of what repeats.
    whole = call.response.peek() if isinstance(call.response, UndecodedAnswer) else call.response
    answer = _Answer(_answer_keys(call.source, call.name)).object_of(whole)
    named = {
        part
        for _, text in request_values(answer)
        if text.startswith("arn:")
        for part in re.split("[:/]", text)
    }
    request = _Request(plan, _request_keys(call.source, call.name), frozenset(named)).object_of(
        call.parameters
    )
    message = call.error_message if call.outcome is Outcome.DENIED else ""
    return structs.replace(call, parameters=request, response=answer, error_message=message)


@lru_cache(maxsize=16_384)
def _request_keys(source: str, name: str) -> frozenset[str]:
    plan = plan_of(source, name)
    uris = [
        variable
        for _, mapped in plan.actions
        for variable in re.findall(r"\{([\w-]+)\}", mapped.resource)
    ]
    places = [key.lower() for rule in plan.implies.tags for key in (rule.region, rule.under) if key]
    return plan.keys | _ALWAYS | {re.sub(r"[^a-z0-9]", "", uri.lower()) for uri in uris} | {*places}


@lru_cache(maxsize=16_384)
def _answer_keys(source: str, name: str) -> frozenset[str]:
    plan = plan_of(source, name)
    answered = {key.partition(" ")[2] for facts, _ in plan.actions for key in facts.rules.answered}
    return _ANSWERED | id_keys(name) | answered


class _Answer(Struct, frozen=True):
    """Reduces the answer of a call."""

    keys: frozenset[str]

    def object_of(self, value: Mapping[str, object]) -> Mapping[str, object]:
        """Returns the reduced answer, which is empty only where the answer is."""
        reduced = self._reduced("", value, 0)
        if isinstance(reduced, dict) and reduced:
            return reduced
        return {_UNREAD_KEY: _UNREAD} if value else {}

    def _reduced(self, key: str, value: object, depth: int) -> object:
        if isinstance(value, str):
            return value if _ARN.match(value) or key in self.keys else None
        if depth > _DEEPEST:
            return None
        if isinstance(value, Mapping):
            pairs = (
                (name, self._reduced(key_of(name), item, depth + 1)) for name, item in value.items()
            )
            return {str(name): item for name, item in pairs if item is not None} or None
        if isinstance(value, list | tuple):
            return [
                item for each in value if (item := self._reduced(key, each, depth + 1)) is not None
            ] or None
        return None


class _Request(Struct, frozen=True):
    """Reduces the request of a call."""

    plan: EventPlan
    keys: frozenset[str]
    in_answer: Collection[str]
    """Parts of the ARNs in the answer: a rule compares them with the request's texts."""

    def reads(self, key: str) -> bool:
        """Whether a rule reads the texts under a key; of a copy the rules know what it makes
        without `target`.
        """
        return key in self.keys or key.removeprefix("target") in self.keys

    def object_of(self, value: Mapping[str, object]) -> Mapping[str, object]:
        """Returns the reduced request with the names of all its members."""
        return {
            name: self._member(key_of(name), item, 0, is_free=key_of(name) in FREE_MAPS)
            for name, item in value.items()
        }

    def _member(self, key: str, value: object, depth: int, *, is_free: bool) -> object:
        """Returns a reduced member, which is empty only where the member is."""
        if isinstance(value, str):
            return self._text(key, value, is_free=is_free)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return value if self.reads(key) and not is_free else _UNREAD_NUMBER
        if depth > _DEEPEST or not value:
            return type(value)() if isinstance(value, dict | list) else None
        if isinstance(value, Mapping):
            return self._object(key, value, depth, is_free=is_free)
        if isinstance(value, list | tuple):
            return [self._member(key, item, depth + 1, is_free=is_free) for item in value]
        return None

    def _object(
        self, key: str, value: Mapping[str, object], depth: int, *, is_free: bool
    ) -> Mapping[str, object]:
        if key == _CONTEXT and self.plan.shows_conditions:
            return {str(name): "" for name in value}
        if (key == "items" or key.startswith("tag")) and any(project_tags([value])):
            return value
        if value.keys() <= NUMBERED:
            return {
                name: self._member(key, item, depth + 1, is_free=is_free)
                for name, item in value.items()
            }
        found: dict[str, object] = {}
        left = False
        for name, item in value.items():
            own = key_of(name)
            free = is_free or own in FREE_MAPS
            is_tag = key == "tags" and isinstance(item, str) and is_project_tag(str(name), item)
            reduced = item if is_tag else self._member(own, item, depth + 1, is_free=free)
            if (
                self.reads(own)
                or own.startswith("tag")
                or key in NAMED_BY_KEY
                or _has_text(reduced, _MARKS)
            ):
                found[str(name)] = reduced
            else:
                left = left or (not free and _has_text(reduced))
        if left or not found:
            found[_UNREAD_KEY] = _UNREAD if left else ""
        return found

    def _text(self, key: str, text: str, *, is_free: bool) -> str:
        if _ARN.match(text):
            return text
        roles = self.plan.implies.roles
        is_read = self.reads(key) if not is_free else key in roles
        if roles.get(key, "" if is_read else roles.get("*", "")) == "text":
            documents = ", ".join(found[0] for found in ROLE_IN_TEXT.finditer(text))
            return documents or (_UNREAD if text else "")
        if self.plan.event.verdict is Verdict.BY_REQUEST and key == "statement":
            match = STATEMENT.match(text) or re.match(r"\s*\w+", text)
            return match[0] if match else _UNREAD
        if any(
            text in (sign["parameter"], sign["begins"]) for sign in self.plan.implies.transforms
        ):
            return text
        if is_read or text in self.in_answer or (self.plan.is_of_two_apis and "/apis/" in text):
            return text
        return _UNREAD if text else ""


def _has_text(value: object, marks: Collection[str] = ("",)) -> bool:
    """Whether a reduced value has a text that is no mark, or a number that something reads."""
    if isinstance(value, str):
        return value not in marks
    if type(value) is int:
        return True
    if isinstance(value, Mapping):
        return any(_has_text(item, marks) for item in value.values())
    return isinstance(value, list) and any(_has_text(item, marks) for item in value)
