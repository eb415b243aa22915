"""Reads the log files of a folder, oldest first, with threads or processes that read ahead.

For few targets most of the work is decompression and search, for which ISA-L does not hold Python's lock: threads read
the next files. For all principals the work is Python's, so each thread uses a process. In both cases each file is read
separately, and the results are returned in order.
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

from leastpriv.atomic_file import open_regular
from leastpriv.aws.arns import Principals, Window
from leastpriv.evidence.cloudtrail.cache import FileResult, FileResults
from leastpriv.evidence.cloudtrail.file_reader import EventDeduplicator, FileReader
from leastpriv.evidence.cloudtrail.file_store import StoredFile, TrailFile
from leastpriv.evidence.cloudtrail.record_reader import RecordReader
from leastpriv.evidence.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How log files are read."""

    window: Window
    principals: Principals
    survey: bool
    """Whether to count the coverage of all records."""
    max_decompressed: int
    root: Path | None = None
    """The resolved folder that the files have to be in; None: any."""

    @property
    def targets_only(self) -> bool:
        """Whether most files contain no call that counts."""
        return self.principals.targets is not None and not self.survey

    def rows(self) -> RecordReader:
        """Returns a record reader for one thread."""
        return RecordReader(self.window, self.principals, survey=self.survey)

    def reader(
        self, name: str, region: str, rows: RecordReader, statistics: ReadStatistics, seen: EventDeduplicator
    ) -> Callable[[Callable[[], BinaryIO]], Iterator[Call | Gap]]:
        """Returns a function that yields the calls and gaps of a file in order; `rows` is shared by files."""
        reader = FileReader(name, region, statistics, seen, rows, self.max_decompressed)
        return lambda open_file: reader.read(open_file, self.window, self.principals)


class ThreadRecordReaders(local):
    """One record reader per thread, since its cache is not shared."""

    def __init__(self, task: ReadOptions) -> None:
        """Called once in each thread."""
        self.rows = task.rows()


_THREADS = 4
"""Further threads wait for Python's lock: on two virtual cores they are no faster than one (bench/README.md)."""
_PROCESSES = 8
"""Each takes some 30 MiB."""
_AHEAD = 16
"""Files read ahead, whose calls are in memory."""
_AHEAD_BYTES = 4 * 1024 * 1024
"""Most bytes of files read ahead, compressed."""
_WORTH_THREADS = 256 * 1024
"""Bytes after which many more are expected: threads take as long to start as these take to be read."""
_WORTH_PROCESSES = 8 * 1024 * 1024
"""The same limit for processes, which load all modules."""


class _QueuedFile(NamedTuple):
    """A file in the queue."""

    file: TrailFile
    stored: StoredFile | None
    """None: the file cannot be examined."""
    kept: FileResult | None
    """An earlier run's result."""
    apart: Future[FileResult] | None
    """The result from a thread or process."""

    @property
    def held(self) -> int:
        """Most bytes that are read ahead."""
        return self.stored.size if self.stored and self.apart else 0


class FolderPrefetcher:
    """Reads the files of a folder for one set of targets."""

    def __init__(
        self, task: ReadOptions, readings: FileResults, statistics: ReadStatistics, seen: EventDeduplicator
    ) -> None:
        """`statistics` are updated while reading; `readings` are closed at the end."""
        self._task, self._own, self._process_of = task, ThreadRecordReaders(task), local()
        self._readings, self._statistics, self._seen = readings, statistics, seen
        # The calls of all principals are too many to be sent from a process.
        self._may_start = task.principals.targets is not None and _cores() > 1
        self._worth = _WORTH_PROCESSES if task.survey else _WORTH_THREADS
        self._readers: DaemonThreadPool | None = None
        self._processes: list[ReaderProcess] = []
        self._closed = False

    def close(self) -> None:
        """Cancels pending work."""
        self._closed = True
        if self._readers:
            self._readers.close()
        for process in self._processes:
            process.close()
        self._readings.close()

    def items(self, files: Iterable[TrailFile]) -> Iterator[Call | Gap]:
        """Yields calls in the order of the files' times without duplicates, and gaps for unreadable parts."""
        for ahead in self._queued(files):
            if ahead.kept:
                yield from self._readings.replay(ahead.kept)
            elif ahead.apart or (ahead.stored and self._readings.are_kept):
                reading = (
                    ahead.apart.result() if ahead.apart else read_file_result(self._task, ahead.file, self._own.rows)
                )
                if ahead.stored:
                    self._readings.keep(ahead.stored, reading)
                yield from self._readings.replay(reading)
            else:
                yield from read_file(self._task, ahead.file, self._own.rows, self._statistics, self._seen)
        self._own.rows.survey(self._statistics)

    def _queued(self, files: Iterable[TrailFile]) -> Iterator[_QueuedFile]:
        """Yields the files, some of them read ahead where that is faster."""
        queue: deque[_QueuedFile] = deque()
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

    def _begun(self, file: TrailFile) -> _QueuedFile:
        stored = _stored(file.path) if self._may_start or self._readings.are_kept else None
        kept = self._readings.known(stored) if stored else None
        # The result of a large file may not fit into memory.
        if self._readers and stored and not kept and stored.size <= _AHEAD_BYTES:
            return _QueuedFile(file, stored, None, self._readers.submit(self._read_apart, file))
        return _QueuedFile(file, stored, kept, None)

    def _started(self) -> DaemonThreadPool:

        return DaemonThreadPool(min(_PROCESSES if self._task.survey else _THREADS, _cores()))

    def _read_apart(self, file: TrailFile) -> FileResult:
        """Returns the result of one file; called in a thread that reads ahead."""
        process = self._process() if self._task.survey else None
        reading = process.read(file) if process else None
        if reading or self._closed:
            return reading or FileResult(())
        if process:
            # The process has ended, perhaps out of memory: its thread reads the file.
            self._process_of.thread = None
        return read_file_result(self._task, file, self._own.rows)

    def _process(self) -> ReaderProcess | None:
        """Returns the calling thread's process; `None` where it has ended."""
        if not hasattr(self._process_of, "thread"):
            self._process_of.thread = None
            with suppress(OSError):
                self._process_of.thread = ReaderProcess(self._task)
                self._processes.append(self._process_of.thread)
        return cast("ReaderProcess | None", self._process_of.thread)


