"""What was read from the files of a trail, kept between runs: a daily run reads the day's files only.

Kept are the targets' calls themselves and what each file told of anybody, not the permissions that follow: those are
worked out anew, so a better mapping counts for old calls too (docs: decision 22). CloudTrail never writes a file twice;
one in a bucket whose ETag has changed, or on disk whose size or time has, is another one.

Readings of files by themselves: kept from run to run, and told again as parts of one reading.

A file of a trail as what keeps it tells of it.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from leastpriv import __version__
from leastpriv.aws.arns import Principals, Window
from leastpriv.aws.error_codes import call_outcome
from leastpriv.errors import InputError
from leastpriv.evidence.cloudtrail.file_reader import SeenEvents
from leastpriv.evidence.cloudtrail.file_store import Stored
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap, GapKind, Scope

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class Reading:
    """What one file gave: its calls and gaps in order, copies within it dropped, and its figures."""

    items: tuple[Call | Gap, ...]
    figures: ReadStatistics = field(default_factory=ReadStatistics)
    sha256: str = ""
    """Of the content that gave it, in hexadecimal; empty where nobody asked for it."""


class Readings:
    """The readings that one pass puts together."""

    def __init__(self, cache: ObjectCache | None, window: Window, figures: ReadStatistics, seen: SeenEvents) -> None:
        """`figures` grow with each reading that is told; without a cache nothing is known or kept."""
        self._cache, self._window, self._figures, self._seen = cache, window, figures, seen

    def known(self, stored: Stored) -> Reading | None:
        """What an earlier run read of a file whose records lie in the window."""
        kept = self._cache.get(stored) if self._cache else None
        if kept is None:
            return None
        times = (kept.figures.first, kept.figures.last, *(each.time for each in kept.items if isinstance(each, Call)))
        return kept if all(time is None or self._window.contains(time) for time in times) else None

    @property
    def are_kept(self) -> bool:
        """Whether there is a cache."""
        return self._cache is not None

    def keep(self, stored: Stored, reading: Reading) -> None:
        """Keeps what was read whole, since the next run's window may be another one."""
        figures = reading.figures
        # Where only calls count, nobody has noted when a record was written that cannot be read.
        has_time = figures.first is not None or all(isinstance(item, Call) for item in reading.items)
        if self._cache and has_time and not figures.damaged_files and not figures.outside_window:
            self._cache.put(stored, reading)

    def again(self, reading: Reading) -> Iterator[Call | Gap]:
        """Give what a file gave, but for the calls that other files gave before."""
        self._figures.absorb(replace(reading.figures, calls=0))
        for item in reading.items:
            if isinstance(item, Call):
                self._figures.note_call(item.time)
                if self._seen.is_copy(item.event_id):
                    self._figures.duplicates += 1
                    continue
                self._figures.calls += 1
            yield item

    def close(self) -> None:
        """Write what is not written yet."""
        if self._cache:
            self._cache.close()


_FORMAT = 3
_PENDING = 200
"""Objects after which what was read is safe from an interruption."""
"""What a database raises that is none: some of its messages quote bytes of it, and cannot be decoded themselves."""
_COUNTS = ("records", "foreign_files", "duplicates")


class ObjectCache:
    """Readings of one bucket or folder for one set of targets, in one file of a folder. For one thread."""

    def __init__(self, folder: Path, bucket: str, principals: Principals) -> None:
        """Makes the folder and the file where they are not there.

        Raises:
            InputError: the folder cannot be written.
        """
        targets = sorted(target.arn for target in principals.targets) if principals.targets is not None else ["*"]
        whose = [*targets, *sorted(principals.patterns)]
        name = hashlib.sha256(
            "\n".join([__version__, str(_FORMAT), bucket, *whose]).encode("utf-8", "surrogateescape")
        ).hexdigest()
        self._path = folder / f"objects-{name[:24]}.sqlite"
        self._pending = 0
        self._is_refused = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._opened()
        except (OSError, *_database_errors()) as error:
            raise InputError(f"cache-dir: {str(folder)!r} cannot be written: {error}.") from error

    def get(self, stored: Stored) -> Reading | None:
        """What the object gave earlier; None where it was not read, is another one now, or cannot be understood."""
        try:
            found = self._database.execute(
                "SELECT content FROM objects WHERE key = ? AND etag = ?", (stored.key, stored.etag)
            ).fetchone()
            return _reading(msgspec.json.decode(zlib.decompress(found[0]))) if found else None
        except Exception:  # somebody else may have written it, in any shape
            return None

    def put(self, stored: Stored, reading: Reading) -> None:
        """Keep what the object gave; where that fails it is read again."""
        if self._is_refused:
            return
        try:
            content = zlib.compress(json.dumps(_written(reading), default=_time).encode())
            row = (stored.key, stored.etag, content)
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", row)
            self._pending += 1
            if self._pending >= _PENDING:
                self._database.commit()
                self._pending = 0
        except _database_errors()[0]:
            # Another run writes it, for which SQLite waits for seconds, or the disk is full: not again for each object.
            self._is_refused = True
        except (UnicodeError, RecursionError):
            pass

    def close(self) -> None:
        """Write what is not written yet."""
        with suppress(*_database_errors()):
            self._database.commit()
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connected(self._path)
        except _database_errors():
            # Not a database, a broken one or one of another shape: nothing is lost but time.
            self._path.unlink()
            return _connected(self._path)


