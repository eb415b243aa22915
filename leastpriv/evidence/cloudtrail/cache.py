"""Caches the results of log files between runs, so that a daily run reads only the files of the last day.

The cache holds the targets' calls, reduced to what their needs depend on (`permissions/essential.py`), and what each
file shows of all principals, but no permissions: those are derived again (docs: decision 22). A cache serves one
version of the program, since another one may read more of a call. CloudTrail never writes a file twice; a changed ETag
in a bucket, or a changed size or time on disk, means another file.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from leastpriv import __version__
from leastpriv.aws.arns import Principals, Window
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator
from leastpriv.evidence.cloudtrail.file_store import StoredFile
from leastpriv.evidence.cloudtrail.record import is_login
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.evidence.coverage import DataStream
from leastpriv.models import Call, Gap, GapKind, Outcome, Scope

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class FileResult:
    """Calls and gaps of one log file in order, without duplicates within the file, and its statistics."""

    items: tuple[Call | Gap, ...]
    statistics: ReadStatistics = field(default_factory=ReadStatistics)
    sha256: str = ""
    """SHA-256 of the file's content, in hexadecimal; empty where it was not requested."""


class FileResults:
    """Combines the results of the files of one pass."""

    def __init__(
        self, cache: ObjectCache | None, window: Window, statistics: ReadStatistics, seen: EventDeduplicator
    ) -> None:
        """`statistics` are updated with every replayed result; a `cache` of None disables caching."""
        self._cache, self._window, self._statistics, self._seen = cache, window, statistics, seen

    def known(self, stored: StoredFile) -> FileResult | None:
        """Returns an earlier run's result of a file whose records are in the window."""
        kept = self._cache.get(stored) if self._cache else None
        if kept is None:
            return None
        times = (
            kept.statistics.first,
            kept.statistics.last,
            *(each.time for each in kept.items if isinstance(each, Call)),
        )
        return kept if all(time is None or self._window.contains(time) for time in times) else None

    @property
    def are_kept(self) -> bool:
        """Whether there is a cache."""
        return self._cache is not None

    def keep(self, stored: StoredFile, reading: FileResult) -> None:
        """Stores the result of a file that was read completely; the next run's window may differ."""
        statistics = reading.statistics
        # Without a survey, the time of an unreadable record is not known.
        has_time = statistics.first is not None or all(isinstance(item, Call) for item in reading.items)
        if self._cache and has_time and not statistics.damaged_files and not statistics.outside_window:
            self._cache.put(stored, reading)

    def replay(self, reading: FileResult) -> Iterator[Call | Gap]:
        """Yields the items of a file, without calls that other files contained before."""
        self._statistics.absorb(replace(reading.statistics, calls=0))
        for item in reading.items:
            if isinstance(item, Call):
                self._statistics.note_call(item.time)
                if self._seen.is_duplicate(item.event_id):
                    self._statistics.duplicates += 1
                    continue
                self._statistics.calls += not is_login(item)
            yield item

    def close(self) -> None:
        """Writes pending results, and removes those of files whose records are all before the window."""
        if self._cache:
            self._cache.close(self._window.start)


_FORMAT = 7
_PENDING = 200
"""Number of objects after which results are committed."""
"""What a database raises that is none: some of its messages quote bytes of it, and cannot be decoded themselves."""
_COUNTS = ("records", "foreign_files", "duplicates")


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
            _remove_other_versions(folder)
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
            return _reading(msgspec.json.decode(zlib.decompress(found[0]))) if found else None
        except Exception:  # another program may have written it, in any shape
            return None

    def put(self, stored: StoredFile, reading: FileResult) -> None:
        """Stores the result of an object; on an error the object is read again next time."""
        if self._is_refused:
            return
        try:
            content = zlib.compress(json.dumps(_written(reading), default=_time).encode())
            row = (stored.key, stored.etag, _last_time(reading), content)
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
            self._pending += 1
            if self._pending >= _PENDING:
                self._database.commit()
                self._pending = 0
        except _database_errors()[0]:
            # Another run holds SQLite's lock, which costs seconds, or the disk is full: do not try again for each
            # object.
            self._is_refused = True
        except (UnicodeError, RecursionError):
            pass

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
    """Return the errors of a file that is no usable database; sqlite3 is imported only where a cache is used."""
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


def _remove_other_versions(folder: Path) -> None:
    """Removes the caches of other versions, which may hold more of a call than this one."""
    for path in folder.glob("*.sqlite"):
        own = path.name.startswith(f"calls-{_FORMAT}-{__version__}-")
        if not own and re.fullmatch(r"(objects|calls-\d+-.+)-[0-9a-f]{24}\.sqlite", path.name):
            path.unlink()