def read_file(
    task: ReadOptions, file: TrailFile, rows: RecordReader, statistics: ReadStatistics, seen: EventDeduplicator
) -> Iterator[Call | Gap]:
    """Yields the calls and gaps of a file of a folder, in order."""
    open_file = partial(open_regular, file.path, task.root, 0)
    return task.reader(str(file.path), file.region, rows, statistics, seen)(open_file)


def read_file_result(task: ReadOptions, file: TrailFile, rows: RecordReader) -> FileResult:
    """Reads one log file; safe to run in a worker thread or process."""
    statistics = ReadStatistics()
    items = tuple(read_file(task, file, rows, statistics, EventDeduplicator()))
    rows.survey(statistics)
    return FileResult(items, statistics)


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stored(path: Path) -> StoredFile | None:
    """Key, size and time of a file for the cache: the file is unchanged while size and time are."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return StoredFile(str(path), f"{status.st_size} {status.st_mtime_ns}", status.st_size)


class ReaderProcess:
    """Reads one file at a time in a child process; for one thread.

    The child ends when this process ends, however that happens, because its input is closed. It has its own session, so
    that an interrupt from the keyboard reaches only this process.
    """

    def __init__(self, task: ReadOptions) -> None:
        """Raises `OSError` where no process can be started."""
        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Both exist, because they were requested.
        self._files, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        self._tell(task)

    def read(self, file: TrailFile) -> FileResult | None:
        """Returns the result of a file; `None` where the process has ended."""
        try:
            self._tell(file)
            return cast(FileResult, pickle.load(self._answers))  # noqa: S301 - from our own child process
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()

    def _tell(self, what: ReadOptions | TrailFile) -> None:
        pickle.dump(what, self._files)
        self._files.flush()


def serve() -> None:
    """Runs in the child process: reads options and files from standard input, and writes one result per file."""
    files, answers = sys.stdin.buffer, sys.stdout.buffer
    # Output of any library must not reach the result stream.
    sys.stdout = sys.stderr
    task = cast(ReadOptions, pickle.load(files))  # noqa: S301 - from the process that started this one
    rows = task.rows()
    while True:
        try:
            file = cast(TrailFile, pickle.load(files))  # noqa: S301
        except EOFError:
            return
        pickle.dump(read_file_result(task, file, rows), answers)
        answers.flush()


_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class DaemonThreadPool:
    """A pool of daemon threads; `close` cancels calls that have not begun.

    `ThreadPoolExecutor` does not fit: Python joins its threads at exit, and a request without response takes a minute.
    """

    def __init__(self, threads: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closed = threading.Event()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(
        self, ask: Callable[_Asked, _Answer], *arguments: _Asked.args, **named: _Asked.kwargs
    ) -> Future[_Answer]:
        """Calls a function in the next free thread; the future's `result` raises its exception."""
        future: Future[_Answer] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(ask(*arguments, **named))
            except BaseException as error:  # passed to the caller of `result`
                future.set_exception(error)

        self._waiting.put(call)
        return future

    def close(self) -> None:
        """Starts no further calls, and does not wait for running ones."""
        self._closed.set()
        self._waiting.put(lambda: None)

    def _work(self) -> None:
        while True:
            call = self._waiting.get()
            if self._closed.is_set():
                break
            call()
        # Wake the next thread as well.
        self._waiting.put(lambda: None)
