"""Counts the calls of the files of a part, in this process or in a child process.

A child process reads untrusted files. It gets files, and returns what it counted as MessagePack,
whose decoder checks each type. It has no credentials in its environment, and ends when this process
ends, however that happens, because its input is closed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from leastpriv.cloudtrail.file_reader import (
    EventDeduplicator,
    LogFile,
    PartDeduplicator,
)
from leastpriv.cloudtrail.file_store import FileStore, region_of_path
from leastpriv.cloudtrail.parts import NOT_ENCODABLE, NOT_ENCODED, CountedPart, PartFile
from leastpriv.cloudtrail.record_reader import ReadOptions, RecordReader
from leastpriv.cloudtrail.statistics import PackedStatistics, ReadStatistics
from leastpriv.models import Gap
from leastpriv.process_limits import collect_rarely

if TYPE_CHECKING:
    from leastpriv.evidence.collected_calls import CollectedCalls

_ENVIRONMENT = (
    "DYLD_LIBRARY_PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "SYSTEMROOT",
    "TMPDIR",
)
"""Variables that a child process gets: none is a credential."""
_LENGTH = 8
"""Bytes before each answer, which are its length."""


class FileCounter:
    """Counts parts in this process. For one thread: the parts share the caches of its reader."""

    def __init__(
        self,
        options: ReadOptions,
        store: FileStore | None,
        earlier: EventDeduplicator | None = None,
    ) -> None:
        """Counts nothing yet.

        Args:
            options: how files are read.
            store: opens the files; None: the content of each file is given.
            earlier: earlier events, whose copies do not count; None: each part counts alone.
        """
        self._reader = RecordReader(options)
        self._store = store
        self._earlier = earlier

    def count(self, files: Sequence[PartFile]) -> CountedPart:
        """Counts the calls of some files."""
        # Loading the mapping takes longer than a small trail, which is not counted here.
        from leastpriv.evidence.collector import PrincipalCollectors

        options = self._reader.options
        statistics = ReadStatistics()
        seen_events = PartDeduplicator(self._earlier or EventDeduplicator())
        collectors = PrincipalCollectors(
            options.principals, 0, is_part=True, leaves_encoded=options.has_decoder
        )
        gaps: list[Gap] = []
        first_call: datetime | None = None
        sha256 = ""
        for file in files:
            region = region_of_path(file.stored.key)
            log = LogFile(self._reader, file.name, region, statistics, seen_events)
            for log_item in log.read(partial(self._open, file)):
                if isinstance(log_item, Gap):
                    gaps.append(log_item)
                    continue
                if first_call is None or log_item.time < first_call:
                    first_call = log_item.time
                collectors.note(0, log_item)
            sha256 = log.sha256
        self._reader.survey(statistics)
        if self._earlier:
            self._earlier.add(seen_events.ids)
        try:
            collected = collectors.collected()
        except NOT_ENCODABLE:
            collected = NOT_ENCODED
        return CountedPart(
            ids=list(seen_events.ids),
            gaps=gaps,
            statistics=PackedStatistics.of(statistics),
            first_call=first_call,
            collected=Raw(collected),
            is_complete=collectors.is_complete and collected != NOT_ENCODED,
            sha256=sha256,
        )

    def close(self) -> None:
        """Does nothing."""

    def _open(self, file: PartFile) -> BinaryIO:
        if file.content is not None or self._store is None:
            return io.BytesIO(file.content or b"")
        return self._store.open(file.stored)


class CountingProcess:
    """Counts parts in a child process; for one thread.

    The child has its own session, so that an interrupt from the keyboard reaches only this process.
    """

    def __init__(self, options: ReadOptions, store: FileStore | None) -> None:
        """`store` None: the content of each file is sent. Raises `OSError` where no process can be
        started.
        """
        # These take a tenth of a small command's start, and few commands need a process.
        import subprocess

        start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-I", "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        # Both exist, because they were requested.
        self._files, self._answers = (
            cast(IO[bytes], self._process.stdin),
            cast(IO[bytes], self._process.stdout),
        )
        self._send((options, store))

    def count(self, files: Sequence[PartFile]) -> CountedPart | None:
        """Counts the calls of some files; None where the process has ended."""
        try:
            self._send(files)
            length = int.from_bytes(self._read(_LENGTH))
            return _decode(self._read(length))
        except (OSError, EOFError, msgspec.MsgspecError):
            return None

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()

    def _send(self, what: object) -> None:
        import pickle

        pickle.dump(what, self._files)
        self._files.flush()

    def _read(self, length: int) -> bytes:
        answer = self._answers.read(length)
        if len(answer) < length:
            raise EOFError
        return answer


_decode = msgspec.msgpack.Decoder(CountedPart).decode


def serve() -> None:
    """Runs in the child process: reads options and parts from standard input, and writes what it
    counted.
    """
    import pickle

    collect_rarely()
    parts, answers = sys.stdin.buffer, sys.stdout.buffer
    # Output of any library must not reach the answers.
    sys.stdout = sys.stderr
    # All is from the process that started this one.
    options, store = cast("tuple[ReadOptions, FileStore]", pickle.load(parts))  # noqa: S301
    # Most copies are of the same trail, and so of the same process.
    counter = FileCounter(options, store, None if options.is_apart else EventDeduplicator())
    while True:
        try:
            files = cast(Sequence[PartFile], pickle.load(parts))  # noqa: S301
        except EOFError:
            return
        answer = _encoded(counter.count(files))
        answers.write(len(answer).to_bytes(_LENGTH))
        answers.write(answer)
        answers.flush()


def _encoded(part: CountedPart) -> bytes:
    """Encodes a part; of one that cannot be encoded, the reader reads the files itself."""
    try:
        return msgspec.msgpack.encode(part)
    except NOT_ENCODABLE:
        unread = replace(
            part,
            ids=[],
            gaps=[],
            statistics=PackedStatistics.of(ReadStatistics()),
            collected=Raw(NOT_ENCODED),
            is_complete=False,
        )
        return msgspec.msgpack.encode(unread)


class CountingFiles:
    """Makes what counts parts (`cloudtrail.parts.Counting`)."""

    def __init__(self, *, has_decoder: bool = True) -> None:
        """`has_decoder`: the reader has AWS decode encoded denials; else they count as they are."""
        self.has_decoder = has_decoder

    def counter(
        self, options: ReadOptions, store: FileStore, earlier: EventDeduplicator | None
    ) -> FileCounter:
        """Returns a counter in this process, which leaves out the copies of earlier events."""
        return FileCounter(options, store, earlier)

    def process(self, options: ReadOptions, store: FileStore | None) -> CountingProcess:
        """Starts a process that counts; raises OSError where none can be started."""
        return CountingProcess(options, store)

    def decoded(self, part: CountedPart) -> CollectedCalls:
        """Returns the calls of a part; raises ValueError where they have another form."""
        from leastpriv.evidence.collected_calls import check_collected, decode_collected

        return check_collected(decode_collected(part.collected))