def _last_time(reading: FileResult) -> float:
    """Returns the time of the last record of a file in seconds; infinity where it has none."""
    times = [item.time for item in reading.items if isinstance(item, Call)]
    times += [reading.statistics.last] if reading.statistics.last else []
    return max(times).timestamp() if times else float("inf")


def _written(reading: FileResult) -> Mapping[str, Any]:
    statistics = reading.statistics
    return {
        "calls": [_call_written(item) if isinstance(item, Call) else _gap_written(item) for item in reading.items],
        "counts": {name: getattr(statistics, name) for name in _COUNTS},
        "skipped": dict(statistics.skipped),
        "callers": dict(statistics.callers),
        "regions": sorted(statistics.regions),
        "events": sorted(statistics.events),
        "days": {region: sorted(days) for region, days in statistics.days.items()},
        "logged": [[*key, sorted(days)] for key, days in statistics.logged.items()],
        "data": [[*stream, f"{days:x}"] for stream, days in statistics.data.items()],
        "first": statistics.first,
        "last": statistics.last,
        "sha256": reading.sha256,
    }


_CALL_FIELDS = Call.__struct_fields__
"""The first is the id of the event."""
_PACKED = 23


def _call_written(call: Call) -> list[object]:
    from leastpriv.permissions.essential import essential_call

    reduced = essential_call(call)
    return [_packed_id(call.event_id), *(getattr(reduced, each) for each in _CALL_FIELDS[1:])]


def _packed_id(text: str) -> str:
    """Packs a UUID, which no compression shortens, into 23 characters."""
    try:
        found = UUID(text)
    except ValueError:
        return text
    return f"~{b64encode(found.bytes).decode()[:22]}" if str(found) == text else text


def _unpacked_id(text: str) -> str:
    return str(UUID(bytes=b64decode(f"{text[1:]}=="))) if text.startswith("~") and len(text) == _PACKED else text


def _gap_written(gap: Gap) -> Mapping[str, Any]:
    scope = {name: getattr(gap.scope, name) for name in _SCOPE_FIELDS}
    return {"kind": gap.kind, "scope": scope, "detail": gap.detail, "count": gap.count}


_SCOPE_FIELDS = ("services", "actions", "regions")
"""What the gaps of a file have in their scope (`file_reader.py`)."""


def _reading(kept: Mapping[str, Any]) -> FileResult:
    statistics = ReadStatistics(
        files=1,
        records=int(kept["counts"]["records"]),
        foreign_files=int(kept["counts"]["foreign_files"]),
        duplicates=int(kept["counts"]["duplicates"]),
        skipped=_counted(kept["skipped"]),
        callers=_counted(kept["callers"]),
        regions=set(map(str, kept["regions"])),
        events=set(map(str, kept["events"])),
        days={str(region): set(map(int, days)) for region, days in kept["days"].items()},
        logged={(str(region), str(kind)): set(map(int, days)) for region, kind, days in kept["logged"]},
        data={
            DataStream(str(event), str(kind), str(prefix)): int(days, 16) for event, kind, prefix, days in kept["data"]
        },
        first=_moment(kept["first"]) if kept["first"] else None,
        last=_moment(kept["last"]) if kept["last"] else None,
    )
    return FileResult(tuple(_item(each) for each in kept["calls"]), statistics, str(kept.get("sha256", "")))


def _item(kept: Any) -> Call | Gap:
    if isinstance(kept, Mapping):
        services, actions, regions = (tuple(map(str, kept["scope"][name])) for name in _SCOPE_FIELDS)
        scope = Scope(services=services, actions=actions, regions=regions)
        return Gap(GapKind(kept["kind"]), scope, str(kept["detail"]), int(kept["count"]))
    values = dict(zip(_CALL_FIELDS, kept, strict=True))
    time, outcome = _moment(values["time"]), Outcome(values["outcome"])
    values["event_id"] = _unpacked_id(values["event_id"])
    return Call(**values | {"time": time, "resources": tuple(values["resources"]), "outcome": outcome})


def _counted(kept: Mapping[str, Any]) -> Counter[str]:
    return Counter({str(name): int(number) for name, number in kept.items()})


def _moment(text: str) -> datetime:
    """Parses a stored time; raises `ValueError` for one without a time zone, which could not be compared."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"not kept: {type(value).__name__}")
