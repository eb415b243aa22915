"""One pass over files of a folder, oldest first: by the thread that asks, or by some that read ahead of it.

Where the calls of few are asked for, a file is mostly unfolded and looked through, of which ISA-L's share needs no lock
of Python's: the next files are then read by threads of their own, each by itself, and told in order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from leastpriv.evidence.cloudtrail.figures import ReadStatistics
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.readings import Reading, Readings
from leastpriv.evidence.cloudtrail.rows import RowReader
from leastpriv.evidence.cloudtrail.stored import Stored
from leastpriv.evidence.cloudtrail.trail_paths import TrailFile
from leastpriv.model import Call, Gap

if TYPE_CHECKING:
    from concurrent.futures import Future

    from leastpriv.evidence.cloudtrail.fetchers import Fetchers

_READERS = 4
"""More gain nothing, since what is not unfolding holds Python's lock (measured 2026-11 with two cores)."""
_AHEAD = 16
"""Files read ahead, whose calls are held; a folder of fewer files needs no threads."""
_LARGE = 512 * 1024
"""Bytes of a file, compressed, that is read as a stream: what it gives may be too much to be held."""


class _Ahead(NamedTuple):
    """A file that is to be read soon."""

    file: TrailFile
    stored: Stored | None
    """None: it cannot be looked at."""
    kept: Reading | None
    """What an earlier run read of it."""
    apart: Future[Reading] | None
    """What it gives, read by a thread of its own."""


class FolderReading:
    """Reads files of a folder for one set of targets."""

    def __init__(
        self,
        rows: Callable[[], RowReader],
        readings: Readings,
        figures: ReadStatistics,
        seen: SeenEvents,
        max_decompressed: int,
        *,
        few: bool,
    ) -> None:
        """`rows` makes what reads records, for one thread; `figures` grow while reading.

        `few`: most files hold no call that counts; `readings` are closed with it.
        """
        self._make_rows, self._own = rows, local()
        self._readings, self._figures, self._seen = readings, figures, seen
        self._max_decompressed = max_decompressed
        self._may_start = few and _cores() > 1
        self._readers: Fetchers | None = None

    def close(self) -> None:
        """Drop what is under way; nobody waits for it."""
        if self._readers:
            self._readers.close()
        self._readings.close()

    def items(self, files: Iterable[TrailFile]) -> Iterator[Call | Gap]:
        """Calls in the order of the files' times, each once, and a gap for what cannot be read."""
        for ahead in self._queued(files):
            if ahead.kept:
                yield from self._readings.again(ahead.kept)
            elif ahead.apart or (ahead.stored and self._readings.are_kept):
                reading = ahead.apart.result() if ahead.apart else self._read_apart(ahead.file)
                if ahead.stored:
                    self._readings.keep(ahead.stored, reading)
                yield from self._readings.again(reading)
            else:
                yield from self._read(ahead.file, self._figures, self._seen)
        self._rows.survey(self._figures)

    def _queued(self, files: Iterable[TrailFile]) -> Iterator[_Ahead]:
        """The files, each under way to be read since some before it, where that helps."""
        queue: deque[_Ahead] = deque()
        for number, file in enumerate(files):
            if number == _AHEAD and self._may_start:
                from leastpriv.evidence.cloudtrail.fetchers import Fetchers

                self._readers = Fetchers(min(_READERS, _cores()))
            queue.append(self._begun(file))
            if len(queue) > _AHEAD:
                yield queue.popleft()
        yield from queue

    def _begun(self, file: TrailFile) -> _Ahead:
        stored = _stored(file.path) if self._readers or self._readings.are_kept else None
        kept = self._readings.known(stored) if stored else None
        if self._readers and stored and not kept and stored.size <= _LARGE:
            return _Ahead(file, stored, None, self._readers.submit(self._read_apart, file))
        return _Ahead(file, stored, kept, None)

    def _read_apart(self, file: TrailFile) -> Reading:
        """What a file gives by itself; for any thread."""
        figures = ReadStatistics()
        items = tuple(self._read(file, figures, SeenEvents()))
        self._rows.survey(figures)
        return Reading(items, figures)

    def _read(self, file: TrailFile, figures: ReadStatistics, seen: SeenEvents) -> Iterator[Call | Gap]:
        rows = self._rows
        reader = FileReader(str(file.path), file.region, figures, seen, rows, self._max_decompressed)
        return reader.read(partial(_opened, file.path), rows.window, rows.principals)

    @property
    def _rows(self) -> RowReader:
        """Those of the thread that asks: what they remember of records is for one at a time."""
        if not hasattr(self._own, "rows"):
            self._own.rows = self._make_rows()
        return cast(RowReader, self._own.rows)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stored(path: Path) -> Stored | None:
    """A file as the cache knows it: it has not changed as long as its size and its time have not."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return Stored(str(path), f"{status.st_size} {status.st_mtime_ns}", status.st_size)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, path.open("rb", buffering=0))
