"""Reads the files of a store in order, with threads that fetch and processes that count.

Fetching waits for the network, so many threads fetch at once. Counting is work: threads take half
as much again of the processor and end as soon (bench/README.md), so child processes count where
there are many records and several cores. They get parts: files of one account and region, which go
to the same process if it is free, since calls there repeat.
"""

from __future__ import annotations

import io
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from leastpriv.aws.arns import Principals
from leastpriv.cloudtrail.file_reader import (
    CountedCalls,
    EventDeduplicator,
    LogFile,
)
from leastpriv.cloudtrail.file_store import FileStore, StoredFile, region_of_path, trail_of
from leastpriv.cloudtrail.parts import (
    NOT_ENCODED,
    CountedPart,
    Counting,
    Item,
    PartCounter,
    PartFile,
)
from leastpriv.cloudtrail.record_reader import ReadOptions, RecordReader
from leastpriv.cloudtrail.statistics import ReadStatistics
from leastpriv.errors import AwsError

if TYPE_CHECKING:
    from leastpriv.cloudtrail.cache import ObjectCache

_MOST_PROCESSES = 2
"""Each takes up to 80 MiB not shared, and all together are to take some 300 MiB."""
_KEPT_BYTES = 8 * 1024 * 1024
"""Bytes of memory, in each process, of the calls of which repeated ones are made."""
_FETCHED_AHEAD = 256
"""Files fetched and not yet read: the requests in flight, and as many again."""
_PARTS_AHEAD = 32
"""Parts that processes count, or have counted, before their turn."""
_AHEAD_BYTES = 16 * 1024 * 1024
"""Most bytes, as stored, of files fetched ahead; a larger file is read as a stream at its turn."""
_PART_BYTES = 256 * 1024
"""Bytes of a part, as stored. What a part adds to the counts of others costs less the larger it is;
a process needs some 100 times as much memory to count it.
"""
_WORTH_PROCESSES = 10_000
"""Records after which processes are started, since as many more are expected. To start them takes
as long as to read and count so many.
"""


class QueuedFile(Struct):
    """A file in the queue."""

    stored: StoredFile
    kept: CountedPart | None = None
    """An earlier run's result."""
    collected: object = None
    """The calls in it, decoded."""
    held: int = 0
    """Bytes of it that are in memory, or will be."""
    fetched: Future[bytes] | None = None
    error: AwsError | None = None
    """Why it cannot be fetched."""


class QueuedPart(Struct):
    """Files that are read together."""

    files: list[QueuedFile]
    trail: str = ""
    """Account and region; empty where the name does not say."""
    result: Future[CountedPart] | None = None
    """The result from a process."""

    @property
    def file(self) -> QueuedFile:
        """The first file."""
        return self.files[0]

    @property
    def failures(self) -> Sequence[QueuedFile]:
        """The files that cannot be fetched, once the others are counted."""
        return [file for file in self.files if file.error]

    @property
    def held(self) -> int:
        """Bytes that are in memory, or will be."""
        return sum([file.held for file in self.files])


