"""Reads the files of a store in order, with threads that fetch and processes that read ahead.

Fetching waits for the network, so many threads fetch at once. Reading is work: threads take half as
much again of the processor and end as soon (bench/README.md), so child processes read where there
are many files and several cores. Each file is read alone there, and the results are returned in
order.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.file_reader import (
    EventDeduplicator,
    FileReader,
    FileResult,
    ReadOptions,
    is_new,
)
from leastpriv.cloudtrail.file_store import FileStore, StoredFile, region_of_path
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.models import Call, Gap

if TYPE_CHECKING:
    from leastpriv.cloudtrail.cache import ObjectCache

_PROCESSES = 8
"""Each takes some 30 MiB."""
_FETCHED_AHEAD = 256
"""Files fetched and not yet read: the requests in flight, and as many again."""
_READ_AHEAD = 16
"""Files read ahead, whose calls are in memory."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Most bytes, as stored, of files fetched or read ahead; a larger file is read as a stream at its
turn.
"""
_WORTH_PROCESSES = 8 * 1024 * 1024
"""Bytes after which many more are expected: processes load all modules."""
_WORTH_FEW_CALLS = 256 * 1024 * 1024
"""The same limit where most blocks are skipped."""


class QueuedFile(Struct):
    """A file in the queue."""

    stored: StoredFile
    kept: FileResult | None
    """An earlier run's result."""
    held: int
    """Bytes of it that are in memory, or will be."""
    fetched: Future[bytes] | None = None
    result: Future[FileResult] | None = None
    """The result from a process."""


class Prefetcher:
    """Reads the files of one store for one set of targets."""

    def __init__(
        self,
        store: FileStore,
        options: ReadOptions,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
        cache: ObjectCache | None = None,
    ) -> None:
        """`statistics` are updated while reading; `cache` is closed at the end."""
        self.kept = 0
        """Number of files from the cache."""
        self._store, self._options, self._reader = store, options, FileReader(options)
        self._statistics, self._seen, self._cache = statistics, seen, cache
        self._fetchers = DaemonThreadPool(store.at_once) if store.at_once else None
        # The calls of all principals are too many to be sent from a process.
        self._may_start = options.principals.targets is not None and _cores() > 1
        self._worth = _WORTH_PROCESSES if options.survey else _WORTH_FEW_CALLS
        self._readers: DaemonThreadPool | None = None
        self._process_of = threading.local()
        self._processes: list[ReaderProcess] = []
        self._closed = False

    def close(self) -> None:
        """Cancels pending work, and writes pending results to the cache."""
        self._closed = True
        for pool in (self._fetchers, self._readers):
            if pool:
                pool.close()
        for process in self._processes:
            process.close()
        if self._cache:
            self._cache.close(self._options.window.start)

    def queued(self, files: Iterable[StoredFile]) -> Iterator[QueuedFile]:
        """Yields the files in order, each for `items` or `result`, while the next ones are fetched
        and read ahead.
        """
        waiting: deque[QueuedFile] = deque()
        held = begun = 0
        most = _FETCHED_AHEAD if self._fetchers else _READ_AHEAD
        for stored in files:
            kept = self._known(stored)
            size = 0 if kept or stored.size > _AHEAD_BYTES else stored.size
            while waiting and (
                len(waiting) >= most
                or held + size > _AHEAD_BYTES
                or not (self._fetchers or self._readers)
            ):
                held -= waiting[0].held
                yield waiting.popleft()
                self._read_ahead(waiting)
            fetched = (
                self._fetchers.submit(self._store.fetch, stored)
                if self._fetchers and size
                else None
            )
            waiting.append(QueuedFile(stored, kept, size, fetched))
            held += size
            begun += size
            if self._may_start and not self._readers and begun > self._worth:
                self._readers = DaemonThreadPool(min(_PROCESSES, _cores()))
            self._read_ahead(waiting)
        while waiting:
            yield waiting.popleft()
            self._read_ahead(waiting)

    def items(self, file: QueuedFile) -> Iterator[Call | Gap]:
        """Yields the calls of a file without duplicates, and gaps for its unreadable parts.

        Raises:
            AwsError: it cannot be fetched.
        """
        if file.kept or file.result or self._cache:
            yield from self.replay(self.result(file))
            return
        name, region = self._store.name_of(file.stored), region_of_path(file.stored.key)
        yield from self._reader.read(name, region, self._opener(file), self._statistics, self._seen)

    def finish(self) -> None:
        """Adds the coverage of the last records to the statistics."""
        self._reader.records.survey(self._statistics)

    def result(self, file: QueuedFile) -> FileResult:
        """Returns the result of one file alone, from the cache or by reading it; raises like
        `items`.
        """
        if file.kept:
            self.kept += 1
            return file.kept
        result = file.result.result() if file.result else self._read(file, self._reader)
        statistics = result.statistics
        # Without a survey, the time of an unreadable record is not known, and the next run's window
        # may differ.
        has_time = statistics.first is not None or all(
            isinstance(item, Call) for item in result.items
        )
        if (
            self._cache
            and has_time
            and not statistics.damaged_files
            and not statistics.outside_window
        ):
            self._cache.put(file.stored, result)
        return result

    def replay(self, result: FileResult) -> Iterator[Call | Gap]:
        """Yields the items of a file, without calls that other files contained before."""
        self._statistics.absorb(replace(result.statistics, calls=0))
        for item in result.items:
            if not isinstance(item, Call) or is_new(item, self._statistics, self._seen):
                yield item

    def _known(self, stored: StoredFile) -> FileResult | None:
        """Returns an earlier run's result of a file whose records are all in the window."""
        kept = self._cache.get(stored) if self._cache else None
        if kept is None or (self._options.hashes and not kept.sha256):
            return None
        calls = [each.time for each in kept.items if isinstance(each, Call)]
        times = (kept.statistics.first, kept.statistics.last, *calls)
        return (
            kept
            if all(time is None or self._options.window.contains(time) for time in times)
            else None
        )

    def _read_ahead(self, waiting: Iterable[QueuedFile]) -> None:
        if self._readers:
            for file in islice(waiting, _READ_AHEAD):
                if file.held and not file.result:
                    file.result = self._readers.submit(self._read_apart, file)

    def _read_apart(self, file: QueuedFile) -> FileResult:
        """Returns the result of a file from the calling thread's process, or reads it where that
        has ended.
        """
        content = file.fetched.result() if file.fetched else None
        own = self._process_of
        if not hasattr(own, "process"):
            own.reader, own.process = FileReader(self._options), None
            with suppress(OSError):
                own.process = ReaderProcess(self._options, None if self._fetchers else self._store)
                self._processes.append(own.process)
        result = (
            own.process.read(self._store.name_of(file.stored), file.stored, content)
            if own.process
            else None
        )
        if result or self._closed:
            return result or FileResult(())
        # The process has ended, perhaps out of memory.
        own.process = None
        return self._read(file, own.reader)

    def _read(self, file: QueuedFile, reader: FileReader) -> FileResult:
        name, region = self._store.name_of(file.stored), region_of_path(file.stored.key)
        return reader.result(name, region, self._opener(file))

    def _opener(self, file: QueuedFile) -> Callable[[], BinaryIO]:
        if file.fetched:
            return partial(io.BytesIO, file.fetched.result())
        if self._fetchers:
            stream = self._store.open(file.stored)
            return lambda: stream
        return partial(self._store.open, file.stored)


