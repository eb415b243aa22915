"""Caches what log files show between runs, so that a daily run reads only the files of the last
day.

The cache holds, for each file, the counted calls of the targets with their needs, and what the file
shows of all principals (docs: decision 43). It holds no request and no answer. A cache serves one
version of the program, since another one may map a call to other needs. CloudTrail never writes a
file twice; a changed ETag in a bucket, or a changed size or time on disk, means another file.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from leastpriv import __version__
from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.parts import NOT_ENCODABLE, CountedPart
from leastpriv.errors import InputError

if TYPE_CHECKING:
    import sqlite3

_FORMAT = 12
_decode = msgspec.msgpack.Decoder(CountedPart).decode
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
        principal_names = [*targets, *sorted(principals.patterns)]
        name = hashlib.sha256(
            "\n".join([__version__, str(_FORMAT), bucket, *principal_names]).encode(
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
                is_of_this_version = path.name.startswith(f"calls-{_FORMAT}-{__version__}-")
                if not is_of_this_version and re.fullmatch(
                    r"(objects|calls-\d+-.+)-[0-9a-f]{24}\.sqlite", path.name
                ):
                    path.unlink()
            if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
                raise InputError(
                    f"cache-dir: {str(self._path)!r} is not a regular file: remove it."
                )
            self._database = self._opened()
        except (OSError, *_database_errors()) as error:
            reason = getattr(error, "strerror", "") or error
            raise InputError(f"cache-dir: {str(folder)!r} cannot be written: {reason}.") from error

    def get(self, stored: StoredFile) -> CountedPart | None:
        """Returns the stored result of an unchanged object; None where there is none or it cannot
        be parsed. The form of the calls in it is not checked.
        """
        try:
            row = self._database.execute(
                "SELECT content FROM objects WHERE key = ? AND etag = ? AND length(content) <= ?",
                (stored.key, stored.etag, _MOST_CONTENT),
            ).fetchone()
            return _decode(_unpacked(row[0])) if row else None
        except Exception:  # another program may have written it, in any shape
            return None

    def put(self, stored: StoredFile, result: CountedPart) -> None:
        """Stores the result of an object; on an error the object is read again next time."""
        if self._is_refused:
            return
        try:
            content = zlib.compress(msgspec.msgpack.encode(result))
            statistics = result.statistics.counters
            times = [time for time in (statistics.last, statistics.newest) if time]
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
        except NOT_ENCODABLE:
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
