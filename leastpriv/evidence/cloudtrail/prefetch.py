"""One pass over files of a folder, oldest first: by the thread that asks, or by others that read ahead of it.

Where the calls of few are asked for, a file is mostly unfolded and looked through, of which ISA-L's share needs no lock
of Python's: the next files are then read by threads. Where everybody's records are read too, that is Python's work, and
each of those threads has a process do it. Either way a file is read by itself, and told in its turn.

A process that reads files for this one: reading everybody's records is Python's work, for which threads wait.

One file of a trail read by itself, in whatever thread or process, and wherever the file lies.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import local
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, ParamSpec, TypeVar, cast

from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.cache import Reading, Readings
from leastpriv.evidence.cloudtrail.file_reader import FileReader, SeenEvents
from leastpriv.evidence.cloudtrail.file_store import Stored, TrailFile
from leastpriv.evidence.cloudtrail.record_reader import RowReader
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True, slots=True)
class Task:
    """What is read of a trail's files."""

    window: Window
    principals: Principals
    survey: bool
    """Also what records of anybody tell of the evidence."""
    max_decompressed: int

    @property
    def few(self) -> bool:
        """Whether most files hold no call that counts."""
        return self.principals.targets is not None and not self.survey

    def rows(self) -> RowReader:
        """What reads records, for one thread."""
        return RowReader(self.window, self.principals, survey=self.survey)

    def read(
        self,
        name: str,
        region: str,
        open_file: Callable[[], BinaryIO],
        rows: RowReader,
        figures: ReadStatistics,
        seen: SeenEvents,
    ) -> Iterator[Call | Gap]:
        """Calls and gaps of a file, in order; `rows` goes from file to file."""
        reader = FileReader(name, region, figures, seen, rows, self.max_decompressed)
        return reader.read(open_file, self.window, self.principals)


class OwnRows(local):
    """What reads records, one for each thread that asks: what it remembers is for one at a time."""

    def __init__(self, task: Task) -> None:
        """Called in each thread anew."""
        self.rows = task.rows()


_THREADS = 4
"""What is not unfolding holds Python's lock: on two virtual cores they end as soon as one thread (bench/README.md)."""
_PROCESSES = 8
"""Each takes some 30 MiB."""
_AHEAD = 16
"""Files read ahead, whose calls are held."""
_AHEAD_BYTES = 4 * 1024 * 1024
"""Bytes of theirs, compressed."""
_WORTH_THREADS = 256 * 1024
"""Bytes after which it is taken that many will follow: threads take as long to start as these to be read."""
_WORTH_PROCESSES = 8 * 1024 * 1024
"""The same of processes, each of which loads what it needs."""


class _Ahead(NamedTuple):
    """A file that is to be read soon."""

    file: TrailFile
    stored: Stored | None
    """None: it cannot be looked at."""
    kept: Reading | None
    """What an earlier run read of it."""
    apart: Future[Reading] | None
    """What it gives, read by a thread or process of its own."""

    @property
    def held(self) -> int:
        """Bytes that are read ahead, at most."""
        return self.stored.size if self.stored and self.apart else 0


