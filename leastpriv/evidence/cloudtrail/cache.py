"""Caches the results of log files between runs, so that a daily run reads only the files of the last day.

The cache holds the targets' calls, reduced to what their needs depend on (`permissions/essential.py`), and what each
file shows of all principals, but no permissions: those are derived again (docs: decision 22). A cache serves one
version of the program, since another one may read more of a call. CloudTrail never writes a file twice; a changed ETag
in a bucket, or a changed size or time on disk, means another file.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from leastpriv import __version__
from leastpriv.aws.arns import Principals
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.file_reader import FileResult
from leastpriv.evidence.cloudtrail.file_store import StoredFile
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.coverage import DataStream
from leastpriv.models import Call, Gap, GapKind, Scope

if TYPE_CHECKING:
    import sqlite3

_FORMAT = 8
_PENDING = 200
"""Number of objects after which results are committed."""


class ObjectCache:
    """Results of the files of one bucket or folder for one set of targets, in one SQLite file. For one thread."""

    def __init__(self, folder: Path, bucket: str, principals: Principals) -> None:
        """Creates the folder and the file where they do not exist.

        Raises:
            InputError: the folder cannot be written.
        """
        targets = sorted(target.arn for target in principals.targets) if principals.targets is not None else ["*"]
        whose = [*targets, *sorted(principals.patterns)]
        name = hashlib.sha256(
            "\n".join([__version__, str(_FORMAT), bucket, *whose]).encode("utf-8", "surrogateescape")
        ).hexdigest()
        self._path = folder / f"calls-{_FORMAT}-{__version__}-{name[:24]}.sqlite"
        self._pending = 0
        self._is_refused = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The caches of other versions may hold more of a call than this one.
            for path in folder.glob("*.sqlite"):
                own = path.name.startswith(f"calls-{_FORMAT}-{__version__}-")
                if not own and re.fullmatch(r"(objects|calls-\d+-.+)-[0-9a-f]{24}\.sqlite", path.name):
                    path.unlink()
            if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
                raise InputError(f"cache-dir: {str(self._path)!r} is not a regular file: remove it.")
            self._database = self._opened()
        except (OSError, *_database_errors()) as error:
            raise InputError(f"cache-dir: {str(folder)!r} cannot be written: {error}.") from error

    def get(self, stored: StoredFile) -> FileResult | None:
        """Returns the stored result of an unchanged object; None where there is none or it cannot be parsed."""
        try:
            found = self._database.execute(
                "SELECT content FROM objects WHERE key = ? AND etag = ?", (stored.key, stored.etag)
            ).fetchone()
            return _result(_decode(zlib.decompress(found[0]))) if found else None
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
            row = (stored.key, stored.etag, max(times).timestamp() if times else float("inf"), content)
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
            self._pending += 1
            if self._pending >= _PENDING:
                self._database.commit()
                self._pending = 0
        except _database_errors()[0]:
            # Another run holds SQLite's lock, which costs seconds, or the disk is full: do not try again for each
            # object.
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


def _database_errors() -> tuple[type[Exception], type[Exception]]:
    """Returns the errors of a file that is no usable database, whose bytes SQLite quotes, decodable or not."""
    import sqlite3

    return sqlite3.Error, UnicodeError


def _connected(path: Path) -> sqlite3.Connection:
    import sqlite3

    is_new = not path.exists()
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = OFF")
    if is_new:
        # It shrinks as rows are removed; on an existing database the setting would wait for other runs.
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA auto_vacuum = FULL")
    database.execute(
        "CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, etag TEXT, last REAL, content BLOB) WITHOUT ROWID"
    )
    return database


_Time = Annotated[datetime, Meta(tz=True)]
"""A time without a zone could not be compared."""


_KeptCall: Any = msgspec.defstruct(
    "_KeptCall",
    [(name, {"event_id": bytes, "time": _Time}.get(name, kind)) for name, kind in get_type_hints(Call).items()],
    array_like=True,
)
"""A call as the list of its fields; its id as `~` and the bytes of a UUID, which no compression shortens, else as `=`
and the text."""


class _Kept(Struct, array_like=True, gc=False):
    """The result of a file; its gaps follow its calls."""

    calls: list[_KeptCall]
    gaps: list[tuple[GapKind, tuple[str, ...], tuple[str, ...], tuple[str, ...], str, int]]
    """Kind, services, actions, regions, detail and count: `file_reader.py` gives them no other scope."""
    records: int
    foreign_files: int
    duplicates: int
    skipped: dict[str, int]
    callers: dict[str, int]
    regions: set[str]
    events: set[str]
    days: dict[str, set[int]]
    logged: list[tuple[str, str, set[int]]]
    data: list[tuple[str, str, str, str]]
    first: _Time | None
    last: _Time | None
    sha256: str


_decode = msgspec.msgpack.Decoder(_Kept).decode


def _kept(result: FileResult) -> _Kept:
    from leastpriv.permissions.essential import essential_call

    each = result.statistics
    calls = [essential_call(item) for item in result.items if isinstance(item, Call)]
    gaps = [item for item in result.items if isinstance(item, Gap)]
    return _Kept(
        [_KeptCall(_packed_id(call.event_id), *msgspec.structs.astuple(call)[1:]) for call in calls],
        [(gap.kind, gap.scope.services, gap.scope.actions, gap.scope.regions, gap.detail, gap.count) for gap in gaps],
        each.records,
        each.foreign_files,
        each.duplicates,
        each.skipped,
        each.callers,
        each.regions,
        each.events,
        each.days,
        [(*key, days) for key, days in each.logged.items()],
        [(*stream, f"{days:x}") for stream, days in each.data.items()],
        each.first,
        each.last,
        result.sha256,
    )


def _result(kept: _Kept) -> FileResult:
    calls = [Call(_event_id(call.event_id), *msgspec.structs.astuple(call)[1:]) for call in kept.calls]
    gaps = [
        Gap(kind, Scope(services=services, actions=actions, regions=regions), detail, count)
        for kind, services, actions, regions, detail, count in kept.gaps
    ]
    statistics = ReadStatistics(
        files=1,
        records=kept.records,
        foreign_files=kept.foreign_files,
        duplicates=kept.duplicates,
        skipped=Counter(kept.skipped),
        callers=Counter(kept.callers),
        regions=kept.regions,
        events=kept.events,
        days=kept.days,
        logged={(region, kind): days for region, kind, days in kept.logged},
        data={DataStream(event, kind, prefix): int(days, 16) for event, kind, prefix, days in kept.data},
        first=kept.first,
        last=kept.last,
    )
    return FileResult((*calls, *gaps), statistics, kept.sha256)


def _packed_id(text: str) -> bytes:
    with suppress(ValueError):
        found = UUID(text)
        if str(found) == text:
            return b"~" + found.bytes
    return b"=" + text.encode()


def _event_id(kept: bytes) -> str:
    return str(UUID(bytes=kept[1:])) if kept.startswith(b"~") else kept[1:].decode()