def _database_errors() -> tuple[type[Exception], type[Exception]]:
    """Return the errors of a file that is no usable database; sqlite3 is imported only where a cache is used."""
    import sqlite3

    return sqlite3.Error, UnicodeError


def _connected(path: Path) -> sqlite3.Connection:
    import sqlite3

    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, etag TEXT, content BLOB) WITHOUT ROWID")
    return database


def _written(reading: Reading) -> Mapping[str, Any]:
    figures = reading.figures
    return {
        "calls": [
            [getattr(item, each) for each in _CALL_FIELDS] if isinstance(item, Call) else _gap_written(item)
            for item in reading.items
        ],
        "counts": {name: getattr(figures, name) for name in _COUNTS},
        "skipped": dict(figures.skipped),
        "kinds": dict(figures.kinds),
        "regions": sorted(figures.regions),
        "sources": sorted(figures.sources),
        "spans": figures.spans,
        "logged": figures.logged,
        "first": figures.first,
        "last": figures.last,
        "sha256": reading.sha256,
    }


# The outcome is worked out anew.
_CALL_FIELDS = tuple(name for name in Call.__struct_fields__ if name != "outcome")


def _gap_written(gap: Gap) -> Mapping[str, Any]:
    return {"kind": gap.kind, "regions": gap.scope.regions, "detail": gap.detail, "count": gap.count}


def _reading(kept: Mapping[str, Any]) -> Reading:
    figures = ReadStatistics(
        files=1,
        records=int(kept["counts"]["records"]),
        foreign_files=int(kept["counts"]["foreign_files"]),
        duplicates=int(kept["counts"]["duplicates"]),
        skipped=_counted(kept["skipped"]),
        kinds=_counted(kept["kinds"]),
        regions=set(map(str, kept["regions"])),
        sources=set(map(str, kept["sources"])),
        spans=_spans(kept["spans"]),
        logged=_spans(kept["logged"]),
        first=_moment(kept["first"]) if kept["first"] else None,
        last=_moment(kept["last"]) if kept["last"] else None,
    )
    return Reading(tuple(_item(each) for each in kept["calls"]), figures, str(kept.get("sha256", "")))


def _item(kept: Any) -> Call | Gap:
    if isinstance(kept, Mapping):
        # The gaps of a file's own have a region at most (`file_reader.py`).
        scope = Scope(regions=tuple(map(str, kept["regions"])))
        return Gap(GapKind(kept["kind"]), scope, str(kept["detail"]), int(kept["count"]))
    values = dict(zip(_CALL_FIELDS, kept, strict=True))
    values |= {"time": _moment(values["time"]), "resources": tuple(values["resources"])}
    return Call(**values, outcome=call_outcome(values["error_code"], values["error_message"]))


def _counted(kept: Mapping[str, Any]) -> Counter[str]:
    return Counter({str(name): int(number) for name, number in kept.items()})


def _spans(kept: Mapping[str, Any]) -> dict[str, tuple[datetime, datetime]]:
    return {str(name): (_moment(first), _moment(last)) for name, (first, last) in kept.items()}


def _moment(text: str) -> datetime:
    """A time as it was written; raises `ValueError` for one without a zone, which could not be compared."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"not kept: {type(value).__name__}")