class FolderReading:
    """Reads files of a folder for one set of targets."""

    def __init__(self, task: Task, readings: Readings, figures: ReadStatistics, seen: SeenEvents) -> None:
        """`figures` grow while reading; `readings` are closed with it."""
        self._task, self._own, self._process_of = task, OwnRows(task), local()
        self._readings, self._figures, self._seen = readings, figures, seen
        # Everybody's calls are too many to be handed over.
        self._may_start = task.principals.targets is not None and _cores() > 1
        self._worth = _WORTH_PROCESSES if task.survey else _WORTH_THREADS
        self._readers: Fetchers | None = None
        self._processes: list[ReadingProcess] = []
        self._closed = False

    def close(self) -> None:
        """Drop what is under way; nobody waits for it."""
        self._closed = True
        if self._readers:
            self._readers.close()
        for process in self._processes:
            process.close()
        self._readings.close()

    def items(self, files: Iterable[TrailFile]) -> Iterator[Call | Gap]:
        """Calls in the order of the files' times, each once, and a gap for what cannot be read."""
        for ahead in self._queued(files):
            if ahead.kept:
                yield from self._readings.again(ahead.kept)
            elif ahead.apart or (ahead.stored and self._readings.are_kept):
                reading = ahead.apart.result() if ahead.apart else read_apart(self._task, ahead.file, self._own.rows)
                if ahead.stored:
                    self._readings.keep(ahead.stored, reading)
                yield from self._readings.again(reading)
            else:
                yield from read_file(self._task, ahead.file, self._own.rows, self._figures, self._seen)
        self._own.rows.survey(self._figures)

    def _queued(self, files: Iterable[TrailFile]) -> Iterator[_Ahead]:
        """The files, each under way to be read since some before it, where that helps."""
        queue: deque[_Ahead] = deque()
        held = begun = 0
        for file in files:
            ahead = self._begun(file)
            begun += ahead.stored.size if ahead.stored and not ahead.kept else 0
            if self._may_start and not self._readers and begun > self._worth:
                self._readers = self._started()
            queue.append(ahead)
            held += ahead.held
            while queue and (not self._readers or len(queue) > _AHEAD or held > _AHEAD_BYTES):
                held -= queue[0].held
                yield queue.popleft()
        yield from queue

    def _begun(self, file: TrailFile) -> _Ahead:
        stored = _stored(file.path) if self._may_start or self._readings.are_kept else None
        kept = self._readings.known(stored) if stored else None
        # What a large file gives may be too much to be held.
        if self._readers and stored and not kept and stored.size <= _AHEAD_BYTES:
            return _Ahead(file, stored, None, self._readers.submit(self._read_apart, file))
        return _Ahead(file, stored, kept, None)

    def _started(self) -> Fetchers:

        return Fetchers(min(_PROCESSES if self._task.survey else _THREADS, _cores()))

    def _read_apart(self, file: TrailFile) -> Reading:
        """What a file gives by itself; for a thread that reads ahead."""
        process = self._process() if self._task.survey else None
        reading = process.read(file) if process else None
        if reading or self._closed:
            return reading or Reading(())
        if process:
            # It is gone, for want of memory perhaps: its thread reads what was for it.
            self._process_of.thread = None
        return read_apart(self._task, file, self._own.rows)

    def _process(self) -> ReadingProcess | None:
        """That of the thread that asks; `None` where it is gone."""
        if not hasattr(self._process_of, "thread"):
            self._process_of.thread = None
            with suppress(OSError):
                self._process_of.thread = ReadingProcess(self._task)
                self._processes.append(self._process_of.thread)
        return cast("ReadingProcess | None", self._process_of.thread)


def read_file(
    task: Task, file: TrailFile, rows: RowReader, figures: ReadStatistics, seen: SeenEvents
) -> Iterator[Call | Gap]:
    """Calls and gaps of a file of a folder, in order."""
    return task.read(str(file.path), file.region, partial(_opened, file.path), rows, figures, seen)


def read_apart(task: Task, file: TrailFile, rows: RowReader) -> Reading:
    """What a file of a folder gives by itself."""
    figures = ReadStatistics()
    items = tuple(read_file(task, file, rows, figures, SeenEvents()))
    rows.survey(figures)
    return Reading(items, figures)


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


class ReadingProcess:
    """Reads one file at a time; for one thread.

    It ends by itself when this process does, however that ends: its input is closed then. In a session of its own, so
    that an interruption from the keyboard is this process's alone.
    """

    def __init__(self, task: Task) -> None:
        """Raises `OSError` where no process can be started."""
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Both are there, since they were asked for.
        self._files, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._tell(task)

    def read(self, file: TrailFile) -> Reading | None:
        """What a file gives by itself; `None` where the process is gone."""
        try:
            self._tell(file)
            return cast(Reading, pickle.load(self._answers))  # noqa: S301 - our own child's
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _tell(self, what: Task | TrailFile) -> None:
        pickle.dump(what, self._files)
        self._files.flush()


def serve() -> None:
    """The process itself: a task, then files on standard input; a reading of each on standard output."""
    files, answers = sys.stdin.buffer, sys.stdout.buffer
    # What anything may print is no answer.
    sys.stdout = sys.stderr
    task = cast(Task, pickle.load(files))  # noqa: S301 - from the process that started this one
    rows = task.rows()
    while True:
        try:
            file = cast(TrailFile, pickle.load(files))  # noqa: S301
        except EOFError:
            return
        pickle.dump(read_apart(task, file, rows), answers)
        answers.flush()


_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class Fetchers:
    """A number of daemon threads; `close` lets what is not begun go."""

    def __init__(self, threads: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = threading.Event()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(
        self, ask: Callable[_Asked, _Answer], *arguments: _Asked.args, **named: _Asked.kwargs
    ) -> Future[_Answer]:
        """Have something called by the next thread that is free; what it raises, the future's `result` raises."""
        future: Future[_Answer] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(ask(*arguments, **named))
            except BaseException as error:  # who waits for it hears of it
                future.set_exception(error)

        self._waiting.put(call)
        return future

    def close(self) -> None:
        """Begin nothing more; what is under way is not waited for."""
        self._closed.set()
        self._waiting.put(lambda: None)

    def _work(self) -> None:
        while True:
            call = self._waiting.get()
            if self._closed.is_set():
                break
            call()
        # The next thread wakes too.
        self._waiting.put(lambda: None)