class Prefetcher:
    """Reads the files of one store for one set of targets."""

    def __init__(
        self,
        store: FileStore,
        options: ReadOptions,
        statistics: ReadStatistics,
        seen: EventDeduplicator,
        counting: Counting | None = None,
        cache: ObjectCache | None = None,
    ) -> None:
        """`statistics` are updated while reading; `cache`, which needs `counting`, is closed at the
        end.
        """
        self.kept = 0
        """Number of files from the cache."""
        self._kept_records = 0
        self._store = store
        self._options = replace(
            options,
            is_apart=options.hashes or cache is not None,
            has_decoder=counting is None or counting.has_decoder,
        )
        self._reader = RecordReader(options)
        self._statistics = statistics
        self._seen = seen
        self._cache = cache
        self._counting = counting
        self._fetchers = DaemonThreadPool(store.at_once) if store.at_once else None
        self._processes: ProcessPool | None = None

    def close(self) -> None:
        """Cancels pending work, and writes pending results to the cache."""
        for pool in (self._fetchers, self._processes):
            if pool:
                pool.close()
        if self._cache:
            self._cache.close(self._options.window.start)

    def queued(self, files: Iterable[StoredFile]) -> Iterator[QueuedPart]:
        """Yields parts, each for `items` or `result`, while the next ones are fetched and counted.

        Without processes each file is a part, in order.
        """
        waiting: deque[QueuedPart] = deque()
        begun: dict[str, QueuedPart] = {}
        held_bytes = number = 0
        for stored in files:
            file = self._kept(stored)
            size = 0 if file.kept or stored.size > _AHEAD_BYTES else stored.size
            while (waiting or begun) and (
                self._is_full(len(waiting), number) or held_bytes + size > _AHEAD_BYTES
            ):
                if not waiting:
                    self._put_all(begun, waiting)
                part = waiting.popleft()
                held_bytes -= part.held
                number -= len(part.files)
                yield part
                self._start_processes(waiting)
            file.held = size
            if self._fetchers and size:
                file.fetched = self._fetchers.submit(self._store.fetch, stored)
            held_bytes += size
            number += 1
            self._put(file, begun, waiting)
        self._put_all(begun, waiting)
        while waiting:
            yield waiting.popleft()
            self._start_processes(waiting)

    def items(self, part: QueuedPart) -> Iterator[Item]:
        """Yields the calls of a part without duplicates, or what counted them, and gaps for
        unreadable parts of files.

        Raises:
            AwsError: a file cannot be fetched.
        """
        if part.file.kept or part.result or self._cache:
            yield from self.replay(part, self.result(part))
            return
        yield from self._read(part)

    def finish(self) -> None:
        """Adds the coverage of the last records to the statistics."""
        self._reader.survey(self._statistics)

    def result(self, part: QueuedPart) -> CountedPart:
        """Returns the result of a part alone, from the cache or by counting it; raises like
        `items`.
        """
        file = part.file
        if file.kept:
            self.kept += 1
            return file.kept
        if part.result:
            part_result = part.result.result()
        else:
            part_result = self._count_here(part, self._counter)
        if self._cache and _is_for_every_window(part_result):
            self._cache.put(file.stored, part_result)
        return part_result

    def replay(self, part: QueuedPart, result: CountedPart) -> Iterator[Item]:
        """Yields what a part has, without calls that other files had before."""
        if bytes(result.collected) == NOT_ENCODED:
            yield from self._read(part)
            return
        if any(map(self._seen.is_known, result.ids)):
            result = self._count_here(part, self._recounter)
        self._seen.add(result.ids)
        statistics = result.statistics.unpacked()
        self._statistics.absorb(statistics)
        yield from result.gaps
        if result is part.file.kept:
            # Its calls were decoded to check them.
            self._kept_records += statistics.records
            yield CountedCalls(len(result.ids), part.file.collected)
        elif self._counting:
            yield CountedCalls(len(result.ids), self._counting.decoded(result))

    def _read(self, part: QueuedPart) -> Iterator[Item]:
        """Reads the files of a part without a counter; raises like `items`."""
        for file in part.files:
            if file.error:
                continue
            name, region = self._store.name_of(file.stored), region_of_path(file.stored.key)
            log = LogFile(self._reader, name, region, self._statistics, self._seen)
            yield from log.read(self._opener(file))

    def _is_full(self, parts: int, files: int) -> bool:
        """Whether the first part is read before a further file is queued."""
        if self._fetchers:
            return files >= _FETCHED_AHEAD
        return parts >= _PARTS_AHEAD if self._processes else True

    def _put(
        self, file: QueuedFile, begun: dict[str, QueuedPart], waiting: deque[QueuedPart]
    ) -> None:
        """Adds a file to the part of its trail, or as another part."""
        trail = trail_of(file.stored.key)
        if not self._processes or self._options.is_apart or not file.held:
            waiting.append(QueuedPart([file], trail))
            self._submit(waiting[-1])
            return
        part = begun.setdefault(trail, QueuedPart([], trail))
        part.files.append(file)
        if part.held >= _PART_BYTES:
            waiting.append(begun.pop(trail))
            self._submit(part)

    def _put_all(self, begun: dict[str, QueuedPart], waiting: deque[QueuedPart]) -> None:
        for part in begun.values():
            waiting.append(part)
            self._submit(part)
        begun.clear()

    def _submit(self, part: QueuedPart) -> None:
        """Has a part counted by a process; a large file is read as a stream at its turn."""
        if self._processes and not part.result and part.held:
            part.result = self._processes.submit(part.trail, partial(self._fetched, part))

    def _start_processes(self, waiting: Iterable[QueuedPart]) -> None:
        """Starts processes where they are worth it, and gives them the queued parts."""
        if (
            self._processes
            or self._counting is None
            or self._statistics.records - self._kept_records < _WORTH_PROCESSES
            or _cores() < 2
        ):
            return
        number = min(_MOST_PROCESSES, _cores())
        options = replace(self._options, most_kept=_KEPT_BYTES)
        store = None if self._fetchers else self._store
        start = partial(self._counting.process, options, store)
        self._processes = ProcessPool(number, start, self._made_counter)
        # Frees what the reader keeps of repeated calls.
        self.finish()
        self._reader = RecordReader(self._options)
        for part in waiting:
            if not part.file.kept:
                self._submit(part)

    def _fetched(self, part: QueuedPart) -> Sequence[PartFile]:
        """Returns the files of a part, without those that cannot be fetched."""
        part_files: list[PartFile] = []
        for file in part.files:
            try:
                part_files.append(self._part_file(file))
            except AwsError as error:
                file.error = error
        return part_files

    def _part_file(self, file: QueuedFile) -> PartFile:
        content = file.fetched.result() if file.fetched else None
        return PartFile(self._store.name_of(file.stored), file.stored, content)

    def _count_here(self, part: QueuedPart, counter: PartCounter) -> CountedPart:
        """Counts a part in this process; raises AwsError where a file cannot be fetched."""
        files = [self._part_file(file) for file in part.files if not file.error]
        counts = counter.count(files)
        if counts is None:
            raise AssertionError("unreachable")  # pragma: no cover
        return counts

    @cached_property
    def _counter(self) -> PartCounter:
        """Counts parts alone."""
        return self._made_counter()

    @cached_property
    def _recounter(self) -> PartCounter:
        """Counts parts without the copies of all events before."""
        return self._made_counter(self._seen)

    def _made_counter(self, earlier: EventDeduplicator | None = None) -> PartCounter:
        if self._counting is None:
            raise AssertionError("unreachable")  # pragma: no cover
        return self._counting.counter(self._options, self._store, earlier)

    def _opener(self, file: QueuedFile) -> Callable[[], BinaryIO]:
        if file.fetched:
            return partial(io.BytesIO, file.fetched.result())
        if self._fetchers:
            stream = self._store.open(file.stored)
            return lambda: stream
        return partial(self._store.open, file.stored)

    def _kept(self, stored: StoredFile) -> QueuedFile:
        """Returns a file, with an earlier run's result if all its records are in the window."""
        cached = self._cache.get(stored) if self._cache else None
        if cached is None or self._counting is None or (self._options.hashes and not cached.sha256):
            return QueuedFile(stored)
        times = (
            cached.statistics.counters.first,
            cached.statistics.counters.last,
            cached.statistics.counters.newest,
            cached.first_call,
        )
        if not all(time is None or self._options.window.contains(time) for time in times):
            return QueuedFile(stored)
        # Another program may have written it, in any form.
        with suppress(ValueError, RecursionError):
            return QueuedFile(stored, cached, self._counting.decoded(cached))
        return QueuedFile(stored)