def open_cache(folder: Path | None, store: str, principals: Principals) -> ObjectCache | None:
    """Opens the cache of a store; raises InputError where the folder cannot be written."""
    if folder is None:
        return None
    from leastpriv.cloudtrail.cache import ObjectCache

    return ObjectCache(folder, store, principals)


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ReaderProcess:
    """Reads one file at a time in a child process; for one thread.

    The child ends when this process ends, however that happens, because its input is closed. It has
    its own session, so that an interrupt from the keyboard reaches only this process.
    """

    def __init__(self, options: ReadOptions, store: FileStore | None) -> None:
        """`store` None: the content of each file is sent. Raises `OSError` where no process can be
        started.
        """
        # These take a tenth of a small command's start, and few commands read ahead.
        import subprocess

        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Both exist, because they were requested.
        self._files, self._answers = (
            cast(IO[bytes], self._process.stdin),
            cast(IO[bytes], self._process.stdout),
        )
        self._send((options, store))

    def read(self, name: str, stored: StoredFile, content: bytes | None) -> FileResult | None:
        """Returns the result of a file; `None` where the process has ended."""
        import pickle

        try:
            self._send((name, stored, content))
            # From our own child process.
            return cast(FileResult, pickle.load(self._answers))  # noqa: S301
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()

    def _send(self, what: object) -> None:
        import pickle

        pickle.dump(what, self._files)
        self._files.flush()


def serve() -> None:
    """Runs in the child process: reads options and files from standard input, and writes one result
    per file.
    """
    import pickle

    files, answers = sys.stdin.buffer, sys.stdout.buffer
    # Output of any library must not reach the result stream.
    sys.stdout = sys.stderr
    # All is from the process that started this one.
    options, store = cast("tuple[ReadOptions, FileStore]", pickle.load(files))  # noqa: S301
    reader = FileReader(options)
    while True:
        try:
            entry = cast("tuple[str, StoredFile, bytes | None]", pickle.load(files))  # noqa: S301
        except EOFError:
            return
        name, stored, content = entry
        open_file = partial(store.open, stored) if content is None else partial(io.BytesIO, content)
        pickle.dump(reader.result(name, region_of_path(stored.key), open_file), answers)
        answers.flush()


_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class DaemonThreadPool:
    """A pool of daemon threads; `close` cancels calls that have not begun.

    `ThreadPoolExecutor` does not fit: Python joins its threads at exit, and a request without
    response takes a minute.
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