def _is_for_every_window(result: CountedPart) -> bool:
    """Whether a run with a larger window would count the same in the file."""
    statistics = result.statistics.counters
    if not result.is_complete or statistics.damaged_files or statistics.outside_window:
        return False
    # Without a survey, the time of an unreadable record is not known.
    return statistics.first is not None or not result.gaps


def open_cache(
    folder: Path | None, store: str, principals: Principals, counting: Counting
) -> ObjectCache | None:
    """Opens the cache of a store; raises InputError where the folder cannot be written."""
    if folder is None:
        return None
    from leastpriv.cloudtrail.cache import ObjectCache

    # A run with a decoder must not take an encoded denial for one that says nothing.
    name = store if counting.has_decoder else f"{store}, nothing decoded"
    return ObjectCache(folder, name, principals)


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Task(Struct, eq=False):
    """A part that waits for a process."""

    trail: str
    files: Callable[[], Sequence[PartFile]]
    result: Future[CountedPart]


class ProcessPool:
    """Processes that count parts, each with a thread that waits for it."""

    def __init__(
        self, number: int, start: Callable[[], PartCounter], here: Callable[[], PartCounter]
    ) -> None:
        """Starts the threads; each starts its process when it has a part.

        Args:
            number: number of processes.
            start: starts a process; raises OSError.
            here: returns a counter in this process, for parts of a process that has ended.
        """
        self._start = start
        self._here = here
        self._waiting: list[_Task] = []
        self._owners: dict[str, int] = {}
        """Trail -> the thread that counts its parts, if it is free."""
        self._lock = threading.Lock()
        self._own = threading.local()
        self._started: list[PartCounter] = []
        self._is_closed = False
        self._threads = DaemonThreadPool(number)

    def submit(self, trail: str, files: Callable[[], Sequence[PartFile]]) -> Future[CountedPart]:
        """Has the files of a part counted; the future's `result` raises any exception."""
        task = _Task(trail, files, Future())
        with self._lock:
            self._waiting.append(task)
        self._threads.submit(self._count_next)
        return task.result

    def close(self) -> None:
        """Ends the processes."""
        self._is_closed = True
        self._threads.close()
        with self._lock:
            started = list(self._started)
        for process in started:
            process.close()

    def _count_next(self) -> None:
        task = self._next()
        try:
            task.result.set_result(self._counted(task.files()))
        except BaseException as error:  # passed to the caller of `result`
            task.result.set_exception(error)

    def _next(self) -> _Task:
        """Takes the first part of a trail of this thread, or of none, else the first one."""
        thread = threading.get_ident()
        with self._lock:
            own_tasks = (
                task for task in self._waiting if self._owners.get(task.trail, thread) == thread
            )
            task = next(own_tasks, self._waiting[0])
            self._waiting.remove(task)
            if task.trail:
                self._owners.setdefault(task.trail, thread)
        return task

    def _counted(self, files: Sequence[PartFile]) -> CountedPart:
        if not hasattr(self._own, "counter"):
            self._own.counter = self._started_process()
        counter: PartCounter = self._own.counter
        counts = counter.count(files)
        if counts is None and not self._is_closed:
            # The process has ended, perhaps out of memory.
            self._own.counter = self._here()
            counts = self._own.counter.count(files)
        if counts is None:
            raise InterruptedError("the processes were ended")
        return counts

    def _started_process(self) -> PartCounter:
        try:
            process = self._start()
        except OSError:
            return self._here()
        with self._lock:
            self._started.append(process)
        if self._is_closed:
            process.close()
        return process


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
